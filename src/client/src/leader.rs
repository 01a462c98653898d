//! Leader election by Lease: of several processes one works, and another takes over when it falls silent.
//!
//! The clocks of the candidates are never compared: a lease has run out when the candidate itself has seen it
//! unchanged for its whole duration.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use stdx::clock::{Clock, SystemClock};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Error, is_not_found};

/// Which lease, for whom, and how fast.
#[derive(Debug, Clone)]
pub struct Election {
    /// `kube-system`.
    pub namespace: String,
    /// The name of the Lease: `kube-controller-manager`.
    pub name: String,
    /// The candidate's name; different for each process.
    pub identity: String,
    /// How long a silent leader is waited for; whole seconds.
    pub lease_duration: Duration,
    /// How long a leader tries to renew before it steps down; shorter than `lease_duration`.
    pub renew_deadline: Duration,
    /// Between attempts.
    pub retry_period: Duration,
}

impl Election {
    /// An election with Kubernetes' times: 15 s, 10 s, 2 s.
    pub fn new(namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            namespace: namespace.to_string(),
            name: name.to_string(),
            identity: identity.to_string(),
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// How leading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The process stops; the lease was given back.
    ShutDown,
    /// The work returned by itself; the lease was given back.
    Finished,
    /// The lease could not be renewed in time: another may lead now.
    Lost,
}

/// What a candidate last saw of the lease, and when by its own clock it saw that first.
#[derive(Debug, Clone)]
struct Seen {
    spec: LeaseSpec,
    since: Instant,
}

/// What to write: `None` while another holds the lease.
fn claim(election: &Election, held: Option<&Seen>, now: Instant, time: Timestamp) -> Option<LeaseSpec> {
    let mut spec = held.map(|seen| seen.spec.clone()).unwrap_or_default();
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let mine = holder == election.identity;
    if let Some(seen) = held.filter(|_| !holder.is_empty() && !mine) {
        let duration = seen
            .spec
            .lease_duration_seconds
            .map_or(election.lease_duration, |seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or_default()));
        if now < seen.since + duration {
            return None;
        }
    }
    if !mine {
        spec.acquire_time = Some(MicroTime(time));
        spec.lease_transitions = Some(held.map_or(0, |_| spec.lease_transitions.unwrap_or(0).saturating_add(1)));
        spec.holder_identity = Some(election.identity.clone());
    }
    spec.renew_time = Some(MicroTime(time));
    spec.lease_duration_seconds = i32::try_from(election.lease_duration.as_secs()).ok();
    Some(spec)
}

struct Candidate<'a> {
    election: &'a Election,
    api: Api<Lease>,
    seen: Option<Seen>,
}

impl Candidate<'_> {
    /// Tries once; whether the lease is held afterwards.
    async fn attempt(&mut self) -> Result<bool, Error> {
        let what = |verb: &str| format!("{verb} lease {}/{}", self.election.namespace, self.election.name);
        let lease = match self.api.get(&self.election.name).await {
            Ok(lease) => Some(lease),
            Err(error) if is_not_found(&error) => None,
            Err(error) => return Err(Error::request(what("read"))(error)),
        };
        let spec = lease.as_ref().map(|lease| lease.spec.clone().unwrap_or_default());
        if self.seen.as_ref().map(|seen| &seen.spec) != spec.as_ref() {
            self.seen = spec.map(|spec| Seen { spec, since: Instant::now() });
        }
        let Some(spec) = claim(self.election, self.seen.as_ref(), Instant::now(), SystemClock.now()) else {
            return Ok(false);
        };
        let params = PostParams::default();
        let written = match lease {
            Some(lease) => {
                let lease = Lease { spec: Some(spec), ..lease };
                self.api.replace(&self.election.name, &params, &lease).await
            }
            None => {
                let metadata = ObjectMeta {
                    name: Some(self.election.name.clone()),
                    namespace: Some(self.election.namespace.clone()),
                    ..ObjectMeta::default()
                };
                self.api.create(&params, &Lease { metadata, spec: Some(spec) }).await
            }
        };
        match written {
            Ok(_) => Ok(true),
            // Another candidate was faster.
            Err(error) if crate::is_conflict(&error) => Ok(false),
            Err(error) => Err(Error::request(what("write"))(error)),
        }
    }

    /// Gives the lease back, so that the next leader need not wait.
    async fn release(&self) {
        let Ok(mut lease) = self.api.get(&self.election.name).await else { return };
        let Some(spec) = lease.spec.as_mut() else { return };
        if spec.holder_identity.as_deref() != Some(&self.election.identity) {
            return;
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        // A release that fails costs the successor the rest of the lease, nothing more.
        let _ = self.api.replace(&self.election.name, &PostParams::default(), &lease).await;
    }
}

