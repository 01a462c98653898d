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

/// The container (id) whose processes an ephemeral container is to see; `None` where it names none.
///
/// # Errors
/// The waiting reason where the one that it names does not run.
pub fn target(pod: &Pod, name: &str, observed: &Observed) -> Result<Option<String>, Waiting> {
    let mut ephemeral = pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    let target = ephemeral.find(|container| container.name == name).and_then(|c| c.target_container_name.as_deref());
    let Some(target) = target.filter(|target| !target.is_empty()) else { return Ok(None) };
    let running = observed.latest(target).filter(|latest| latest.phase == Phase::Running);
    match running {
        Some(running) => Ok(Some(running.id.clone())),
        None => {
            let message = format!("target container {target:?} does not run: name one that does, or none");
            Err(Waiting::new("CreateContainerConfigError", message))
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_ephemeral_container_joins_the_processes_of_its_target() {
        let pod: Pod = serde_json::from_value(json!({ "metadata": {}, "spec": {
            "containers": [{ "name": "a" }, { "name": "b" }],
            "ephemeralContainers": [
                { "name": "alone" }, { "name": "with-a", "targetContainerName": "a" },
                { "name": "with-b", "targetContainerName": "b" },
            ],
        }}))
        .unwrap();
        let run = |name: &str, phase: Phase| observed::Instance {
            id: format!("{name}1"),
            name: name.into(),
            phase,
            ..Default::default()
        };
        let containers = vec![run("a", Phase::Running), run("b", Phase::Exited)];
        let observed = Observed { containers, ..Default::default() };
        let found = |name: &str| target(&pod, name, &observed).map_err(|waiting| waiting.reason);
        assert_eq!(found("a"), Ok(None));
        assert_eq!(found("alone"), Ok(None));
        assert_eq!(found("with-a"), Ok(Some("a1".into())));
        assert_eq!(found("with-b"), Err("CreateContainerConfigError".into()));
    }
}
