//! What the agent knows of a pod that the runtime does not: back-off, probe results, failures on the way to a start.
//!
//! All of it may be lost with the agent; a restarted agent finds its way from the runtime alone.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::backoff::Backoffs;

/// The key under which failures of the sandbox are kept; no container can have this name.
pub const SANDBOX: &str = "/sandbox";
/// The key under which failures of the volumes are kept.
pub const VOLUMES: &str = "/volumes";

/// Why something has not been started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// `ErrImagePull`, `CreateContainerConfigError`.
    pub reason: String,
    /// For a person.
    pub message: String,
}

impl Waiting {
    /// A reason with its text.
    pub fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into() }
    }
}

/// The last failed attempt at something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub waiting: Waiting,
    /// When.
    pub at: Timestamp,
}

/// Why a whole pod is being ended by the agent itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// `DeadlineExceeded`, `Evicted`.
    pub reason: String,
    /// For a person.
    pub message: String,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Memory {
    /// Waits between runs of a container, by name and hash.
    pub crashes: Backoffs,
    /// Waits between attempts to make something, by container name, [`SANDBOX`] or [`VOLUMES`].
    pub attempts: Backoffs,
    /// The last failures, under the same keys.
    pub failures: HashMap<String, Failure>,
    /// Waiting reasons that the last plan gave: `CrashLoopBackOff`, `ImagePullBackOff`.
    pub waiting: HashMap<String, Waiting>,
    /// Containers (ids) that passed their startup probe.
    pub started: HashSet<String>,
    /// Containers (ids) whose readiness probe succeeds.
    pub ready: HashSet<String>,
    /// Containers (ids) that a liveness or startup probe, or a post-start hook, condemned, with the reason.
    pub condemned: HashMap<String, String>,
    /// The grace that a probe gives the container (id) it condemned, where it is not the pod's.
    pub grace: HashMap<String, Duration>,
    /// Volumes are set up and folders are made.
    pub prepared: bool,
    /// The agent ends the pod.
    pub verdict: Option<Verdict>,
    /// When the pod was first accepted on this node.
    pub accepted: Timestamp,
}

impl Memory {
    /// Of a pod that was accepted at that time.
    pub fn new(accepted: Timestamp) -> Self {
        Self {
            crashes: Backoffs::default(),
            attempts: Backoffs::new(SignedDuration::from_secs(2), SignedDuration::from_secs(300)),
            failures: HashMap::new(),
            waiting: HashMap::new(),
            started: HashSet::new(),
            ready: HashSet::new(),
            condemned: HashMap::new(),
            grace: HashMap::new(),
            prepared: false,
            verdict: None,
            accepted,
        }
    }

    /// Notes a failed attempt; the next one waits.
    pub fn fail(&mut self, key: &str, waiting: Waiting, now: Timestamp) {
        self.attempts.next(key, now, now);
        self.failures.insert(key.to_string(), Failure { waiting, at: now });
    }

    /// Notes a success.
    pub fn succeed(&mut self, key: &str) {
        self.attempts.clear(key);
        self.failures.remove(key);
        self.waiting.remove(key);
    }

    /// How long to wait before the next attempt; `None` where it may be made.
    pub fn attempt_remaining(&self, key: &str, now: Timestamp) -> Option<SignedDuration> {
        self.attempts.remaining(key, self.failures.get(key)?.at, now)
    }

    /// Forgets what concerns containers that are no more.
    pub fn retain(&mut self, alive: impl Fn(&str) -> bool) {
        self.started.retain(|id| alive(id));
        self.ready.retain(|id| alive(id));
        self.condemned.retain(|id, _| alive(id));
        self.grace.retain(|id, _| alive(id));
    }
}
