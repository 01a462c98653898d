//! `status.typeChecking` of ValidatingAdmissionPolicies: whenever a policy has changed, its expressions are checked
//! against the types that it is for, as they are served then. What is found is told and hinders nothing.

use std::sync::Arc;
use std::time::Duration;

use api::policy::typing::{self, Kind, TYPES_MAX};
use http::{Method, Request};
use machinery::meta;
use serde_json::{Value, json};
use store::RangeOptions;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::follow;
use crate::live::{decode, prefix};
use crate::served::Served;
use crate::state::State;

const GROUP: &str = "admissionregistration.k8s.io";
const PLURAL: &str = "validatingadmissionpolicies";
const MANAGER: &str = "validatingadmissionpolicy-status";
/// How soon it is tried again where something failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Checks policies until the server ends.
pub fn start(state: &Arc<State>, client: kube::Client, tasks: &TaskTracker, shutdown: &CancellationToken) {
    let (state, shutdown) = (state.clone(), shutdown.clone());
    tasks.spawn(async move { shutdown.run_until_cancelled(run(&state, &client)).await });
}

async fn run(state: &State, client: &kube::Client) {
    let prefix = prefix(GROUP, PLURAL, "");
    loop {
        let watch = state.store.watch(&prefix, None).await;
        let checked = round(state, client).await;
        if let Err(error) = &checked {
            tracing::warn!("checking the types of policies: {error}; trying again");
        }
        if !follow::changed(watch, checked.is_ok(), RETRY_AFTER).await {
            return;
        }
    }
}

/// Checks every policy whose newest generation has not been checked.
async fn round(state: &State, client: &kube::Client) -> Result<(), String> {
    let range = state.store.range(&prefix(GROUP, PLURAL, ""), RangeOptions::default()).await;
    for entry in range.map_err(|error| stdx::error::chain(&error))?.entries {
        let policy = decode(&entry).map_err(|status| status.to_string())?;
        if policy["status"]["observedGeneration"].as_i64() == Some(meta::generation(&policy)) {
            continue;
        }
        let served = state.customs.served();
        // Thousands of expressions take seconds.
        let checked = tokio::task::spawn_blocking(move || {
            let status = status(&policy, &served);
            (policy, status)
        });
        let (policy, status) = checked.await.map_err(|error| error.to_string())?;
        write(client, &policy, status).await?;
    }
    Ok(())
}

/// The status that a policy should have.
fn status(policy: &Value, served: &Served) -> Value {
    let places = typing::named(policy);
    let found = places.iter().filter_map(|place| {
        served.get(&place.group_version.group, &place.group_version.version, &place.resource).map(Kind::of)
    });
    let kinds: Vec<Kind> = found.take(TYPES_MAX).collect();
    let params = typing::params(policy).and_then(|kind| {
        served.by_kind(&kind.group_version.group, &kind.group_version.version, &kind.kind).map(Kind::of)
    });
    let warnings = typing::warnings(policy, &kinds, params.as_ref());
    // Of a merge patch, null takes away what an earlier generation had.
    let warnings = if warnings.is_empty() { Value::Null } else { warnings.into() };
    json!({"observedGeneration": meta::generation(policy), "typeChecking": {"expressionWarnings": warnings}})
}

async fn write(client: &kube::Client, policy: &Value, status: Value) -> Result<(), String> {
    let version = meta::resource_version(policy);
    let patch = json!({"metadata": {"resourceVersion": version, "uid": meta::uid(policy)}, "status": status});
    let name = meta::name(policy);
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(format!("/apis/{GROUP}/v1/{PLURAL}/{name}/status?fieldManager={MANAGER}"))
        .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
        .body(patch.to_string().into_bytes())
        .map_err(|error| error.to_string())?;
    match client.request::<Value>(request).await {
        // It has changed meanwhile, or is gone: that is an event of its own.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        answer => answer.map(drop).map_err(|error| format!("{name}: {}", stdx::error::chain(&error))),
    }
}
