//! What the agent knows of a pod that the runtime does not: back-off, probe results, failures on the way to a start.
//!
//! All of it may be lost with the agent; a restarted agent finds its way from the runtime alone, the waits between runs
//! of a container included.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Container;

use super::backoff::Backoffs;
use crate::images::policy;

/// The key under which failures of the sandbox are kept; no container can have this name.
pub const SANDBOX: &str = "/sandbox";
/// The key under which failures of the volumes are kept.
pub const VOLUMES: &str = "/volumes";

/// The first and the longest wait after a failure that is not an image's: what was missing may come any moment, and
/// asking costs little.
const ATTEMPT_INITIAL: SignedDuration = SignedDuration::from_secs(2);
const ATTEMPT_CEILING: SignedDuration = SignedDuration::from_secs(15);

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

    /// True where an image is what is missing.
    pub fn is_for_image(&self) -> bool {
        matches!(self.reason.as_str(), "ErrImagePull" | "ErrImageNeverPull")
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
    /// The node did not take the pod: nothing of it ever ran here.
    pub refused: bool,
    /// It ends for the sake of the node and its other pods, and through no fault of its own (KEP-3329).
    pub disrupts: bool,
    /// How long it has to end at most; its own grace where it is `None`.
    pub grace: Option<Duration>,
}

impl Verdict {
    const REJECTED: &str = "Pod was rejected: ";

    /// Of a pod that the node does not take.
    pub fn refusal(reason: impl Into<String>, why: &str) -> Self {
        let message = format!("{}{why}", Self::REJECTED);
        Self { reason: reason.into(), message, refused: true, disrupts: false, grace: None }
    }

    /// The message as an event has it.
    pub fn reported(&self) -> &str {
        self.message.strip_prefix(Self::REJECTED).unwrap_or(&self.message)
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Memory {
    /// Waits between runs of a container, by name and hash.
    pub crashes: Backoffs,
    /// Waits between attempts to make something, by container name, [`SANDBOX`] or [`VOLUMES`].
    pub attempts: Backoffs,
    /// Waits between attempts to get an image, by container name.
    pub pulls: Backoffs,
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
            attempts: Backoffs::new(ATTEMPT_INITIAL, ATTEMPT_CEILING),
            pulls: Backoffs::default(),
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
        let backoffs = if waiting.is_for_image() { &mut self.pulls } else { &mut self.attempts };
        backoffs.next(key, now, now);
        self.failures.insert(key.to_string(), Failure { waiting, at: now });
    }

    /// Notes a success.
    pub fn succeed(&mut self, key: &str) {
        self.attempts.clear(key);
        self.pulls.clear(key);
        self.failures.remove(key);
        self.waiting.remove(key);
    }

    /// How long to wait before the next attempt; `None` where it may be made.
    pub fn attempt_remaining(&self, key: &str, now: Timestamp) -> Option<SignedDuration> {
        let failure = self.failures.get(key)?;
        let backoffs = if failure.waiting.is_for_image() { &self.pulls } else { &self.attempts };
        backoffs.remaining(key, failure.at, now)
    }

    /// True where a container waits for an image that somebody else may bring to the node.
    pub fn lacks_image(&self, container: &Container) -> bool {
        let waits = self.failures.get(&container.name).is_some_and(|failure| failure.waiting.is_for_image());
        waits && policy(container) != "Always"
    }

    /// Makes attempts that failed for a reason which may be gone now possible at once; true where there were any.
    pub fn forgive(&mut self, gone: impl Fn(&str, &Waiting) -> bool) -> bool {
        let keys: Vec<String> = self
            .failures
            .iter()
            .filter(|(key, failure)| gone(key, &failure.waiting))
            .map(|(key, _)| key.clone())
            .collect();
        keys.iter().for_each(|key| self.succeed(key));
        !keys.is_empty()
    }

    /// Forgets what concerns containers that are no more.
    pub fn retain(&mut self, alive: impl Fn(&str) -> bool) {
        self.started.retain(|id| alive(id));
        self.ready.retain(|id| alive(id));
        self.condemned.retain(|id, _| alive(id));
        self.grace.retain(|id, _| alive(id));
    }
}
