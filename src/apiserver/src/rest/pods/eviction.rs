//! Eviction: a deletion that PodDisruptionBudgets may refuse.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use jiff::Timestamp;
use machinery::meta;
use machinery::selector::LabelSelector;
use serde_json::{Map, Value, json};
use store::{Error, Precondition, RangeOptions};

use crate::accept;
use crate::answer;
use crate::body::{self, Body};
use crate::plugin::Operation;
use crate::rest::delete;
use crate::rest::options::{DeleteOptions, WriteOptions};
use crate::rest::target::{Facts, Target};
use crate::rest::{create as creation, decode};
use crate::status::{self, Result, Status};
use crate::storage;

/// The condition of a budget that says whether anything may be evicted.
const ALLOWED: &str = "DisruptionAllowed";
const ATTEMPTS: usize = 100;
/// A budget that remembers more evictions than this waits for its controller.
const DISRUPTED_PODS_MAX: usize = 2000;

/// Answers an eviction.
///
/// # Errors
/// 404; 429 where a budget does not allow it now; 500 where several budgets cover the pod.
pub async fn create(target: &Target<'_>, request: Request<Body>) -> Result<Response<Body>> {
    let options = WriteOptions::read(target.context, "CreateOptions")?;
    let bytes: Bytes = body::read(request.into_body(), target.state().config.limits.body_bytes).await?;
    let mut eviction = decode::body(&target.context.headers, &bytes, bytes.len())?.value;
    // policy/v1beta1 is what kubectl of old versions sends.
    let api_version = match meta::api_version(&eviction) {
        "policy/v1beta1" => "policy/v1beta1",
        _ => "policy/v1",
    };
    decode::set_type_to(api_version, "Eviction", &mut eviction)?;
    creation::set_place(target, &mut eviction)?;
    if meta::name(&eviction) != target.name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let kind = target.body_kind();
    decode::complete_body(&kind, &mut eviction)?;
    let options_value = options.value("CreateOptions");
    let facts = Facts {
        operation: Operation::Create,
        kind: &kind,
        subresource: "eviction",
        name: target.name,
        old: None,
        options: &options_value,
        dry_run: options.dry_run,
    };
    target.admit(&facts, &mut eviction).await?;
    target.validate_admission(&facts, Some(&eviction)).await?;
    let mut deletion = DeleteOptions::from_fields(eviction["deleteOptions"].as_object().cloned().unwrap_or_default())?;
    deletion.dry_run |= options.dry_run;
    let pods = Target { subresource: None, ..*target };
    let pod = storage::read(target.state().store.as_ref(), &target.key(target.name)).await?;
    let pod = pod.ok_or_else(|| target.not_found())?;
    if !needs_no_budget(&pod) {
        take_from_budget(target, &pod, deletion.dry_run).await?;
    }
    if !deletion.dry_run {
        mark(&pods, &deletion).await?;
        // The version that the client knew was looked at there, and is not the newest any more.
        deletion.resource_version = None;
    }
    delete::remove_admitted(&pods, target.name, &deletion).await?;
    let format = accept::negotiate_format(&target.context.headers, true)?;
    answer::value(target.context, StatusCode::CREATED, format, &status::success(None))
}

/// Writes down in the pod why it goes, for whoever has to tell a disruption from a failure (KEP-3329).
async fn mark(pods: &Target<'_>, deletion: &DeleteOptions) -> Result<()> {
    let store = &pods.state().store;
    for _ in 0..ATTEMPTS {
        let entry = store.get(&pods.key(pods.name)).await.map_err(storage::failure)?.ok_or_else(|| pods.not_found())?;
        let pod = pods.present(&entry).await?;
        delete::check_preconditions(pods, &pod, pods.name, deletion)?;
        let marked = disrupted(pod, Timestamp::now());
        let bytes = pods.to_bytes(&marked).await?;
        match store.put(&entry.key, bytes, Precondition::Revision(entry.mod_revision)).await {
            Ok(_) => return Ok(()),
            Err(Error::Conflict { .. }) => {}
            Err(error) => return Err(storage::failure(error)),
        }
    }
    Err(Status::modified(&pods.group_resource(), pods.name))
}

fn disrupted(mut pod: Value, now: Timestamp) -> Value {
    let condition = json!({
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
        "lastProbeTime": null,
        "lastTransitionTime": meta::format_time(now),
    });
    if !pod["status"].is_object() {
        pod["status"] = json!({});
    }
    match pod["status"]["conditions"].as_array_mut() {
        Some(conditions) if conditions.iter().any(|found| found["type"] == "DisruptionTarget") => {}
        Some(conditions) => conditions.push(condition),
        None => pod["status"]["conditions"] = json!([condition]),
    }
    pod
}

