//! Ends pods that take more of the disk than they may, and pods of a node that is short of memory, disk or processes.
//!
//! What is too little is decided in [`machinery::eviction`], whom it costs in [`rank`], who broke his own limits in [`limits`];
//! `usage` reads figures. Here is what is done about it, one pod at a time, and on a full disk only when nothing that
//! nobody needs is left to remove.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::events::EventType;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::Error;
use crate::host::Host;
use crate::images::gc::Collector;
use crate::pod::identity::PodRef;
use crate::pod::memory::Verdict;
use crate::pod::worker::Worker;
use crate::pods::Pods;
use crate::upkeep;

pub mod limits;
pub mod pressure;
pub mod rank;
#[cfg(test)]
mod tests;
pub mod usage;

use machinery::eviction::{Pressure, Shortage, Thresholds};
use pressure::Pressures;
use usage::Observed;

/// The reason of pods that are ended here.
pub const EVICTED: &str = "Evicted";
/// How long an evicted pod has: what is full cannot wait.
const GRACE: Duration = Duration::from_secs(1);
/// How long the end of an evicted pod is waited for before the node is looked at again.
const END_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The pressures of a node, for all that ask.
#[derive(Debug, Default)]
pub struct Shared(Mutex<Pressures>);

impl Shared {
    /// The pressures now.
    pub fn now(&self) -> Pressures {
        self.lock().clone()
    }

    fn note(&self, short: &[Shortage]) {
        self.lock().note(short, Timestamp::now());
    }

    fn lock(&self) -> MutexGuard<'_, Pressures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What keeps a node from filling up.
pub struct Evictor {
    pods: Pods,
    thresholds: Thresholds,
}

impl Evictor {
    /// Of the node of these pods.
    ///
    /// # Errors
    /// Thresholds in the configuration that are none.
    pub fn new(pods: Pods) -> Result<Self, Error> {
        let configured = &pods.host().config.eviction_hard;
        let thresholds = Thresholds::read(configured).map_err(|message| Error::Setting { message })?;
        Ok(Self { pods, thresholds })
    }

    /// The node.
    pub fn host(&self) -> &Arc<Host> {
        self.pods.host()
    }

    /// Looks at the node and its pods once, and does what is to be done.
    ///
    /// # Errors
    /// The runtime does not tell its figures.
    pub async fn look(&self, images: &mut Collector) -> Result<(), Error> {
        let host = self.pods.host();
        let mut observed = usage::observe(host).await;
        let mut short = self.thresholds.short(&observed.levels);
        host.pressures.note(&short);
        if self.hold_to_limits().await? {
            return Ok(());
        }
        let Some(first) = short.first() else { return Ok(()) };
        let message = format!("Attempting to reclaim {}", first.signal.resource());
        host.events.node(&host.config.node_name, EventType::Warning, "EvictionThresholdMet", &message);
        tracing::warn!(resource = first.signal.resource(), available = first.level.available, "the node runs short");
        if first.signal.pressure() == Pressure::Disk {
            self.remove_what_is_over().await;
            if let Err(error) = upkeep::remove_unused_images(host, images, u64::MAX).await {
                // Pods can be ended all the same.
                tracing::warn!(error = %stdx::error::chain(&error), "remove unused images");
            }
            observed = usage::observe(host).await;
            short = self.thresholds.short(&observed.levels);
        }
        match short.first() {
            Some(shortage) => self.relieve(shortage, &observed).await,
            None => Ok(()),
        }
    }

    /// Ends the pods that take more of the disk than they may, but for those the node needs; true where there were any.
    async fn hold_to_limits(&self) -> Result<bool, Error> {
        let may_end = |pod: &Pod| limits::is_limited(pod) && !rank::is_critical(pod);
        let limited = self.active().into_iter().filter(|worker| may_end(&worker.pod())).collect();
        let mut ended = Vec::new();
        for (worker, usage) in usage::measure(self.pods.host(), limited).await? {
            if let Some(message) = limits::exceeded(&worker.pod(), &usage) {
                evict(self.pods.host(), &worker, message, false);
                ended.push(worker);
            }
        }
        for worker in &ended {
            wait_for_end(worker).await;
        }
        Ok(!ended.is_empty())
    }

    /// Ends the one pod whose end helps most.
    async fn relieve(&self, shortage: &Shortage, observed: &Observed) -> Result<(), Error> {
        let candidates = self.active().into_iter().filter(|worker| !rank::is_critical(&worker.pod())).collect();
        let measured = usage::measure(self.pods.host(), candidates).await?;
        let mut measured: Vec<_> = measured.into_iter().map(|(worker, usage)| (worker.pod(), worker, usage)).collect();
        rank::order(&mut measured, shortage.signal, observed.one_disk, |(pod, _, usage)| (pod, usage));
        let Some((pod, worker, usage)) = measured.into_iter().next() else {
            tracing::warn!(resource = shortage.signal.resource(), "there is no pod whose end would help");
            return Ok(());
        };
        evict(self.pods.host(), &worker, rank::message(shortage, &pod, &usage), true);
        wait_for_end(&worker).await;
        Ok(())
    }

    /// Pods that have not ended and are not about to.
    fn active(&self) -> Vec<Arc<Worker>> {
        let mut workers = self.pods.workers();
        workers.retain(|worker| !worker.is_over() && !worker.is_ending());
        workers
    }

    /// Removes containers that have ended and that nobody needs to go on: former runs, and those of pods that are over.
    /// Their logs go with them; on a full disk that is the lesser evil.
    async fn remove_what_is_over(&self) {
        for worker in self.pods.workers() {
            worker.remove_ended().await;
        }
    }
}

/// Why a pod is ended; `disrupts` where it is for the node's sake.
pub(crate) fn verdict(message: String, disrupts: bool) -> Verdict {
    Verdict { reason: EVICTED.to_string(), message, refused: false, disrupts, grace: Some(GRACE) }
}

fn evict(host: &Host, worker: &Worker, message: String, disrupts: bool) {
    let pod = worker.pod();
    tracing::warn!(pod = %PodRef::of(&pod), message, "evict a pod");
    host.events.pod(&pod, None, EventType::Warning, EVICTED, &message);
    let verdict = verdict(message, disrupts);
    worker.remember(|memory| {
        memory.verdict.get_or_insert(verdict);
    });
}

/// The next look sees what this end has freed.
async fn wait_for_end(worker: &Worker) {
    let over = async {
        while !worker.is_cleared() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    if tokio::time::timeout(END_WITHIN, over).await.is_err() {
        tracing::warn!(pod = %PodRef::of(&worker.pod()), "an evicted pod takes long to end");
    }
}
