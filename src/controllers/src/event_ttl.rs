//! Deletes events that are older than they may become.
//!
//! Events are many and nobody here needs them: they are listed in pages now and then, not watched.

use std::time::Duration;

use client::list;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, DeleteParams, ListParams, Preconditions};
use kube::{Resource, ResourceExt};

use crate::Shared;
use crate::common::error::{Error, doing};

/// Events a page.
const PAGE: u32 = 500;
/// Between looks, at most.
const PERIOD: Duration = Duration::from_secs(120);

/// Deletes until shutdown.
///
/// # Errors
/// None; failures are retried.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let (client, ttl) = (&shared.context.client, shared.config.event_ttl);
    let period = PERIOD.min(ttl);
    loop {
        tokio::select! {
            () = shared.context.shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(period) => {}
        }
        if let Err(error) = sweep(client, ttl).await {
            tracing::warn!(error = stdx::error::chain(&error), "cannot delete old events; will retry");
        }
    }
}

async fn sweep(client: &kube::Client, ttl: Duration) -> Result<(), Error> {
    let path = Event::url_path(&(), None);
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = list::page::<Event>(client, &path, &params).await.map_err(doing("list events"))?;
        let now = Timestamp::now();
        for event in page.objects.iter().filter(|event| is_old(event, ttl, now)) {
            let api: Api<Event> = Api::namespaced(client.clone(), &event.namespace().unwrap_or_default());
            let preconditions = Preconditions { uid: event.uid(), resource_version: event.resource_version() };
            let name = event.name_any();
            match api.delete(&name, &DeleteParams::default().preconditions(preconditions)).await {
                // It was counted again meanwhile, or is gone.
                Err(error) if client::is_not_found(&error) || client::is_conflict(&error) => {}
                other => {
                    other.map_err(doing(format!("delete event {name}")))?;
                }
            }
        }
        if page.continue_token.is_none() {
            return Ok(());
        }
        params.continue_token = page.continue_token;
    }
}

/// Whether nothing was added to the event for `ttl`.
pub fn is_old(event: &Event, ttl: Duration, now: Timestamp) -> bool {
    let times = [
        event.last_timestamp.as_ref().map(|time| time.0),
        event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0),
        event.event_time.as_ref().map(|time| time.0),
        event.metadata.creation_timestamp.as_ref().map(|time| time.0),
    ];
    let latest = times.into_iter().flatten().max();
    let ttl = SignedDuration::try_from(ttl).unwrap_or(SignedDuration::MAX);
    latest.is_some_and(|latest| now.duration_since(latest) > ttl)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_lives_from_its_last_occurrence() {
        let now = "2026-01-01T02:00:00Z".parse().unwrap();
        let old = |fields: serde_json::Value| {
            let mut event =
                serde_json::json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "involvedObject": {}});
            event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            is_old(&serde_json::from_value(event).unwrap(), Duration::from_secs(3600), now)
        };
        assert!(old(serde_json::json!({})));
        assert!(!old(serde_json::json!({"lastTimestamp": "2026-01-01T01:30:00Z"})));
        assert!(!old(serde_json::json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T01:30:00.000000Z"}})));
    }
}