/// Waits for the lease, then runs `work` with a token that is cancelled when the lease is lost or `shutdown` is.
/// `work` must end soon after its token is cancelled.
pub async fn lead<F, Fut>(client: &kube::Client, election: &Election, shutdown: &CancellationToken, work: F) -> Ended
where
    F: FnOnce(CancellationToken) -> Fut,
    Fut: Future<Output = ()> + Send,
{
    let api = Api::namespaced(client.clone(), &election.namespace);
    let mut candidate = Candidate { election, api, seen: None };
    loop {
        match candidate.attempt().await {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) => tracing::debug!(error = stdx::error::chain(&error), "cannot take the lease; will retry"),
        }
        tokio::select! {
            () = tokio::time::sleep(election.retry_period) => {}
            () = shutdown.cancelled() => return Ended::ShutDown,
        }
    }
    tracing::info!(lease = election.name, identity = election.identity, "leading");
    let token = shutdown.child_token();
    let mut work = std::pin::pin!(work(token.clone()));
    let ended = tokio::select! {
        () = work.as_mut() => if shutdown.is_cancelled() { Ended::ShutDown } else { Ended::Finished },
        ended = renew(&mut candidate, shutdown) => {
            token.cancel();
            work.await;
            ended
        }
    };
    if ended != Ended::Lost {
        candidate.release().await;
    }
    ended
}

/// Renews until that fails for too long or the process stops.
async fn renew(candidate: &mut Candidate<'_>, shutdown: &CancellationToken) -> Ended {
    let mut renewed = Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep(candidate.election.retry_period) => {}
            () = shutdown.cancelled() => return Ended::ShutDown,
        }
        let left = (renewed + candidate.election.renew_deadline).saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, candidate.attempt()).await {
            Ok(Ok(true)) => renewed = Instant::now(),
            Ok(Ok(false)) if held_by_another(candidate) => return Ended::Lost,
            Ok(Ok(false)) => {}
            Ok(Err(error)) => tracing::warn!(error = stdx::error::chain(&error), "cannot renew the lease"),
            Err(_) => return Ended::Lost,
        }
        if renewed.elapsed() >= candidate.election.renew_deadline {
            return Ended::Lost;
        }
    }
}

fn held_by_another(candidate: &Candidate<'_>) -> bool {
    let holder = candidate.seen.as_ref().and_then(|seen| seen.spec.holder_identity.as_deref()).unwrap_or_default();
    !holder.is_empty() && holder != candidate.election.identity
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Fake, json};
    use serde_json::json as value;

    fn seen(holder: &str, since: Instant) -> Seen {
        let spec = LeaseSpec {
            holder_identity: Some(holder.to_string()),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(3),
            ..LeaseSpec::default()
        };
        Seen { spec, since }
    }

    #[tokio::test]
    async fn a_lease_is_taken_when_free_given_back_or_silent_for_its_duration() {
        let election = Election::new("kube-system", "x", "me");
        let now = Instant::now();
        let time = Timestamp::UNIX_EPOCH;
        let late = now + Duration::from_secs(15);
        let transitions = |held: Option<&Seen>, now| claim(&election, held, now, time).map(|s| s.lease_transitions);
        assert_eq!(transitions(None, now), Some(Some(0)), "no lease yet");
        assert_eq!(transitions(Some(&seen("me", now)), now), Some(Some(3)), "renewed, not taken again");
        assert_eq!(transitions(Some(&seen("", now)), now), Some(Some(4)), "given back");
        assert_eq!(transitions(Some(&seen("other", now)), now), None, "another leads");
        assert_eq!(transitions(Some(&seen("other", now)), late), Some(Some(4)), "the other fell silent");
    }

    #[tokio::test]
    async fn a_leader_that_cannot_renew_stops_its_work() {
        let fake = Fake::default();
        let path = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
        fake.on("POST", path, json(201, value!({"metadata": {"name": "x"}})));
        let refused =
            value!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "x"});
        fake.on("GET", &format!("{path}/x"), json(404, refused));
        fake.on("GET", &format!("{path}/x"), json(500, value!({"kind": "Status", "code": 500, "message": "down"})));
        let shutdown = CancellationToken::new();
        let mut election = Election::new("kube-system", "x", "me");
        election.renew_deadline = Duration::from_millis(200);
        election.retry_period = Duration::from_millis(20);
        let started = Instant::now();
        let ended = lead(&fake.client(), &election, &shutdown, |token| async move { token.cancelled().await }).await;
        assert_eq!(ended, Ended::Lost);
        assert!(started.elapsed() < election.lease_duration, "stopped before another may lead");
    }
}
