//! What the runtime is told to make: the configurations of a pod's sandbox and of its containers.

use std::path::{Path, PathBuf};

use cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::environment::Environment;
use super::expand::expand;
use super::resources;
use super::security::{self, ImageUser};
use super::{identity, resolver};
use crate::Error;
use crate::host::Host;
use crate::images::Present;
use crate::volumes::Paths;
use crate::volumes::mounts;

/// The sandbox of a pod; `attempt` counts from 0.
pub fn sandbox(host: &Host, pod: &Pod, attempt: u32) -> v1::PodSandboxConfig {
    let reference = identity::PodRef::of(pod);
    let spec = pod.spec.clone().unwrap_or_default();
    let (hostname, full) = resolver::hostname(pod, &host.config.cluster_domain);
    let hostname = match full {
        Some(full) if spec.set_hostname_as_fqdn == Some(true) => full,
        _ => hostname,
    };
    let host_network = spec.host_network == Some(true);
    let sysctls = spec.security_context.iter().flat_map(|context| context.sysctls.iter().flatten());
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: reference.name.clone(),
            uid: reference.uid.clone(),
            namespace: reference.namespace.clone(),
            attempt,
        }),
        hostname: if host_network { String::new() } else { hostname },
        log_directory: log_folder(host, pod).display().to_string(),
        dns_config: Some(resolver::dns_config(
            pod,
            &host.resolver(pod),
            &host.config.cluster_dns,
            &host.config.cluster_domain,
        )),
        port_mappings: if host_network { Vec::new() } else { ports(&spec) },
        labels: identity::sandbox_labels(pod),
        annotations: identity::sandbox_annotations(pod).into_iter().collect(),
        linux: Some(v1::LinuxPodSandboxConfig {
            cgroup_parent: host.cgroups.parent(resources::qos(pod), &reference.uid),
            security_context: Some(security::sandbox(&spec)),
            sysctls: sysctls.map(|sysctl| (sysctl.name.clone(), sysctl.value.clone())).collect(),
            ..Default::default()
        }),
        windows: None,
    }
}

/// `/var/log/pods/NAMESPACE_NAME_UID`.
pub fn log_folder(host: &Host, pod: &Pod) -> PathBuf {
    host.config.pod_logs_dir.join(identity::PodRef::of(pod).log_folder())
}

fn ports(spec: &PodSpec) -> Vec<v1::PortMapping> {
    let sidecars = spec.init_containers.iter().flatten().filter(|container| super::plan::is_sidecar(container));
    let all = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    all.map(|port| v1::PortMapping {
        protocol: match port.protocol.as_deref() {
            Some("UDP") => v1::Protocol::Udp,
            Some("SCTP") => v1::Protocol::Sctp,
            _ => v1::Protocol::Tcp,
        } as i32,
        container_port: port.container_port,
        host_port: port.host_port.unwrap_or(0),
        host_ip: port.host_ip.clone().unwrap_or_default(),
    })
    .collect()
}

/// Everything a container's configuration is made from.
pub struct Parts<'a> {
    /// The node.
    pub host: &'a Host,
    /// The pod.
    pub pod: &'a Pod,
    /// The container.
    pub container: &'a Container,
    /// How many runs there were before.
    pub restart_count: u32,
    /// Its image.
    pub image: &'a Present,
    /// Its environment.
    pub environment: Environment,
    /// Where the pod's volumes are.
    pub volumes: &'a Paths,
    /// The container (id) whose processes it is to see.
    pub target: Option<String>,
}

