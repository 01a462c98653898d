//! One pod on its way from a definition to running containers and back.
//!
//! [`plan`] decides, [`status`] reports, both pure; [`worker`] observes and carries out. The rest are the parts that
//! a container's configuration is made of.

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod};

use self::memory::Waiting;
use self::observed::{Observed, Phase};

pub mod admission;
pub mod backoff;
pub mod config;
pub mod environment;
pub mod execute;
pub mod expand;
pub mod fields;
pub mod identity;
pub mod lastwords;
pub mod memory;
pub mod observed;
pub mod plan;
pub mod resolver;
pub mod resources;
pub mod security;
pub mod status;
pub mod terminate;
pub mod worker;

/// The definition of a container of any kind by its name.
pub fn find_container(pod: &Pod, name: &str) -> Option<Container> {
    let spec = pod.spec.as_ref()?;
    let mut plain = spec.init_containers.iter().flatten().chain(&spec.containers);
    if let Some(found) = plain.find(|container| container.name == name) {
        return Some(found.clone());
    }
    spec.ephemeral_containers.iter().flatten().find(|container| container.name == name).map(ephemeral_as_container)
}

/// An ephemeral container as an ordinary one that never restarts.
pub fn ephemeral_as_container(container: &EphemeralContainer) -> Container {
    Container {
        name: container.name.clone(),
        image: container.image.clone(),
        command: container.command.clone(),
        args: container.args.clone(),
        working_dir: container.working_dir.clone(),
        env: container.env.clone(),
        env_from: container.env_from.clone(),
        image_pull_policy: container.image_pull_policy.clone(),
        security_context: container.security_context.clone(),
        volume_mounts: container.volume_mounts.clone(),
        stdin: container.stdin,
        stdin_once: container.stdin_once,
        tty: container.tty,
        termination_message_path: container.termination_message_path.clone(),
        termination_message_policy: container.termination_message_policy.clone(),
        restart_policy: Some("Never".into()),
        ..Default::default()
    }
}
