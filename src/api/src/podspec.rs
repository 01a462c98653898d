//! The pod spec, of pods and of the templates in workloads: defaults that no schema can say, and validation.
//!
//! Paths, messages and their order follow Kubernetes', since people search for them.

pub(crate) mod affinity;
pub(crate) mod annotations;
mod claims;
pub(crate) mod containers;
pub(crate) mod defaults;
pub(crate) mod environment;
mod os;
pub(crate) mod probes;
pub(crate) mod qos;
pub(crate) mod resource_names;
pub(crate) mod resources;
pub(crate) mod security;
pub(crate) mod spec;
pub(crate) mod template;
pub(crate) mod volumes;
pub(crate) mod warnings;
mod windows;

/// The lists of containers that a pod spec can have.
pub(crate) const CONTAINER_LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];
