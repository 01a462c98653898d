use serde_json::json;

use super::*;

fn resource(plural: &str) -> &'static Resource {
    api::registry().get("", "v1", plural).expect("a served resource")
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a time")
}

#[test]
fn an_object_that_nothing_holds_goes_at_once() {
    let object = json!({"metadata": {"name": "a"}});
    let options = DeleteOptions { grace_period_seconds: Some(30), ..DeleteOptions::default() };
    assert_eq!(plan(resource("configmaps"), &object, &options, now()), Step::Remove);
}

#[test]
fn finalizers_hold_an_object_and_propagation_adds_them() {
    let object = json!({"metadata": {"name": "a", "generation": 3}});
    let options = DeleteOptions { propagation: Some(Propagation::Foreground), ..DeleteOptions::default() };
    let Step::Mark(marked) = plan(resource("configmaps"), &object, &options, now()) else { panic!("not marked") };
    assert_eq!(marked["metadata"]["finalizers"], json!([FOREGROUND]));
    assert_eq!(marked["metadata"]["deletionTimestamp"], "2026-01-01T00:00:00Z");
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    assert_eq!(marked["metadata"]["generation"], 4);
    // Again: nothing changes. With another policy its finalizer goes and so does the object.
    assert_eq!(plan(resource("configmaps"), &marked, &options, now()), Step::Nothing);
    let options = DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
    assert_eq!(plan(resource("configmaps"), &marked, &options, now()), Step::Remove);
}

#[test]
fn a_namespace_waits_for_its_contents() {
    let object =
        json!({"metadata": {"name": "a"}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
    let step = plan(resource("namespaces"), &object, &DeleteOptions::default(), now());
    let Step::Mark(mut marked) = step else { panic!("not marked") };
    assert_eq!(marked["status"]["phase"], "Terminating");
    assert_eq!(marked["metadata"], json!({"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}));
    assert!(!is_released(resource("namespaces"), &marked));
    marked["spec"]["finalizers"] = json!([]);
    assert!(is_released(resource("namespaces"), &marked));
}

#[test]
fn a_pod_that_runs_gets_its_grace_period_and_an_idle_one_goes() {
    let pods = resource("pods");
    let running = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30}});
    let idle = json!({"metadata": {"name": "a"}, "spec": {"terminationGracePeriodSeconds": 30}});
    let options = DeleteOptions::default();
    assert_eq!(plan(pods, &idle, &options, now()), Step::Remove);
    let Step::Mark(marked) = plan(pods, &running, &options, now()) else { panic!("not marked") };
    assert_eq!(marked["metadata"]["deletionTimestamp"], "2026-01-01T00:00:30Z");
    // The agent has ended it and says so.
    let done = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    assert_eq!(plan(pods, &marked, &done, now()), Step::Remove);
    let shorter = DeleteOptions { grace_period_seconds: Some(5), ..DeleteOptions::default() };
    let Step::Mark(sooner) = plan(pods, &marked, &shorter, now()) else { panic!("not marked") };
    assert_eq!(sooner["metadata"]["deletionTimestamp"], "2026-01-01T00:00:05Z");
}

#[test]
fn a_grace_period_may_be_any_number() {
    let pods = resource("pods");
    let running =
        |own: i64| json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n", "terminationGracePeriodSeconds": own}});
    let asked = |seconds: i64| DeleteOptions { grace_period_seconds: Some(seconds), ..DeleteOptions::default() };
    for (own, options) in [(i64::MAX, DeleteOptions::default()), (30, asked(i64::MAX)), (30, asked(1 << 40))] {
        let Step::Mark(marked) = plan(pods, &running(own), &options, now()) else { panic!("not marked") };
        assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], GRACE_MAX_S);
        // Sixty-eight years later, to the day.
        assert_eq!(marked["metadata"]["deletionTimestamp"], "2094-01-19T03:14:07Z");
        let Step::Mark(sooner) = plan(pods, &marked, &asked(5), now()) else { panic!("not marked") };
        assert_eq!(sooner["metadata"]["deletionTimestamp"], "2026-01-01T00:00:05Z");
    }
    // Kept from before there was a bound.
    let mut marked = running(30);
    marked["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:30Z");
    marked["metadata"]["deletionGracePeriodSeconds"] = json!(i64::MAX);
    assert!(matches!(plan(pods, &marked, &asked(5), now()), Step::Mark(_)));
}
