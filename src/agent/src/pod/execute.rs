//! The steps of a plan, carried out against the runtime. What to do is decided in [`super::plan`].

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use client::events::EventType;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::memory::Waiting;
use super::observed::{Observed, Sandbox};
use super::resources::{pod_limits, qos};
use super::{config, environment, find_container, identity, resolver, security};
use crate::Error;
use crate::hooks;
use crate::host::Host;

/// What the runtime gets to end a process even where a hook used the grace up.
const STOP_MIN: Duration = Duration::from_secs(2);

/// Makes folders, cgroup and volumes.
pub async fn prepare(host: &Host, pod: &Pod) -> Result<(), Error> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let folder = host.config.pod_dir(uid);
    make_folder(&folder, 0o750)?;
    for sub in ["volumes", "plugins", "containers"] {
        make_folder(&folder.join(sub), 0o750)?;
    }
    host.cgroups.prepare_pod(qos(pod), uid, pod_limits(pod)).map_err(Error::file("create cgroup of pod", uid))?;
    host.volumes.prepare(pod, &host.facts(Vec::new()), host.objects.as_ref(), &host.events).await?;
    Ok(())
}

fn make_folder(folder: &Path, mode: u32) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(folder).map_err(Error::file("create folder", folder))?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)).map_err(Error::file("set mode of", folder))
}

/// Makes and starts a sandbox.
pub async fn create_sandbox(host: &Host, pod: &Pod, attempt: u32) -> Result<String, Error> {
    if let Some(spec) = &pod.spec {
        security::check_sandbox(spec)?;
    }
    let config = config::sandbox(host, pod, attempt);
    make_folder(&config::log_folder(host, pod), 0o755)?;
    let id = host.runtime.run_sandbox(config, &handler(host, pod).await?).await?;
    // With systemd the pod's slice, and all pods' slice above the first, are there only now.
    host.limit_pods();
    host.cgroups.limit_pod(qos(pod), pod.metadata.uid.as_deref().unwrap_or_default(), pod_limits(pod));
    Ok(id)
}

/// What the runtime calls the class that the pod asks for; empty for its own choice.
async fn handler(host: &Host, pod: &Pod) -> Result<String, Error> {
    match pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.as_deref()) {
        None | Some("") => Ok(String::new()),
        Some(class) => Ok(host.objects.runtime_class(class).await?.handler.clone()),
    }
}

/// Writes the hosts file of a pod once its addresses are known.
pub fn write_hosts(host: &Host, pod: &Pod, sandbox: &Sandbox) -> Result<(), Error> {
    let file = host.config.pod_dir(pod.metadata.uid.as_deref().unwrap_or_default()).join("etc-hosts");
    let text = if pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true) {
        resolver::host_network_hosts_file(pod, &std::fs::read_to_string("/etc/hosts").unwrap_or_default())
    } else {
        resolver::hosts_file(pod, &sandbox.ips, &host.config.cluster_domain)
    };
    if std::fs::read_to_string(&file).is_ok_and(|present| present == text) {
        return Ok(());
    }
    std::fs::write(&file, text).map_err(Error::file("write", &file))?;
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).map_err(Error::file("set mode of", &file))
}

/// A container that was started.
pub struct Started {
    /// The runtime's id.
    pub id: String,
    /// Why the container must end again: its post-start hook failed.
    pub condemned: Option<String>,
}

/// Pulls the image, makes the container, starts it, runs its post-start hook. It sees the processes of `target` (id).
/// An error is its waiting reason.
pub async fn start(
    host: &Host,
    pod: &Pod,
    sandbox: &Sandbox,
    name: &str,
    restart_count: u32,
    target: Option<String>,
) -> Result<Started, Waiting> {
    let Some(container) = find_container(pod, name) else {
        return Err(Waiting::new("CreateContainerConfigError", "the pod does not define this container any more"));
    };
    let image = host.images.ensure(pod, &container, host.objects.as_ref(), &host.events).await?;
    let config_error = |error: Error| {
        let message = stdx::error::chain(&error);
        host.events.pod(pod, Some(name), EventType::Warning, "Failed", &format!("Error: {message}"));
        Waiting::new("CreateContainerConfigError", message)
    };
    let facts = host.facts(if sandbox.host_network { host_ips(host) } else { sandbox.ips.clone() });
    let environment = environment::build(pod, &container, &facts, host.objects.as_ref()).await.map_err(config_error)?;
    let volumes = host.volumes.paths(pod);
    write_hosts(host, pod, sandbox).map_err(config_error)?;
    let parts = config::Parts {
        host,
        pod,
        container: &container,
        restart_count,
        image: &image,
        environment,
        volumes: &volumes,
        target,
    };
    let log_folder = config::log_folder(host, pod);
    make_folder(&log_folder.join(name), 0o755).map_err(config_error)?;
    let made = config::container(parts).map_err(config_error)?;
    let attempt = config::sandbox(host, pod, sandbox.attempt);
    let id = host.runtime.create_container(&sandbox.id, made, attempt).await.map_err(|error| {
        let message = stdx::error::chain(&error);
        host.events.pod(pod, Some(name), EventType::Warning, "Failed", &format!("Error: {message}"));
        Waiting::new("CreateContainerError", message)
    })?;
    host.events.pod(pod, Some(name), EventType::Normal, "Created", &format!("Created container: {name}"));
    link_log(host, pod, name, &id, &log_folder.join(name).join(format!("{restart_count}.log")));
    host.runtime.start_container(&id).await.map_err(|error| {
        let message = stdx::error::chain(&error);
        host.events.pod(pod, Some(name), EventType::Warning, "Failed", &format!("Error: {message}"));
        Waiting::new("RunContainerError", message)
    })?;
    host.events.pod(pod, Some(name), EventType::Normal, "Started", &format!("Started container {name}"));
    let condemned = post_start(host, pod, &container, sandbox, &id).await;
    Ok(Started { id, condemned })
}

