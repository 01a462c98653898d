//! The built-in kinds: one file a kind, one line in the registry. Knows no HTTP and no store.
//!
//! How a server uses it:
//! - [`registry()`] lists every [`Resource`](resource::Resource) in discovery order and finds them by plural or kind.
//! - [`Resource::definitions`](resource::Resource::definitions) and
//!   [`Resource::schema`](resource::Resource::schema) are what `machinery` prunes, defaults, checks, patches and
//!   applies by. Schemas are made on first use; a type is made once.
//! - [`normalize`](normalize::normalize) comes after `machinery`'s prune and decode and before the schema's defaults:
//!   it drops `null` and empty strings that mean "not set".
//! - Built-in kinds are validated by this crate alone; `machinery::schema::check` is stricter than Kubernetes is with
//!   them (it refuses the second of two environment variables of one name).
//! - A create then goes: schema defaults, [`Kind::default`](resource::Kind::default),
//!   [`Kind::prepare_create`](resource::Kind::prepare_create), admission, [`validate_create`](metadata::validate_create).
//! - An update goes: schema defaults, `default`, [`Kind::prepare_update`](resource::Kind::prepare_update), admission,
//!   [`validate_update`](metadata::validate_update).
//! - An update of `status` and its like goes: schema defaults, `default`,
//!   [`Kind::prepare_subresource_update`](resource::Kind::prepare_subresource_update), admission,
//!   [`validate_subresource_update`](metadata::validate_subresource_update).
//! - `metadata.name`, `namespace`, `uid` and `creationTimestamp` are set before `prepare_create` (a Job's selector is
//!   made of its uid).
//! - [`definitions::openapi`] writes definitions as OpenAPI components.

mod check;
pub mod definitions;
mod edit;
pub mod kinds;
pub mod metadata;
pub mod normalize;
mod podspec;
mod read;
pub mod registry;
pub mod resource;
pub mod strategy;
pub mod table;

pub use registry::{Registry, registry};