/// A pod that does not run, or is on its way out already, disrupts nobody.
fn needs_no_budget(pod: &Value) -> bool {
    meta::is_terminating(pod) || matches!(meta::text_at(pod, &["status", "phase"]), "Pending" | "Succeeded" | "Failed")
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

async fn take_from_budget(target: &Target<'_>, pod: &Value, dry_run: bool) -> Result<()> {
    let budgets = api::registry().get("policy", "v1", "poddisruptionbudgets").ok_or_else(Status::no_such_resource)?;
    let store = &target.state().store;
    for _ in 0..ATTEMPTS {
        let range = store.range(&storage::prefix(budgets, target.namespace), RangeOptions::default()).await;
        let mut covering = Vec::new();
        for entry in range.map_err(storage::failure)?.entries {
            let budget = storage::decode(&entry)?;
            if covers(&budget, pod) {
                covering.push((entry, budget));
            }
        }
        let (entry, budget) = match covering.len() {
            0 => return Ok(()),
            1 => covering.swap_remove(0),
            _ => {
                return Err(Status::internal(
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                ));
            }
        };
        let Some(taken) = take(&budget, pod, Timestamp::now())? else { return Ok(()) };
        if dry_run {
            return Ok(());
        }
        match store.put(&entry.key, storage::encode(&taken), Precondition::Revision(entry.mod_revision)).await {
            Ok(_) => return Ok(()),
            Err(Error::Conflict { .. }) => {}
            Err(error) => return Err(storage::failure(error)),
        }
    }
    Err(Status::too_many_requests("Cannot evict pod: its disruption budget is being changed, please try again.", 1))
}

fn covers(budget: &Value, pod: &Value) -> bool {
    LabelSelector::from_json(budget["spec"].get("selector")).is_ok_and(|selector| selector.matches_object(pod))
}

/// The budget after this eviction; `None` where the pod does not count.
fn take(budget: &Value, pod: &Value, now: Timestamp) -> Result<Option<Value>> {
    const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
    let name = meta::name(budget);
    let number = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
    let (healthy, desired, allowed) =
        (number("currentHealthy"), number("desiredHealthy"), number("disruptionsAllowed"));
    if !is_ready(pod) {
        let always = meta::text_at(budget, &["spec", "unhealthyPodEvictionPolicy"]) == "AlwaysAllow";
        if always || (healthy >= desired && desired > 0) {
            return Ok(None);
        }
    }
    if number("observedGeneration") < meta::generation(budget) {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(Status::too_many_requests(REFUSED, 10).with_cause("DisruptionBudget", &why, ""));
    }
    if allowed <= 0 {
        let why = match sync_failure(budget) {
            Some(error) => format!(
                "The disruption budget {name} does not allow evicting pods currently because it failed sync: {error}"
            ),
            None => format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"),
        };
        return Err(Status::too_many_requests(REFUSED, 0).with_cause("DisruptionBudget", &why, ""));
    }
    let mut disrupted: Map<String, Value> = budget["status"]["disruptedPods"].as_object().cloned().unwrap_or_default();
    if disrupted.len() >= DISRUPTED_PODS_MAX {
        let why = format!("The disruption budget {name} has too many evictions that are not confirmed");
        return Err(Status::too_many_requests(REFUSED, 10).with_cause("DisruptionBudget", &why, ""));
    }
    disrupted.insert(meta::name(pod).to_string(), meta::format_time(now).into());
    let mut taken = budget.clone();
    taken["status"]["disruptionsAllowed"] = json!(allowed - 1);
    taken["status"]["disruptedPods"] = Value::Object(disrupted);
    if allowed == 1 {
        tell_exhausted(&mut taken, now);
    }
    Ok(Some(taken))
}

/// Why the budget's controller could not count it.
fn sync_failure(budget: &Value) -> Option<&str> {
    let mut conditions = budget["status"]["conditions"].as_array().into_iter().flatten();
    let failed = conditions.find(|condition| condition["type"] == ALLOWED && condition["reason"] == "SyncFailed")?;
    failed["message"].as_str()
}

/// With the last disruption the condition changes at once, and not when the controller has counted again.
fn tell_exhausted(budget: &mut Value, now: Timestamp) {
    let condition = json!({
        "type": ALLOWED,
        "status": "False",
        "reason": "InsufficientPods",
        "message": "",
        "observedGeneration": budget["status"]["observedGeneration"],
        "lastTransitionTime": meta::format_time(now),
    });
    if let Some(conditions) = budget["status"]["conditions"].as_array_mut() {
        conditions.retain(|found| found["type"] != ALLOWED);
        conditions.push(condition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(allowed: i64, observed: i64) -> Value {
        json!({
            "metadata": {"name": "b", "generation": 2},
            "spec": {"selector": {"matchLabels": {"a": "b"}}},
            "status": {"disruptionsAllowed": allowed, "observedGeneration": observed, "currentHealthy": 2, "desiredHealthy": 2},
        })
    }

    #[test]
    fn a_pod_says_once_that_it_is_evicted() {
        let now = Timestamp::UNIX_EPOCH;
        let once = disrupted(json!({"status": {"conditions": [{"type": "Ready"}]}}), now);
        assert_eq!(once["status"]["conditions"][1]["reason"], "EvictionByEvictionAPI");
        assert_eq!(disrupted(once.clone(), now), once);
        assert_eq!(disrupted(json!({}), now)["status"]["conditions"][0]["type"], "DisruptionTarget");
    }

    #[test]
    fn a_budget_allows_counts_and_refuses() {
        let now = Timestamp::UNIX_EPOCH;
        let ready = json!({"metadata": {"name": "p", "labels": {"a": "b"}}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let unready = json!({"metadata": {"name": "p"}, "status": {}});
        assert!(covers(&budget(1, 2), &ready) && !covers(&budget(1, 2), &unready));
        let taken = take(&budget(1, 2), &ready, now).expect("allowed").expect("counted");
        assert_eq!(taken["status"]["disruptionsAllowed"], 0);
        assert!(taken["status"]["disruptedPods"].get("p").is_some());
        assert_eq!(take(&budget(0, 2), &ready, now).expect_err("refused").code(), 429);
        let mut told = budget(1, 2);
        told["status"]["conditions"] = json!([{"type": "DisruptionAllowed", "status": "True"}]);
        let taken = take(&told, &ready, now).expect("allowed").expect("counted");
        assert_eq!(taken["status"]["conditions"][0]["reason"], "InsufficientPods", "that was the last one");
        assert_eq!(take(&budget(1, 1), &ready, now).expect_err("not observed").retry_after_seconds(), 10);
        assert_eq!(
            take(&budget(0, 2), &unready, now),
            Ok(None),
            "an unready pod does not count while enough are healthy"
        );
    }
}
