//! What every Kubernetes object has in common: names, selectors, quantities, schemas, patches, apply, tables.
//!
//! Objects are [`serde_json::Value`]. Pure: no tokio, no I/O, and no knowledge of any single kind.

pub mod apply;
pub mod eviction;
pub mod field;
pub mod gvk;
pub mod jsonpath;
pub mod meta;
pub mod names;
pub mod patch;
pub mod qos;
pub mod quantity;
pub mod re2;
pub mod schema;
pub mod selector;
pub mod strict;
pub mod table;
mod trail;
