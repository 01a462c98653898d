//! Security contexts as the runtime takes them.

use cri::v1;
use k8s_openapi::api::core::v1::{
    Container, PodSecurityContext, PodSpec, SELinuxOptions, SeccompProfile, SecurityContext, VolumeMount,
};

use crate::Error;

/// What a container must not see of `/proc` and `/sys` with the default procMount.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];
/// What it must not write.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The namespaces that the pod shares with the host or between its containers.
pub fn namespaces(spec: &PodSpec) -> v1::NamespaceOption {
    let node_or = |host: Option<bool>, otherwise| if host == Some(true) { v1::NamespaceMode::Node } else { otherwise };
    let shared = spec.share_process_namespace == Some(true);
    let pid = if shared { v1::NamespaceMode::Pod } else { v1::NamespaceMode::Container };
    v1::NamespaceOption {
        network: node_or(spec.host_network, v1::NamespaceMode::Pod) as i32,
        pid: node_or(spec.host_pid, pid) as i32,
        ipc: node_or(spec.host_ipc, v1::NamespaceMode::Pod) as i32,
        ..Default::default()
    }
}

/// Puts a container that has processes of its own among those of another one (id).
pub fn join_processes(options: &mut v1::NamespaceOption, target: &str) {
    if options.pid == v1::NamespaceMode::Container as i32 {
        options.pid = v1::NamespaceMode::Target as i32;
        options.target_id = target.to_string();
    }
}

/// What the pod asks of its sandbox that this node cannot give: what is left out of the runtime's configuration without
/// a word would be less isolation than was asked for.
///
/// # Errors
/// What, and the remedy.
pub fn check_sandbox(spec: &PodSpec) -> Result<(), Error> {
    match spec.host_users {
        Some(false) => Err(Error::Pod(
            "spec.hostUsers is false, and this node has no user namespaces for pods: set it to true or leave it out"
                .into(),
        )),
        _ => Ok(()),
    }
}

/// The same of a mount.
///
/// # Errors
/// What, and the remedy.
pub fn check_mount(mount: &VolumeMount) -> Result<(), Error> {
    match mount.recursive_read_only.as_deref() {
        Some("Enabled") => Err(Error::Pod(format!(
            "volumeMount {:?} has recursiveReadOnly Enabled, which this node cannot give: use IfPossible or leave it out",
            mount.name
        ))),
        _ => Ok(()),
    }
}

/// The sandbox's security context.
pub fn sandbox(spec: &PodSpec) -> v1::LinuxSandboxSecurityContext {
    let context = spec.security_context.as_ref();
    let mut groups = context.and_then(|context| context.supplemental_groups.clone()).unwrap_or_default();
    groups.extend(context.and_then(|context| context.fs_group));
    v1::LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(spec)),
        selinux_options: context.and_then(|context| selinux(context.se_linux_options.as_ref())),
        run_as_user: context.and_then(|context| context.run_as_user).map(int),
        run_as_group: context
            .filter(|context| context.run_as_user.is_some())
            .and_then(|context| context.run_as_group)
            .map(int),
        supplemental_groups: groups,
        privileged: any_privileged(spec),
        seccomp: Some(profile(v1::security_profile::ProfileType::RuntimeDefault, "")),
        ..Default::default()
    }
}

fn any_privileged(spec: &PodSpec) -> bool {
    spec.init_containers
        .iter()
        .flatten()
        .chain(&spec.containers)
        .any(|container| container.security_context.as_ref().and_then(|context| context.privileged) == Some(true))
}

/// A container's security context. `image_user` is what the image's configuration names: uid or user name.
pub fn container(
    spec: &PodSpec,
    container: &Container,
    image_user: &ImageUser,
) -> Result<v1::LinuxContainerSecurityContext, Error> {
    let pod = spec.security_context.clone().unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let run_as_user = own.run_as_user.or(pod.run_as_user);
    let non_root = own.run_as_non_root.or(pod.run_as_non_root) == Some(true);
    if non_root {
        check_non_root(container, run_as_user, image_user)?;
    }
    let mut groups = pod.supplemental_groups.clone().unwrap_or_default();
    groups.extend(pod.fs_group);
    let privileged = own.privileged == Some(true);
    let masks = !privileged && own.proc_mount.as_deref() != Some("Unmasked");
    let paths = |list: &[&str]| if masks { list.iter().map(ToString::to_string).collect() } else { Vec::new() };
    let (user, name) = match (run_as_user, image_user) {
        (Some(uid), _) => (Some(uid), String::new()),
        (None, ImageUser::Id(uid)) => (Some(*uid), String::new()),
        (None, ImageUser::Name(name)) => (None, name.clone()),
    };
    let group = own.run_as_group.or(pod.run_as_group);
    Ok(v1::LinuxContainerSecurityContext {
        capabilities: Some(capabilities(&own)),
        privileged,
        namespace_options: Some(namespaces(spec)),
        selinux_options: selinux(own.se_linux_options.as_ref().or(pod.se_linux_options.as_ref())),
        run_as_user: user.map(int),
        run_as_username: name,
        run_as_group: group.map(int),
        readonly_rootfs: own.read_only_root_filesystem == Some(true),
        supplemental_groups: groups,
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths: paths(&MASKED),
        readonly_paths: paths(&READ_ONLY),
        seccomp: Some(seccomp(&own, &pod)),
        ..Default::default()
    })
}

