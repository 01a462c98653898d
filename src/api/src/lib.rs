//! The built-in kinds: one file a kind, one line in the registry. Knows no HTTP and no store.

pub mod resource;
