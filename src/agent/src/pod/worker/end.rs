//! The end of a pod: its containers, then everything it left on the node.

use k8s_openapi::api::core::v1::PodStatus;

use super::{RETRY, Worker};
use crate::pod::identity::PodRef;
use crate::pod::{execute, terminate};

impl Worker {
    /// Ends the pod's containers, reporting on the way; begins anew when the grace is cut short.
    pub(super) async fn terminate(&self) {
        let (pod, observed) = (self.pod(), self.observed());
        let grace = terminate::grace(&pod);
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
                    if terminate::grace(&self.pod()) < grace {
                        return self.wake.notify_one();
                    }
                    if self.observe().await.is_ok() {
                        self.publish();
                    }
                }
            }
        }
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
