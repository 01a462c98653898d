//! Budgets over pods that are there, missing, unready or on their way out.

use serde_json::{Value, json};

use super::*;

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn pod(name: &str, ready: bool, deleting: bool) -> Arc<Pod> {
    let status = if ready { "True" } else { "False" };
    let mut pod = json!({"metadata": {"name": name, "namespace": "n", "labels": {"app": "web"}},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status}]}});
    if deleting {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T11:59:50Z");
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn budget(spec: Value, status: Value) -> PodDisruptionBudget {
    let object = json!({"metadata": {"name": "b", "namespace": "n", "generation": 3}, "spec": spec, "status": status});
    serde_json::from_value(object).unwrap()
}

fn ready_pods(count: usize) -> Vec<Arc<Pod>> {
    (0..count).map(|number| pod(&format!("p{number}"), true, false)).collect()
}

#[test]
fn a_budget_allows_what_is_above_what_must_stay() {
    for (spec, scale, pods, expected) in [
        // (expected, desired, allowed)
        (json!({"minAvailable": 2}), 0, 3, (3, 2, 1)),
        (json!({"minAvailable": 3}), 0, 3, (3, 3, 0)),
        (json!({"minAvailable": 5}), 0, 3, (3, 5, 0)),
        (json!({"minAvailable": 0}), 0, 0, (0, 0, 0)),
        (json!({"minAvailable": "50%"}), 5, 5, (5, 3, 2)),
        (json!({"minAvailable": "100%"}), 4, 4, (4, 4, 0)),
        (json!({"maxUnavailable": 1}), 4, 4, (4, 3, 1)),
        (json!({"maxUnavailable": 1}), 4, 3, (4, 3, 0)),
        (json!({"maxUnavailable": 9}), 4, 4, (4, 0, 4)),
        (json!({"maxUnavailable": "30%"}), 4, 4, (4, 2, 2)),
        (json!({"maxUnavailable": "0%"}), 4, 4, (4, 4, 0)),
        (json!({}), 4, 4, (0, 0, 0)),
    ] {
        let budget = budget(spec.clone(), json!(null));
        let scale = if needs_scale(budget.spec.as_ref().unwrap()) { scale } else { 0 };
        let status = plan(&budget, &ready_pods(pods), scale, now()).status;
        let found = (status.expected_pods, status.desired_healthy, status.disruptions_allowed);
        assert_eq!(found, (Some(expected.0), Some(expected.1), Some(expected.2)), "{spec} of {scale}");
        assert_eq!(status.observed_generation, Some(3));
        let condition = &status.conditions.unwrap()[0];
        let reason = if expected.2 > 0 { "SufficientPods" } else { "InsufficientPods" };
        assert_eq!((condition.type_.as_str(), condition.reason.as_str()), ("DisruptionAllowed", reason));
    }
}

#[test]
fn pods_that_are_unready_leaving_or_about_to_be_evicted_are_not_healthy() {
    let mut pods = ready_pods(3);
    pods.push(pod("unready", false, false));
    pods.push(pod("leaving", true, true));
    let disrupted = json!({"disruptedPods": {"p0": "2026-01-01T11:59:00Z", "gone": "2026-01-01T11:59:30Z",
        "leaving": "2026-01-01T11:59:40Z"}, "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0,
        "expectedPods": 0});
    let planned = plan(&budget(json!({"minAvailable": 1}), disrupted.clone()), &pods, 0, now());
    assert_eq!((planned.status.current_healthy, planned.status.disruptions_allowed), (Some(2), Some(1)));
    let noted: Vec<_> = planned.status.disrupted_pods.unwrap().into_keys().collect();
    assert_eq!(noted, ["p0"], "what is gone or going was deleted as promised");
    assert_eq!(planned.again_at, Some("2026-01-01T12:01:00Z".parse().unwrap()));
    let late = "2026-01-01T12:01:01Z".parse().unwrap();
    let planned = plan(&budget(json!({"minAvailable": 1}), disrupted), &pods, 0, late);
    assert_eq!((planned.status.current_healthy, planned.overdue.len()), (Some(3), 1), "a pod that stays counts again");
    assert_eq!(planned.again_at, None);
}

#[test]
fn a_budget_that_cannot_be_counted_allows_nothing_and_says_why() {
    let counted = plan(&budget(json!({"minAvailable": 1}), json!(null)), &ready_pods(3), 0, now()).status;
    let budget = budget(json!({"maxUnavailable": 1}), json!(counted));
    let status = plan::failed(&budget, "jobs.batch: does not implement the scale subresource", now());
    assert_eq!((status.disruptions_allowed, status.current_healthy), (Some(0), Some(3)));
    let condition = &status.conditions.unwrap()[0];
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("False", "SyncFailed"));
    assert!(condition.message.starts_with("jobs.batch"));
}

#[test]
fn a_condition_that_stays_keeps_its_time() {
    let first = plan(&budget(json!({"minAvailable": 1}), json!(null)), &ready_pods(3), 0, now()).status;
    let budget = budget(json!({"minAvailable": 1}), json!(first));
    let later = now() + jiff::SignedDuration::from_secs(60);
    assert_eq!(plan(&budget, &ready_pods(3), 0, later).status, first);
    let fewer = plan(&budget, &ready_pods(1), 0, later).status;
    assert_eq!(fewer.conditions.unwrap()[0].last_transition_time.0, later);
}

#[test]
fn the_mark_of_a_disruption_that_did_not_come_gets_stale() {
    let marked = |phase: &str, reason: &str, status: &str| -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "status": {"phase": phase, "conditions": [
            {"type": "DisruptionTarget", "status": status, "reason": reason,
             "lastTransitionTime": "2026-01-01T12:00:00Z"}]}}))
        .unwrap()
    };
    let at = Some("2026-01-01T12:02:00Z".parse().unwrap());
    assert_eq!(stale_at(&marked("Running", "EvictionByEvictionAPI", "True")), at);
    assert_eq!(stale_at(&marked("Running", "TerminationByKubelet", "True")), None);
    assert_eq!(stale_at(&marked("Running", "EvictionByEvictionAPI", "False")), None);
    assert_eq!(stale_at(&marked("Failed", "EvictionByEvictionAPI", "True")), None);
}

#[test]
fn times_that_users_made_up_are_as_good_as_others() {
    // Statuses are written by whoever may, with any time.
    let last = "9999-12-30T21:59:00Z";
    let mut far = pod("p0", true, false);
    let conditions = &mut Arc::make_mut(&mut far).status.as_mut().unwrap().conditions;
    conditions.as_mut().unwrap().push(
        serde_json::from_value(json!({"type": "DisruptionTarget", "status": "True", "lastTransitionTime": last}))
            .unwrap(),
    );
    assert_eq!(stale_at(&far), Some(Timestamp::MAX));
    let budget = budget(
        json!({"maxUnavailable": 1}),
        json!({"disruptionsAllowed": 0, "currentHealthy": 0,
        "desiredHealthy": 0, "expectedPods": 0, "disruptedPods": {"p0": last}}),
    );
    assert_eq!(plan(&budget, &[far], 1, now()).again_at, Some(Timestamp::MAX));
}

#[test]
fn a_budget_covers_by_its_selector() {
    let web = pod("p", true, false);
    for (selector, covered) in [
        (json!(null), false),
        (json!({}), true),
        (json!({"matchLabels": {"app": "web"}}), true),
        (json!({"matchLabels": {"app": "db"}}), false),
    ] {
        assert_eq!(covers(&budget(json!({"selector": selector}), json!(null)), &web), covered, "{selector}");
    }
}