fn host_ips(host: &Host) -> Vec<String> {
    host.host_ips.iter().map(ToString::to_string).collect()
}

async fn post_start(host: &Host, pod: &Pod, container: &Container, sandbox: &Sandbox, id: &str) -> Option<String> {
    let hook = container.lifecycle.as_ref()?.post_start.as_ref()?;
    let address = sandbox.ips.first().cloned().or_else(|| host_ips(host).first().cloned()).unwrap_or_default();
    let error = hooks::run(host.runtime.as_ref(), container, hook, id, &address, hooks::UNLIMITED).await.err()?;
    let message = format!("PostStartHook failed: {error}");
    host.events.pod(pod, Some(&container.name), EventType::Warning, "FailedPostStartHook", &message);
    Some(format!("Container {} failed post-start hook, will be restarted", container.name))
}

/// `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log`, where log collectors look.
fn link_log(host: &Host, pod: &Pod, container: &str, id: &str, log: &Path) {
    let link = log_link(host, pod, container, id);
    let _ = std::fs::create_dir_all(&host.config.container_logs_dir);
    let _ = std::fs::remove_file(&link);
    if let Err(error) = std::os::unix::fs::symlink(log, &link) {
        tracing::warn!(link = %link.display(), %error, "link a container's log");
    }
}

fn log_link(host: &Host, pod: &Pod, container: &str, id: &str) -> PathBuf {
    let reference = identity::PodRef::of(pod);
    host.config.container_logs_dir.join(format!("{}_{}_{container}-{id}.log", reference.name, reference.namespace))
}

/// Stops a container: its pre-stop hook, then the runtime with what is left of the grace.
pub async fn stop(
    host: &Host,
    pod: &Pod,
    observed: &Observed,
    id: &str,
    name: &str,
    grace: Duration,
    reason: &str,
) -> Result<(), Error> {
    host.events.pod(pod, Some(name), EventType::Normal, "Killing", reason);
    let begun = Instant::now();
    let container = find_container(pod, name);
    let hook = container.as_ref().and_then(|container| container.lifecycle.as_ref()?.pre_stop.as_ref());
    if let (Some(container), Some(hook), false) = (&container, hook, grace.is_zero()) {
        let ips = observed.sandboxes.first().map(|sandbox| sandbox.ips.clone()).unwrap_or_default();
        let address = ips.first().cloned().or_else(|| host_ips(host).first().cloned()).unwrap_or_default();
        if let Err(error) = hooks::run(host.runtime.as_ref(), container, hook, id, &address, grace).await {
            let message = format!("PreStopHook failed: {error}");
            host.events.pod(pod, Some(name), EventType::Warning, "FailedPreStopHook", &message);
        }
    }
    let left = if grace.is_zero() { grace } else { grace.saturating_sub(begun.elapsed()).max(STOP_MIN) };
    Ok(host.runtime.stop_container(id, left).await?)
}

/// Removes a run of a container and its log.
pub async fn remove(host: &Host, pod: &Pod, observed: &Observed, id: &str) -> Result<(), Error> {
    host.runtime.remove_container(id).await?;
    if let Some(instance) = observed.containers.iter().find(|instance| instance.id == id) {
        remove_log(&instance.log_path);
        let _ = std::fs::remove_file(log_link(host, pod, &instance.name, id));
    }
    Ok(())
}

/// A log with what rotation made of it: `0.log`, `0.log.20260101-000000`, `….gz`.
fn remove_log(path: &str) {
    let path = Path::new(path);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else { return };
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let file = file.to_string_lossy();
        if file == name || file.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Takes away what is left of a pod on the node once nothing of it runs.
pub async fn clean_up(host: &Host, reference: &identity::PodRef, observed: &Observed) -> Result<(), Error> {
    for instance in &observed.containers {
        host.runtime.remove_container(&instance.id).await?;
    }
    for sandbox in &observed.sandboxes {
        host.runtime.stop_sandbox(&sandbox.id).await?;
        host.runtime.remove_sandbox(&sandbox.id).await?;
    }
    host.volumes.remove(&reference.uid)?;
    host.cgroups.remove_pod(&reference.uid);
    let logs = host.config.pod_logs_dir.join(reference.log_folder());
    if logs.exists() {
        std::fs::remove_dir_all(&logs).map_err(Error::file("remove folder", &logs))?;
    }
    let prefix = format!("{}_{}_", reference.name, reference.namespace);
    for entry in std::fs::read_dir(&host.config.container_logs_dir).into_iter().flatten().flatten() {
        let dangling = std::fs::metadata(entry.path()).is_err();
        if dangling && entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(())
}
