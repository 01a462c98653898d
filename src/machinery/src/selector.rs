//! Label and field selectors: parsing, matching, printing, with Kubernetes' messages.
//!
//! Which fields of a kind may be selected is the kind's own matter.

pub mod field;
pub mod label;

pub use field::FieldSelector;
pub use label::LabelSelector;
