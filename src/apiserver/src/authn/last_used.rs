//! The day on which the token of a Secret was last used, as a label of the Secret: who cleans up sees by it which of
//! these tokens, which never end by themselves, nobody needs. Written now and then and not with each request.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use stdx::clock::Clock;

use crate::live::text;
use crate::plugin::Bootstrap;

/// The label, with a day such as `2026-01-31`.
const LABEL: &str = "/metadata/labels/kubernetes.io~1legacy-token-last-used";
/// How often what was noted is written.
const WRITE_EVERY: Duration = Duration::from_secs(2);
/// How many secrets are noted at once; the rest is noted when it is used again.
const NOTED_MAX: usize = 10_000;
/// Since when uses are tracked is told here, for who cleans up.
const TRACKING: &str = "kube-apiserver-legacy-service-account-token-tracking";

/// Secrets by namespace and name, with uid and the day.
type Noted = BTreeMap<(String, String), (String, String)>;

/// Notes uses, and writes them.
pub struct LastUsed<C> {
    clock: C,
    noted: Mutex<Noted>,
    /// Since when uses are tracked is written.
    is_told: AtomicBool,
}

impl<C: Clock> LastUsed<C> {
    /// Notes nothing yet.
    pub fn new(clock: C) -> Arc<Self> {
        Arc::new(Self { clock, noted: Mutex::default(), is_told: AtomicBool::new(false) })
    }

    fn day(&self, offset_days: i64) -> String {
        let at = self.clock.now() + jiff::SignedDuration::from_hours(24 * offset_days);
        at.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%d").to_string()
    }

    /// The token of a secret was used.
    pub fn note(&self, secret: &Value) {
        let (said, today) = (text(secret, LABEL), self.day(0));
        // A server whose clock is ahead may have written tomorrow's day.
        if said == today || said == self.day(1) {
            return;
        }
        let of = |pointer| text(secret, pointer).to_string();
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() < NOTED_MAX {
            noted.insert((of("/metadata/namespace"), of("/metadata/name")), (of("/metadata/uid"), today));
        }
    }

    fn take(&self) -> Noted {
        std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Writes what was noted.
pub struct Write<C>(pub Arc<LastUsed<C>>);

#[async_trait]
impl<C: Clock> Bootstrap for Write<C> {
    fn name(&self) -> &'static str {
        "start-legacy-token-tracking-controller"
    }

    fn every(&self) -> Option<Duration> {
        Some(WRITE_EVERY)
    }

    async fn bootstrap(&self, client: &kube::Client) -> Result<(), Box<dyn Error + Send + Sync>> {
        if !self.0.is_told.load(Ordering::Relaxed) {
            self.tell_since(client).await?;
            self.0.is_told.store(true, Ordering::Relaxed);
        }
        for ((namespace, name), (uid, day)) in self.0.take() {
            let patch = json!({"metadata": {"uid": uid, "labels": {"kubernetes.io/legacy-token-last-used": day}}});
            let request = http::Request::patch(format!("/api/v1/namespaces/{namespace}/secrets/{name}"))
                .header("content-type", "application/merge-patch+json")
                .body(patch.to_string().into_bytes())?;
            match client.request::<Value>(request).await {
                // It was deleted, or made anew, meanwhile.
                Ok(_) => {}
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {}
                Err(error) => tracing::warn!(namespace, name, "the last use of a token is not written: {error}"),
            }
        }
        Ok(())
    }
}

impl<C: Clock> Write<C> {
    async fn tell_since(&self, client: &kube::Client) -> Result<(), Box<dyn Error + Send + Sync>> {
        let path = "/api/v1/namespaces/kube-system/configmaps";
        let request = http::Request::get(format!("{path}/{TRACKING}")).body(Vec::new())?;
        match client.request::<Value>(request).await {
            Ok(map) if !text(&map, "/data/since").is_empty() => return Ok(()),
            Ok(_) => {
                let patch = json!({"data": {"since": self.0.day(0)}}).to_string().into_bytes();
                let request = http::Request::patch(format!("{path}/{TRACKING}"));
                let request = request.header("content-type", "application/merge-patch+json").body(patch)?;
                client.request::<Value>(request).await?;
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {
                let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"since": self.0.day(0)},
                    "metadata": {"name": TRACKING, "namespace": "kube-system"}});
                let request = http::Request::post(path).header("content-type", "application/json");
                let made = client.request::<Value>(request.body(map.to_string().into_bytes())?).await;
                match made {
                    Err(kube::Error::Api(status)) if status.code == 409 => {}
                    made => drop(made?),
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use stdx::clock::ManualClock;

    use super::*;

    #[test]
    fn a_use_is_noted_once_a_day() {
        let used = LastUsed::new(ManualClock::new("2026-01-31T12:00:00Z".parse().expect("a time")));
        let secret = |label: Option<&str>| {
            json!({"metadata": {"namespace": "n", "name": "s", "uid": "u",
                "labels": {"kubernetes.io/legacy-token-last-used": label}}})
        };
        for (label, expected) in
            [(None, 1), (Some("2026-01-30"), 1), (Some("2026-01-31"), 0), (Some("2026-02-01"), 0), (Some("x"), 1)]
        {
            used.note(&secret(label));
            used.note(&secret(label));
            let noted = used.take();
            assert_eq!(noted.len(), expected, "{label:?}");
            assert!(noted.values().all(|noted| *noted == ("u".to_string(), "2026-01-31".to_string())));
        }
    }
}