/// A container. Makes the files that are mounted into it: last words, subPaths.
pub fn container(parts: Parts<'_>) -> Result<v1::ContainerConfig, Error> {
    let Parts { host, pod, container, restart_count, image, ref environment, .. } = parts;
    let spec = pod.spec.as_ref().ok_or_else(|| Error::Pod("the pod has no spec".into()))?;
    let values = environment.iter().cloned().collect();
    let expanded =
        |words: Option<&Vec<String>>| words.into_iter().flatten().map(|word| expand(word, &values)).collect();
    let user = match image.uid {
        Some(uid) => ImageUser::Id(uid),
        None if image.username.is_empty() => ImageUser::Id(0),
        None => ImageUser::Name(image.username.clone()),
    };
    if container.volume_devices.as_ref().is_some_and(|devices| !devices.is_empty()) {
        return Err(Error::Pod(format!(
            "container {:?} asks for volumeDevices, which this node cannot give",
            container.name
        )));
    }
    let mut security = security::container(spec, container, &user)?;
    if let (Some(options), Some(target)) = (security.namespace_options.as_mut(), &parts.target) {
        security::join_processes(options, target);
    }
    let envs = environment.iter().map(|(key, value)| v1::KeyValue { key: key.clone(), value: value.clone() }).collect();
    Ok(v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: container.name.clone(), attempt: restart_count }),
        image: Some(v1::ImageSpec {
            image: image.id.clone(),
            user_specified_image: container.image.clone().unwrap_or_default(),
            ..Default::default()
        }),
        command: expanded(container.command.as_ref()),
        args: expanded(container.args.as_ref()),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs,
        mounts: all_mounts(&parts, &values)?,
        labels: identity::container_labels(pod, &container.name),
        annotations: identity::container_annotations(pod, container, restart_count),
        log_path: format!("{}/{restart_count}.log", container.name),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        linux: Some(v1::LinuxContainerConfig {
            resources: Some(resources::container_resources(
                pod,
                container,
                host.memory_bytes,
                host.cgroups.is_unified(),
            )),
            security_context: Some(security),
        }),
        ..Default::default()
    })
}

fn all_mounts(parts: &Parts<'_>, values: &std::collections::HashMap<String, String>) -> Result<Vec<v1::Mount>, Error> {
    let Parts { host, pod, container, volumes, .. } = parts;
    let folder = host.config.pod_dir(pod.metadata.uid.as_deref().unwrap_or_default());
    let mut list = Vec::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        security::check_mount(mount)?;
        let volume = volumes
            .get(&mount.name)
            .ok_or_else(|| Error::Pod(format!("volumeMount {:?} names a volume the pod does not have", mount.name)))?;
        let sub_path = match (&mount.sub_path, &mount.sub_path_expr) {
            (_, Some(expression)) if !expression.is_empty() => expand(expression, values),
            (Some(sub_path), _) => sub_path.clone(),
            _ => String::new(),
        };
        let host_path = if sub_path.is_empty() {
            volume.clone()
        } else {
            let target = folder.join("volume-subpaths").join(&mount.name).join(&container.name).join(index.to_string());
            mounts::bind_sub_path(volume, &sub_path, &target)?;
            target
        };
        let propagation = match mount.mount_propagation.as_deref() {
            Some("HostToContainer") => v1::MountPropagation::PropagationHostToContainer,
            Some("Bidirectional") => v1::MountPropagation::PropagationBidirectional,
            _ => v1::MountPropagation::PropagationPrivate,
        };
        list.push(v1::Mount {
            container_path: absolute(&mount.mount_path),
            host_path: host_path.display().to_string(),
            readonly: mount.read_only == Some(true),
            propagation: propagation as i32,
            ..Default::default()
        });
    }
    let taken = |path: &str, list: &[v1::Mount]| list.iter().any(|mount| mount.container_path == path);
    let hosts = folder.join("etc-hosts");
    if !taken("/etc/hosts", &list) && hosts.exists() {
        list.push(plain("/etc/hosts", &hosts));
    }
    let last_words = container.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
    if !last_words.is_empty() && !taken(last_words, &list) {
        list.push(plain(last_words, &last_words_file(&folder, &container.name)?));
    }
    Ok(list)
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_string() } else { format!("/{path}") }
}

fn plain(container_path: &str, host_path: &Path) -> v1::Mount {
    v1::Mount {
        container_path: container_path.to_string(),
        host_path: host_path.display().to_string(),
        ..Default::default()
    }
}

/// A new empty file that every user of the container may write.
fn last_words_file(folder: &Path, container: &str) -> Result<PathBuf, Error> {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder.join("containers").join(container);
    std::fs::create_dir_all(&folder).map_err(Error::file("create folder", &folder))?;
    let file = folder.join(format!("{:08x}", rand::random::<u32>()));
    std::fs::File::create(&file).map_err(Error::file("create", &file))?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666))
        .map_err(Error::file("set mode of", &file))?;
    Ok(file)
}
