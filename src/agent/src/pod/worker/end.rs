//! The end of a pod: its containers, then everything it left on the node.

use std::time::Duration;

use k8s_openapi::api::core::v1::PodStatus;

use super::{RETRY, Worker};
use crate::pod::identity::PodRef;
use crate::pod::observed::Phase;
use crate::pod::{execute, terminate};

impl Worker {
    /// Ends the pod's containers, reporting on the way; begins anew when the grace is cut short.
    pub(super) async fn terminate(&self) {
        let (pod, observed) = (self.pod(), self.observed());
        let grace = self.grace();
        let ending = terminate::run(&self.host, &pod, &observed, grace);
        tokio::pin!(ending);
        loop {
            tokio::select! {
                stopped = &mut ending => {
                    if !stopped {
                        // The loop would turn as fast as the runtime refuses.
                        self.pause(RETRY).await;
                    }
                    return;
                }
                () = self.wake.notified() => {
                    if self.grace() < grace {
                        return self.wake.notify_one();
                    }
                    if self.observe().await.is_ok() {
                        self.publish();
                    }
                }
            }
        }
    }

    /// The pod's grace, or the shorter one of whoever ends it.
    fn grace(&self) -> Duration {
        let state = self.lock();
        let own = terminate::grace(&state.pod);
        state.memory.verdict.as_ref().and_then(|verdict| verdict.grace).map_or(own, |grace| grace.min(own))
    }

    /// True where the pod is being deleted, or ended by the agent.
    pub fn is_ending(&self) -> bool {
        let state = self.lock();
        state.deleted || state.memory.verdict.is_some()
    }

    /// Removes containers that nothing needs to go on: former runs, and every one of a pod that is over by the API's
    /// word.
    pub async fn remove_ended(&self) {
        let (pod, observed) = (self.pod(), self.observed());
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let over = matches!(phase, Some("Succeeded" | "Failed"));
        let newest = |id: &str, name: &str| observed.latest(name).is_some_and(|latest| latest.id == id);
        for instance in observed.containers.iter().filter(|instance| instance.phase == Phase::Exited) {
            if !over && newest(&instance.id, &instance.name) {
                continue;
            }
            if let Err(error) = execute::remove(&self.host, &pod, &observed, &instance.id).await {
                tracing::warn!(pod = %PodRef::of(&pod), error = %stdx::error::chain(&error), "remove a container");
            }
        }
        self.wake();
    }

    /// Takes the volumes of a pod away that is over, once: what they take of the disk and of memory is free long
    /// before somebody deletes the pod. False where it is to be tried again.
    pub(super) async fn tear_down(&self) -> bool {
        if self.lock().torn_down {
            return true;
        }
        let (host, reference) = (self.host.clone(), PodRef::of(&self.pod()));
        let uid = reference.uid.clone();
        // There may be very many files.
        let done = tokio::task::spawn_blocking(move || host.volumes.tear_down(&uid)).await;
        match done {
            Ok(Ok(())) => {
                self.lock().torn_down = true;
                true
            }
            Ok(Err(error)) => {
                tracing::warn!(pod = %reference, error = %stdx::error::chain(&error), "take a pod's volumes away");
                false
            }
            Err(_) => false,
        }
    }

    /// True where the pod is over and takes nothing any more but what tells of it.
    pub fn is_cleared(&self) -> bool {
        self.is_over() && self.lock().torn_down
    }

    /// Reports the end and takes everything away; true where it is done.
    pub(super) async fn finish(&self) -> bool {
        self.lock().ended = true;
        self.publish();
        let (pod, observed) = (self.pod(), self.observed());
        if let Err(error) = execute::clean_up(&self.host, &PodRef::of(&pod), &observed).await {
            tracing::warn!(pod = %PodRef::of(&pod), error = %stdx::error::chain(&error), "clean up after a pod");
            return false;
        }
        self.lock().torn_down = true;
        self.reports.gone(&pod);
        true
    }

    /// True where nothing of the pod runs or will run any more: it has ended, or the node did not take it.
    pub fn is_over(&self) -> bool {
        let state = self.lock();
        let over = |status: Option<&PodStatus>| {
            matches!(status.and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"))
        };
        let refused = state.memory.verdict.as_ref().is_some_and(|verdict| verdict.refused);
        refused || over(state.status.as_ref()) || over(state.pod.status.as_ref())
    }
}
