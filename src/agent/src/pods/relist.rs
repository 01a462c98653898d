//! What the runtime did by itself: containers that ended, and what somebody else made or removed.
//!
//! Where the runtime tells events, it is looked at when there was one, and seldom else; where it does not, each second
//! as kubelet does. A look costs two lists whatever the number of pods, and only pods that changed are looked into.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use cri::EventStream;
use futures::StreamExt;
use futures::stream::ReadyChunks;
use tokio_util::sync::CancellationToken;

use super::Pods;
use crate::Error;
use crate::pod::identity;

/// How often a runtime without events is looked at.
const UNTOLD: Duration = Duration::from_secs(1);
/// How often a runtime with events is looked at although there was none: events may be lost.
const CALM: Duration = Duration::from_secs(10);
/// What happens together is told one by one, and looked at once.
const GATHER: Duration = Duration::from_millis(20);
/// Events that are taken in at once.
const EVENTS_MAX: usize = 256;
/// Waits between the looks after an event: what containerd's own events tell shows in its lists a little later.
const AFTER_EVENT: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(400), Duration::from_secs(1), Duration::from_secs(2)];

/// When to look next.
#[derive(Debug, Default)]
struct Pace {
    /// Looks since the last event, as far as they are in [`AFTER_EVENT`].
    since_event: Option<usize>,
}

impl Pace {
    fn event(&mut self) {
        self.since_event = Some(0);
    }

    /// The wait until the next look, where there is no event before.
    fn next(&mut self, told: bool) -> Duration {
        let usual = if told { CALM } else { UNTOLD };
        let Some(step) = self.since_event else { return usual };
        let wait = AFTER_EVENT.get(step).copied();
        self.since_event = wait.map(|_| step + 1);
        wait.map_or(usual, |wait| wait.min(usual))
    }
}

/// The runtime's events, as far as there are any.
enum Events {
    Open(ReadyChunks<EventStream>),
    /// To be opened after the next look.
    Lost,
    /// The runtime has none.
    Unknown,
}

impl Events {
    fn open(runtime: &dyn cri::Runtime) -> Self {
        Self::Open(runtime.container_events().ready_chunks(EVENTS_MAX))
    }

    /// Waits for an event; an error is why there will be none.
    async fn next(&mut self) -> Result<(), Option<cri::Error>> {
        let Self::Open(stream) = self else { return std::future::pending().await };
        let events = stream.next().await.ok_or(None)?;
        events.into_iter().collect::<Result<(), _>>().map_err(Some)
    }
}

impl Pods {
    /// Wakes the workers of pods of which something changed in the runtime, until `shutdown`.
    pub(super) async fn relist(&self, shutdown: CancellationToken) {
        let runtime = self.host().runtime.as_ref();
        let mut events = Events::open(runtime);
        let mut pace = Pace::default();
        let mut before = HashMap::new();
        loop {
            match signatures(runtime).await {
                Ok(now) => {
                    self.wake_changed(&before, &now);
                    before = now;
                    if matches!(events, Events::Lost) {
                        events = Events::open(runtime);
                    }
                }
                Err(error) => {
                    tracing::debug!(error = %stdx::error::chain(&error), "list what the runtime has");
                    // The one that comes back may be another version.
                    events = Events::Lost;
                }
            }
            let wait = pace.next(matches!(events, Events::Open(_)));
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                told = events.next() => match told {
                    Ok(()) => {
                        pace.event();
                        tokio::time::sleep(GATHER).await;
                    }
                    Err(Some(error)) if error.is_unimplemented() => {
                        tracing::info!("the container runtime tells no events: it is looked at each second");
                        events = Events::Unknown;
                    }
                    Err(error) => {
                        let error = error.map(|error| stdx::error::chain(&error));
                        tracing::debug!(error, "the container runtime's events ended");
                        events = Events::Lost;
                        tokio::time::sleep(UNTOLD).await;
                    }
                }
            }
        }
    }

    fn wake_changed(&self, before: &HashMap<String, u64>, now: &HashMap<String, u64>) {
        let table = self.lock();
        for (uid, worker) in &table.workers {
            if before.get(uid) != now.get(uid) {
                worker.wake();
            }
        }
    }
}

/// A number for each pod (UID) that changes when a sandbox or container of it comes, goes or changes its state.
async fn signatures(runtime: &dyn cri::Runtime) -> Result<HashMap<String, u64>, Error> {
    let mut parts: HashMap<String, Vec<(String, i32)>> = HashMap::new();
    for sandbox in runtime.list_sandboxes(&[]).await? {
        if let Some(uid) = sandbox.labels.get(identity::POD_UID) {
            parts.entry(uid.clone()).or_default().push((sandbox.id, sandbox.state));
        }
    }
    for container in runtime.list_containers(&[]).await? {
        if let Some(uid) = container.labels.get(identity::POD_UID) {
            parts.entry(uid.clone()).or_default().push((container.id, container.state));
        }
    }
    let sign = |mut list: Vec<(String, i32)>| {
        list.sort_unstable();
        let mut hasher = DefaultHasher::new();
        list.hash(&mut hasher);
        hasher.finish()
    };
    Ok(parts.into_iter().map(|(uid, list)| (uid, sign(list))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_frequent_after_an_event_and_rare_else() {
        let mut pace = Pace::default();
        assert_eq!([pace.next(true), pace.next(false)], [CALM, UNTOLD]);
        pace.event();
        let waits: Vec<Duration> = (0..6).map(|_| pace.next(true)).collect();
        assert_eq!(waits[..4], AFTER_EVENT);
        assert_eq!(waits[4..], [CALM, CALM]);
        pace.event();
        assert!((0..6).all(|_| pace.next(false) <= UNTOLD));
    }
}
