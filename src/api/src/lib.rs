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
//! - A create then goes: schema defaults, [`Kind::default`](resource::Kind::default), mutating admission,
//!   [`Kind::prepare_create`](resource::Kind::prepare_create), the choice of a name with
//!   [`Kind::name_chosen`](resource::Kind::name_chosen), [`validate_create`](metadata::validate_create). A pod's class
//!   of service is set in `prepare_create`, so admission that changes resources must have gone before. The uid is set
//!   before `prepare_create`, because a Job's selector is made of it.
//! - An update goes: schema defaults, `default`, mutating admission,
//!   [`Kind::prepare_update`](resource::Kind::prepare_update), [`validate_update`](metadata::validate_update).
//! - An update of `status` and its like goes: schema defaults, `default`, mutating admission,
//!   [`Kind::prepare_subresource_update`](resource::Kind::prepare_subresource_update),
//!   [`validate_subresource_update`](metadata::validate_subresource_update).
//! - Service addresses and node ports, and a pod's priority, come from whoever keeps the ranges and classes.
//! - [`quota`] says what an object takes of a ResourceQuota.
//! - [`policy`] compiles and evaluates admission policies.
//! - [`definitions::openapi`] writes definitions as OpenAPI components.

mod check;
pub mod custom;
pub mod definitions;
mod edit;
pub mod kinds;
pub mod metadata;
pub mod normalize;
pub mod pod_security;
mod podspec;
pub mod policy;
pub mod quota;
mod read;
pub mod registry;
pub mod resource;
mod status;
pub mod strategy;
pub mod table;

pub use registry::{Registry, registry};
