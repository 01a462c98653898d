//! The steps of a plan, one after the other, and what is remembered of how they went.

use client::events::EventType;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::{RETRY, Worker};
use crate::Error;
use crate::pod::identity::PodRef;
use crate::pod::memory::{SANDBOX, VOLUMES, Waiting};
use crate::pod::observed::Phase;
use crate::pod::plan::{self, Action};
use crate::pod::{execute, find_container, target, terminate};

impl Worker {
    pub(super) async fn carry_out(&self, actions: Vec<Action>) {
        for action in actions {
            if self.is_ending() {
                return;
            }
            let failed = match action {
                Action::Start { name, restart_count } => {
                    self.start(&name, restart_count).await;
                    continue;
                }
                Action::Prepare => self.prepare().await,
                Action::CreateSandbox { attempt } => self.create_sandbox(attempt).await,
                action => self.tidy(action).await,
            };
            if let Err(error) = failed {
                let pod = self.pod();
                tracing::warn!(pod = %PodRef::of(&pod), error = %stdx::error::chain(&error), "carry out a pod's plan");
                // What follows in the plan rests on the step that failed.
                return self.pause(RETRY).await;
            }
        }
    }

    async fn tidy(&self, action: Action) -> Result<(), Error> {
        let (pod, observed) = (self.pod(), self.observed());
        match action {
            Action::StopSandbox { id } => self.host.runtime.stop_sandbox(&id).await?,
            Action::RemoveSandbox { id } => self.host.runtime.remove_sandbox(&id).await?,
            Action::Remove { id } => execute::remove(&self.host, &pod, &observed, &id).await?,
            Action::Stop { id, name, reason } => {
                let grace = self.lock().memory.grace.get(&id).copied().unwrap_or_else(|| terminate::grace(&pod));
                let stopping = execute::stop(&self.host, &pod, &observed, &id, &name, grace, &reason);
                self.unless_ending(stopping).await.unwrap_or(Ok(()))?;
            }
            Action::Prepare | Action::CreateSandbox { .. } | Action::Start { .. } => {}
        }
        Ok(())
    }

    async fn prepare(&self) -> Result<(), Error> {
        let pod = self.pod();
        match execute::prepare(&self.host, &pod).await {
            Ok(()) => {
                let mut state = self.lock();
                state.memory.prepared = true;
                state.memory.succeed(VOLUMES);
            }
            Err(error) => {
                let message = self.tell_of_mount(&pod, &error);
                let now = Timestamp::now();
                self.lock().memory.fail(VOLUMES, Waiting::new("ContainerCreating", message), now);
            }
        }
        Ok(())
    }

    /// The words for a volume that cannot be made; told, but for what is only waited for.
    fn tell_of_mount(&self, pod: &Pod, error: &Error) -> String {
        let message = stdx::error::chain(error).to_string();
        if !matches!(error, Error::Waiting(_)) {
            self.host.events.pod(pod, None, EventType::Warning, "FailedMount", &message);
        }
        message
    }

    async fn create_sandbox(&self, attempt: u32) -> Result<(), Error> {
        if self.unless_ending(self.host.images.own_settled()).await.is_none() {
            return Ok(());
        }
        let pod = self.pod();
        if attempt > 0 {
            self.host.events.pod(&pod, None, EventType::Normal, "SandboxChanged", plan::SANDBOX_CHANGED);
        }
        let made = execute::create_sandbox(&self.host, &pod, attempt).await;
        let mut state = self.lock();
        match made {
            Ok(_) => state.memory.succeed(SANDBOX),
            Err(error) => {
                let message = format!("Failed to create pod sandbox: {}", stdx::error::chain(&error));
                self.host.events.pod(&pod, None, EventType::Warning, "FailedCreatePodSandBox", &message);
                state.memory.fail(SANDBOX, Waiting::new("ContainerCreating", message), Timestamp::now());
            }
        }
        Ok(())
    }

    async fn start(&self, name: &str, restart_count: u32) {
        let (pod, observed) = (self.pod(), self.observed());
        let Some(sandbox) = observed.ready_sandbox() else { return };
        let container = find_container(&pod, name);
        if let (Some(container), Some(latest)) = (&container, observed.latest(name)) {
            let now = Timestamp::now();
            let ended = latest.finished_at().unwrap_or(now);
            if latest.sandbox_id == sandbox.id && latest.phase == Phase::Exited {
                self.lock().memory.crashes.next(&plan::crash_key(container), ended, now);
            }
        }
        let starting = async {
            let target = target(&pod, name, &observed)?;
            execute::start(&self.host, &pod, sandbox, name, restart_count, target).await
        };
        let Some(result) = self.unless_ending(starting).await else { return };
        let mut state = self.lock();
        match result {
            Ok(started) => {
                state.memory.succeed(name);
                if let Some(reason) = started.condemned {
                    state.memory.condemned.insert(started.id, reason);
                }
            }
            Err(waiting) => {
                tracing::info!(pod = %PodRef::of(&pod), container = name, reason = waiting.reason, message = waiting.message, "container not started");
                state.memory.fail(name, waiting, Timestamp::now());
                drop(state);
                // The reason itself is seen before the back-off takes its place.
                self.publish();
            }
        }
    }

    /// The outcome, or `None` where the pod was deleted, evicted or out of its time before it came.
    async fn unless_ending<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let deadline = async {
            let left = {
                let state = self.lock();
                plan::deadline(&state.pod, &state.memory, Timestamp::now())
            };
            match left {
                Some(left) => tokio::time::sleep(left.unsigned_abs()).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(work, deadline);
        let mut woken = false;
        loop {
            tokio::select! {
                // The plan has the word.
                () = &mut deadline => return None,
                outcome = &mut work => {
                    if woken {
                        // The wake-up that was taken here belongs to the loop.
                        self.wake.notify_one();
                    }
                    return Some(outcome);
                }
                () = self.wake.notified() => {
                    if self.is_ending() {
                        self.wake.notify_one();
                        return None;
                    }
                    woken = true;
                }
            }
        }
    }

    pub(super) async fn refresh_volumes(&self) {
        let (pod, observed) = (self.pod(), self.observed());
        let Some(sandbox) = observed.ready_sandbox() else { return };
        let facts = self.host.facts(sandbox.ips.clone());
        if !crate::volumes::Volumes::changing(&pod) {
            return;
        }
        let prepared = self.host.volumes.prepare(&pod, &facts, self.host.objects.as_ref(), &self.host.events).await;
        if let Err(error) = prepared {
            self.tell_of_mount(&pod, &error);
        }
    }
}