/// Whom an image runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageUser {
    /// A numeric user.
    Id(i64),
    /// A name; only the image itself knows its number.
    Name(String),
}

fn check_non_root(container: &Container, run_as_user: Option<i64>, image: &ImageUser) -> Result<(), Error> {
    let name = &container.name;
    match (run_as_user, image) {
        (Some(0), _) => Err(Error::Pod(format!("container's runAsUser breaks non-root policy (container: {name})"))),
        (Some(_), _) => Ok(()),
        (None, ImageUser::Id(0)) => {
            Err(Error::Pod(format!("container has runAsNonRoot and image will run as root (container: {name})")))
        }
        (None, ImageUser::Id(_)) => Ok(()),
        (None, ImageUser::Name(user)) => Err(Error::Pod(format!(
            "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root (container: {name})"
        ))),
    }
}

fn capabilities(context: &SecurityContext) -> v1::Capability {
    let wanted = context.capabilities.clone().unwrap_or_default();
    v1::Capability {
        add_capabilities: wanted.add.unwrap_or_default(),
        drop_capabilities: wanted.drop.unwrap_or_default(),
        ..Default::default()
    }
}

fn seccomp(own: &SecurityContext, pod: &PodSecurityContext) -> v1::SecurityProfile {
    use v1::security_profile::ProfileType::{Localhost, RuntimeDefault, Unconfined};
    let wanted: Option<&SeccompProfile> = own.seccomp_profile.as_ref().or(pod.seccomp_profile.as_ref());
    match wanted.map(|wanted| (wanted.type_.as_str(), wanted.localhost_profile.as_deref())) {
        Some(("RuntimeDefault", _)) if own.privileged != Some(true) => profile(RuntimeDefault, ""),
        Some(("Localhost", Some(path))) if own.privileged != Some(true) => {
            profile(Localhost, &format!("/var/lib/kubelet/seccomp/{path}"))
        }
        _ => profile(Unconfined, ""),
    }
}

fn profile(kind: v1::security_profile::ProfileType, path: &str) -> v1::SecurityProfile {
    v1::SecurityProfile { profile_type: kind as i32, localhost_ref: path.to_string() }
}

fn selinux(options: Option<&SELinuxOptions>) -> Option<v1::SeLinuxOption> {
    options.map(|options| v1::SeLinuxOption {
        user: options.user.clone().unwrap_or_default(),
        role: options.role.clone().unwrap_or_default(),
        r#type: options.type_.clone().unwrap_or_default(),
        level: options.level.clone().unwrap_or_default(),
    })
}

fn int(value: i64) -> v1::Int64Value {
    v1::Int64Value { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_containers_own_context_wins_over_the_pods() {
        let spec: PodSpec = serde_json::from_value(json!({
            "securityContext": { "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 2000 },
            "containers": [{ "name": "a", "securityContext": { "runAsUser": 7, "allowPrivilegeEscalation": false } }],
        }))
        .unwrap();
        let context = container(&spec, &spec.containers[0], &ImageUser::Id(0)).unwrap();
        assert_eq!(context.run_as_user.unwrap().value, 7);
        assert_eq!(context.run_as_group.unwrap().value, 1000);
        assert_eq!(context.supplemental_groups, [2000]);
        assert!(context.no_new_privs);
    }

    #[test]
    fn isolation_that_cannot_be_given_is_refused() {
        let spec = |users: serde_json::Value| {
            serde_json::from_value::<PodSpec>(json!({ "hostUsers": users, "containers": [] })).unwrap()
        };
        for (users, taken) in [(json!(null), true), (json!(true), true), (json!(false), false)] {
            assert_eq!(check_sandbox(&spec(users.clone())).is_ok(), taken, "{users}");
        }
        let table =
            [(json!(null), true), (json!("Disabled"), true), (json!("IfPossible"), true), (json!("Enabled"), false)];
        for (recursive, taken) in table {
            let mount = json!({ "name": "v", "mountPath": "/v", "readOnly": true, "recursiveReadOnly": recursive });
            assert_eq!(check_mount(&serde_json::from_value(mount).unwrap()).is_ok(), taken, "{recursive}");
        }
    }

    #[test]
    fn only_processes_that_are_a_containers_own_join_others() {
        let joined = |spec: serde_json::Value| {
            let mut options = namespaces(&serde_json::from_value(spec).unwrap());
            join_processes(&mut options, "t");
            (options.pid(), options.target_id)
        };
        use v1::NamespaceMode::{Node, Pod, Target};
        assert_eq!(joined(json!({ "containers": [] })), (Target, "t".into()));
        assert_eq!(joined(json!({ "containers": [], "shareProcessNamespace": true })), (Pod, String::new()));
        assert_eq!(joined(json!({ "containers": [], "hostPID": true })), (Node, String::new()));
    }

    #[test]
    fn root_is_refused_where_it_is_forbidden() {
        let spec: PodSpec = serde_json::from_value(json!({
            "securityContext": { "runAsNonRoot": true }, "containers": [{ "name": "a" }],
        }))
        .unwrap();
        assert!(container(&spec, &spec.containers[0], &ImageUser::Id(0)).is_err());
        assert!(container(&spec, &spec.containers[0], &ImageUser::Name("www".into())).is_err());
        assert!(container(&spec, &spec.containers[0], &ImageUser::Id(5)).is_ok());
    }
}
