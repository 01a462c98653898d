//! Operations that pods alone have.

pub mod binding;
pub mod eviction;
