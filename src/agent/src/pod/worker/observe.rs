//! What the runtime has of the pod, with details read only of what changed.

use cri::v1;
use k8s_openapi::api::core::v1::Pod;

use super::{State, Worker};
use crate::Error;
use crate::pod::identity::{self, POD_UID};
use crate::pod::memory::{Memory, Verdict};
use crate::pod::observed::{self, Instance, Observed, Phase};
use crate::pod::status::conditions::{BY_KUBELET, DISRUPTED};
use crate::pod::{backoff, config, find_container, lastwords, plan};

impl Worker {
    /// Reads the pod's sandboxes and containers; details only of what changed.
    pub(super) async fn observe(&self) -> Result<(), Error> {
        let (uid, before) = {
            let state = self.lock();
            (state.pod.metadata.uid.clone().unwrap_or_default(), state.observed.clone())
        };
        let runtime = self.host.runtime.as_ref();
        let labels = [(POD_UID, uid.as_str())];
        let mut now = Observed::default();
        for item in runtime.list_sandboxes(&labels).await? {
            let ready = item.state() == v1::PodSandboxState::SandboxReady;
            let known = before.sandboxes.iter().find(|sandbox| sandbox.id == item.id && sandbox.ready == ready);
            match known {
                Some(known) => now.sandboxes.push(known.clone()),
                None => match runtime.sandbox_status(&item.id).await {
                    Ok(status) => now.sandboxes.push(observed::sandbox(&status)),
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(error.into()),
                },
            }
        }
        for item in runtime.list_containers(&labels).await? {
            let phase = observed::phase(item.state());
            let known = before.containers.iter().find(|instance| instance.id == item.id && instance.phase == phase);
            if let Some(known) = known {
                now.containers.push(known.clone());
                continue;
            }
            match runtime.container_status(&item.id).await {
                Ok(status) => now.containers.push(self.detail(&status, &item.pod_sandbox_id)),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        now.sort();
        let mut state = self.lock();
        state.memory.retain(|id| now.containers.iter().any(|instance| instance.id == id));
        state.observed = now;
        let State { pod, memory, observed, recalled, .. } = &mut *state;
        if !std::mem::replace(recalled, true) {
            recall_crashes(pod, memory, observed);
        }
        unprobed(pod, memory, observed);
        Ok(())
    }

    /// Containers whose image has come since they failed for it need not wait any longer.
    pub(super) async fn look_for_images(&self) {
        let wanted: Vec<(String, String)> = {
            let state = self.lock();
            let failed = state.memory.failures.keys().filter_map(|name| find_container(&state.pod, name));
            let lacking = failed.filter(|container| state.memory.lacks_image(container));
            lacking.map(|container| (container.name, container.image.unwrap_or_default())).collect()
        };
        for (name, image) in wanted {
            if let Ok(Some(_)) = self.host.runtime.image_status(&image).await {
                self.lock().memory.succeed(&name);
            }
        }
    }

    fn detail(&self, status: &v1::ContainerStatus, sandbox_id: &str) -> Instance {
        let mut instance = observed::instance(status, sandbox_id);
        if !status.log_path.starts_with('/') {
            let folder = config::log_folder(&self.host, &self.pod());
            instance.log_path = folder.join(&status.log_path).display().to_string();
        }
        lastwords::read(&mut instance);
        instance
    }
}

/// After the agent's restart: what the API knows to be ready stays so until a probe says otherwise, and why a pod was
/// ended stays told.
pub(super) fn recall(pod: &Pod, memory: &mut Memory) {
    let Some(status) = pod.status.as_ref() else { return };
    if let (Some("Failed"), Some(reason)) = (status.phase.as_deref(), &status.reason) {
        let refused = status.container_statuses.as_ref().is_none_or(Vec::is_empty);
        let message = status.message.clone().unwrap_or_default();
        let mut conditions = status.conditions.iter().flatten();
        let disrupts = conditions.any(|condition| {
            condition.type_ == DISRUPTED
                && condition.reason.as_deref() == Some(BY_KUBELET)
                && condition.status == "True"
        });
        memory.verdict = Some(Verdict { reason: reason.clone(), message, refused, disrupts, grace: None });
    }
    let all = status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
    for container in all {
        let Some(id) = container.container_id.as_deref().and_then(|id| id.strip_prefix("containerd://")) else {
            continue;
        };
        if container.ready {
            memory.ready.insert(id.to_string());
        }
        if container.started == Some(true) {
            memory.started.insert(id.to_string());
        }
    }
}

/// After the agent's restart: containers that kept ending wait on, instead of being started at once.
fn recall_crashes(pod: &Pod, memory: &mut Memory, observed: &Observed) {
    let Some(spec) = pod.spec.as_ref() else { return };
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        let Some(latest) = observed.latest(&container.name) else { continue };
        // A changed definition starts anew.
        if latest.hash != identity::hash(container) {
            continue;
        }
        let delay = backoff::recalled(latest, observed.previous(&container.name));
        let begun = latest.started_at().or_else(|| latest.finished_at());
        if let (Some(delay), Some(begun)) = (delay, begun) {
            memory.crashes.restore(&plan::crash_key(container), delay, begun);
        }
    }
}

/// Containers without a startup probe have started once they run, those without a readiness probe are ready then.
fn unprobed(pod: &Pod, memory: &mut Memory, observed: &Observed) {
    for instance in observed.containers.iter().filter(|instance| instance.phase == Phase::Running) {
        let Some(container) = find_container(pod, &instance.name) else { continue };
        if container.startup_probe.is_none() && !memory.condemned.contains_key(&instance.id) {
            memory.started.insert(instance.id.clone());
        }
        if container.readiness_probe.is_none() && memory.started.contains(&instance.id) {
            memory.ready.insert(instance.id.clone());
        }
    }
}
