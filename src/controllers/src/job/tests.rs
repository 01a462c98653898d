//! Jobs with pods that run, end, fail and go.

use serde_json::{Value, json};

use super::manage::next_at;
use super::*;

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn job(spec: Value, status: Value) -> Job {
    let mut all = json!({"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}},
        "completionMode": "NonIndexed", "podReplacementPolicy": "TerminatingOrFailed", "backoffLimit": 6,
        "parallelism": 1, "completions": 1});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    all.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    serde_json::from_value(json!({"metadata": {"name": "j", "namespace": "n", "uid": "u"}, "spec": all,
        "status": status}))
    .unwrap()
}

/// A pod by its name, phase and index; `tracked` until it is counted.
fn pod(name: &str, phase: &str, index: Option<i32>, tracked: bool) -> Arc<Pod> {
    let mut metadata = json!({"name": name, "namespace": "n", "uid": name,
        "annotations": index.map(|index| json!({pod::INDEX: index.to_string()}))});
    if tracked {
        metadata["finalizers"] = json!([pod::TRACKING]);
    }
    let ended = json!({"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T12:00:00Z"}});
    let statuses =
        json!([{"name": "c", "ready": false, "restartCount": 0, "image": "i", "imageID": "", "state": ended}]);
    let statuses = if phase == "Failed" { statuses } else { Value::Null };
    let status = json!({"phase": phase, "containerStatuses": statuses});
    Arc::new(serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap())
}

fn leaving(pod: &Arc<Pod>) -> Arc<Pod> {
    let mut pod = pod.as_ref().clone();
    pod.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    Arc::new(pod)
}

fn look(job: &Job, pods: &[Arc<Pod>]) -> Plan {
    plan::plan(&Observed { job, pods, failures: Failures::default(), now: now() })
}

/// The job after its plan's status was written.
fn after(job: &Job, plan: &Plan) -> Job {
    Job { status: Some(plan.status.clone()), ..job.clone() }
}

fn conditions(plan: &Plan) -> Vec<(String, String)> {
    let all = plan.status.conditions.iter().flatten().filter(|condition| condition.status == "True");
    all.map(|condition| (condition.type_.clone(), condition.reason.clone().unwrap_or_default())).collect()
}

fn said(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(type_, reason)| (type_.to_string(), reason.to_string())).collect()
}

fn names(pods: &[Arc<Pod>]) -> Vec<String> {
    pods.iter().map(|pod| pod.name_any()).collect()
}

#[test]
fn as_many_pods_run_as_are_wanted_and_needed() {
    let running = |count: usize| -> Vec<Arc<Pod>> {
        (0..count).map(|number| pod(&format!("p{number}"), "Running", None, true)).collect()
    };
    for (spec, succeeded, active, created, removed) in [
        (json!({}), 0, 0, 1, 0),
        (json!({"parallelism": 3, "completions": 5}), 0, 1, 2, 0),
        (json!({"parallelism": 3, "completions": 5}), 3, 1, 1, 0),
        (json!({"parallelism": 3, "completions": 5}), 4, 3, 0, 2),
        (json!({"parallelism": 0, "completions": 5}), 0, 2, 0, 2),
        (json!({"parallelism": 3, "completions": null}), 0, 1, 2, 0),
        (json!({"parallelism": 3, "completions": null}), 1, 2, 0, 0),
        (json!({"parallelism": 3, "suspend": true}), 0, 2, 0, 2),
    ] {
        let plan = look(&job(spec.clone(), json!({"succeeded": succeeded})), &running(active));
        assert_eq!((plan.create.len(), plan.remove.len()), (created, removed), "{spec} {succeeded} {active}");
        assert!(plan.delete.is_empty(), "{spec} {succeeded} {active}");
    }
}

#[test]
fn pods_that_are_asked_for_no_more_are_no_failures_and_those_of_a_job_that_ends_are() {
    let pods = [pod("a", "Running", None, true), pod("b", "Running", None, true)];
    for spec in [json!({"suspend": true, "backoffLimit": 0}), json!({"parallelism": 0, "backoffLimit": 0})] {
        let first = job(spec.clone(), json!({}));
        let plan = look(&first, &pods);
        assert_eq!((plan.remove.len(), plan.delete.len()), (2, 0), "{spec}");
        // They have lost their finalizer before they were deleted.
        let gone = ["a", "b"].map(|name| leaving(&pod(name, "Running", None, false)));
        let second = look(&after(&first, &plan), &gone);
        assert_eq!((second.status.failed, second.failures.count), (None, 0), "{spec}");
        assert!(!holds(&second.status, "FailureTarget"), "{spec}");
    }
    let late = job(json!({"activeDeadlineSeconds": 60}), json!({"startTime": "2026-01-01T11:00:00Z"}));
    let plan = look(&late, &pods);
    assert_eq!((plan.remove.len(), plan.delete.len()), (0, 2));
    let gone: Vec<_> = pods.iter().map(leaving).collect();
    let second = look(&after(&late, &plan), &gone);
    let uncounted = second.status.uncounted_terminated_pods.unwrap();
    assert_eq!(uncounted.failed, Some(vec!["a".into(), "b".into()]));
}

#[test]
fn a_pod_is_counted_once_on_its_way_through_the_status() {
    let first = job(json!({"parallelism": 2, "completions": 2}), json!({}));
    let pods = [pod("a", "Succeeded", None, true), pod("b", "Running", None, true)];
    let noted = look(&first, &pods);
    let uncounted = noted.status.uncounted_terminated_pods.clone().unwrap();
    assert_eq!((uncounted.succeeded, noted.status.succeeded), (Some(vec!["a".into()]), None));
    assert_eq!(names(&noted.release), ["a"]);
    assert_eq!(noted.create.len(), 0, "what is noted needs no other pod");
    // The same look again, as after a crash between the two writes.
    let second = after(&first, &noted);
    assert_eq!(look(&second, &pods).status, noted.status);
    let pods = [pod("a", "Succeeded", None, false), pod("b", "Running", None, true)];
    let counted = look(&second, &pods);
    assert_eq!(counted.status.succeeded, Some(1));
    assert_eq!(counted.status.uncounted_terminated_pods.clone().unwrap().succeeded, None);
    let third = after(&second, &counted);
    assert_eq!(look(&third, &pods).status, counted.status, "and no second time");
    assert_eq!(look(&third, &pods[1..]).status, counted.status, "nor when it is gone");
}

#[test]
fn a_job_ends_when_everything_is_counted() {
    let first = job(json!({}), json!({"startTime": "2026-01-01T11:00:00Z"}));
    let noted = look(&first, &[pod("a", "Succeeded", None, true)]);
    assert_eq!(conditions(&noted), said(&[("SuccessCriteriaMet", "CompletionsReached")]));
    let second = after(&first, &noted);
    let ended = look(&second, &[pod("a", "Succeeded", None, false)]);
    let expected = [("SuccessCriteriaMet", "CompletionsReached"), ("Complete", "CompletionsReached")];
    assert_eq!(conditions(&ended), said(&expected));
    assert_eq!((ended.status.succeeded, ended.status.completion_time.is_some()), (Some(1), true));
    let third = after(&second, &ended);
    let still = look(&third, &[pod("a", "Succeeded", None, false), pod("late", "Running", None, true)]);
    assert_eq!((still.status, names(&still.release)), (ended.status, vec!["late".to_string()]));
}

#[test]
fn failures_pause_and_too_many_end_the_job() {
    let failures = |count, second| Failures { count, last: Timestamp::from_second(second).ok(), ..Failures::default() };
    for (failures, expected) in [
        (Failures::default(), None),
        (failures(1, 100), Some(110)),
        (failures(3, 100), Some(140)),
        (failures(40, 100), Some(700)),
    ] {
        assert_eq!(next_at(&failures).map(|at| at.as_second()), expected, "{failures:?}");
    }
    let first = job(json!({"backoffLimit": 1}), json!({}));
    let once = look(&first, &[pod("a", "Failed", None, true)]);
    assert_eq!((once.create.len(), once.failures.count), (0, 1));
    assert_eq!(once.again_at, Some(now() + jiff::SignedDuration::from_secs(10)), "the next pod waits");
    let second = after(&first, &once);
    let pods = [pod("a", "Failed", None, false), pod("b", "Failed", None, true), pod("c", "Running", None, true)];
    let twice = look(&second, &pods);
    assert_eq!(conditions(&twice), said(&[("FailureTarget", "BackoffLimitExceeded")]));
    assert_eq!(names(&twice.delete), ["c"]);
    let third = after(&second, &twice);
    let ended = look(&third, &[pod("a", "Failed", None, false), pod("b", "Failed", None, false)]);
    let expected = [("FailureTarget", "BackoffLimitExceeded"), ("Failed", "BackoffLimitExceeded")];
    assert_eq!((conditions(&ended), ended.status.failed), (said(&expected), Some(2)));
}

#[test]
fn a_job_that_takes_too_long_ends_and_before_that_is_looked_at_in_time() {
    let of =
        |seconds: i64| job(json!({"activeDeadlineSeconds": seconds}), json!({"startTime": "2026-01-01T11:59:00Z"}));
    let pods = [pod("a", "Running", None, true)];
    assert_eq!(look(&of(90), &pods).again_at, Some("2026-01-01T12:00:30Z".parse().unwrap()));
    let late = look(&of(60), &pods);
    assert_eq!(
        (conditions(&late), names(&late.delete)),
        (said(&[("FailureTarget", "DeadlineExceeded")]), vec!["a".into()])
    );
}

#[test]
fn indexes_are_given_out_kept_and_written_once() {
    let first = job(json!({"completionMode": "Indexed", "parallelism": 3, "completions": 4}), json!({}));
    let made: Vec<_> = look(&first, &[]).create.iter().map(|new| new.index).collect();
    assert_eq!(made, [Some(0), Some(1), Some(2)]);
    let pods = [
        pod("a", "Succeeded", Some(0), true),
        pod("b", "Running", Some(1), true),
        pod("double", "Running", Some(1), true),
        pod("none", "Running", None, true),
    ];
    let plan = look(&first, &pods);
    assert_eq!((plan.status.completed_indexes.as_deref(), plan.status.succeeded), (Some("0"), Some(1)));
    assert_eq!((names(&plan.remove).len(), names(&plan.release)), (2, vec!["a".to_string()]));
    let second = after(&first, &plan);
    let made: Vec<_> = look(&second, &pods[..2]).create.iter().map(|new| new.index).collect();
    assert_eq!(made, [Some(2), Some(3)]);
    let ended = pod::make(&first, &New { index: Some(2), failures: None });
    let spec = ended.spec.unwrap();
    assert_eq!(
        (spec.hostname.as_deref(), spec.containers[0].env.as_ref().unwrap()[0].name.as_str()),
        (Some("j-2"), "JOB_COMPLETION_INDEX")
    );
    assert_eq!(ended.metadata.finalizers.unwrap(), [pod::TRACKING]);
}

#[test]
fn an_index_fails_by_its_own_limit_and_its_last_pod_remembers_how_often() {
    let spec = json!({"completionMode": "Indexed", "parallelism": 2, "completions": 2, "backoffLimitPerIndex": 1,
        "backoffLimit": 100});
    let first = job(spec, json!({}));
    let pods = [pod("a", "Failed", Some(0), true), pod("b", "Running", Some(1), true)];
    let plan = look(&first, &pods);
    assert_eq!((plan.status.failed_indexes.as_deref(), plan.create.len(), plan.release.len()), (Some(""), 0, 0));
    let later = Observed {
        job: &first,
        pods: &pods,
        failures: Failures::default(),
        now: now() + jiff::SignedDuration::from_secs(11),
    };
    assert_eq!(plan::plan(&later).create, [New { index: Some(0), failures: Some((1, 0)) }]);
    let second = after(&first, &plan);
    let mut again = pod("c", "Failed", Some(0), true).as_ref().clone();
    again.metadata.annotations.get_or_insert_default().insert(pod::FAILURES.into(), "1".into());
    let pods = [pods[0].clone(), pods[1].clone(), Arc::new(again)];
    let failed = look(&second, &pods);
    assert_eq!(
        (failed.status.failed_indexes.as_deref(), names(&failed.release)),
        (Some("0"), vec!["a".into(), "c".into()])
    );
    let third = after(&second, &failed);
    let over = look(&third, &[pod("b", "Succeeded", Some(1), true)]);
    assert_eq!(conditions(&over), said(&[("FailureTarget", "FailedIndexes")]));
}

#[test]
fn pods_that_remember_failures_keep_nothing_else_from_being_counted() {
    let spec = json!({"completionMode": "Indexed", "parallelism": 600, "completions": 600, "backoffLimitPerIndex": 1,
        "backoffLimit": 1000});
    let first = job(spec, json!({}));
    let mut pods: Vec<_> = (0..599).map(|index| pod(&format!("f{index}"), "Failed", Some(index), true)).collect();
    pods.push(pod("done", "Succeeded", Some(599), true));
    let plan = look(&first, &pods);
    assert_eq!(plan.again_at, Some(now() + jiff::SignedDuration::from_secs(10)), "not before there is something to do");
    assert_eq!((plan.status.completed_indexes.as_deref(), names(&plan.release)), (Some("599"), vec!["done".into()]));
    // One of them has a successor, and is counted.
    let second = after(&first, &plan);
    pods.pop();
    pods.push(pod("next", "Running", Some(3), true));
    let plan = look(&second, &pods);
    let uncounted = plan.status.uncounted_terminated_pods.clone().unwrap();
    assert_eq!((uncounted.failed, names(&plan.release)), (Some(vec!["f3".into()]), vec!["f3".into()]));
    // A job that ends counts them all, a part at a time.
    let Job { spec: Some(mut spec), .. } = second.clone() else { unreachable!() };
    spec.backoff_limit = Some(500);
    let ends = Job { spec: Some(spec), ..second };
    let plan = look(&ends, &pods);
    assert_eq!(conditions(&plan), said(&[("FailureTarget", "BackoffLimitExceeded")]));
    assert_eq!(plan.release.len(), 500, "each is written down before it is let go");
}

#[test]
fn an_index_whose_failures_are_ignored_waits_all_the_same() {
    let rules = json!({"rules": [{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [1]}}]});
    let spec = json!({"completionMode": "Indexed", "parallelism": 1, "completions": 1, "backoffLimitPerIndex": 1,
        "podFailurePolicy": rules, "podReplacementPolicy": "Failed"});
    let plan = look(&job(spec, json!({})), &[pod("a", "Failed", Some(0), true)]);
    assert_eq!((plan.create.len(), plan.again_at), (0, Some(now() + jiff::SignedDuration::from_secs(10))));
}

#[test]
fn policies_decide_about_failures_and_success() {
    let of_codes =
        |action: &str| json!({"rules": [{"action": action, "onExitCodes": {"operator": "In", "values": [1]}}]});
    let failed = [pod("a", "Failed", None, true)];
    let policy =
        |action: &str| job(json!({"podFailurePolicy": of_codes(action), "podReplacementPolicy": "Failed"}), json!({}));
    let ignored = look(&policy("Ignore"), &failed);
    assert_eq!(
        (ignored.status.failed, ignored.create.len(), names(&ignored.release)),
        (None, 0, vec!["a".to_string()])
    );
    assert_eq!(ignored.again_at, Some(now() + jiff::SignedDuration::from_secs(10)), "the next pod waits all the same");
    let with = |failures: &Failures, pods: &[Arc<Pod>], seconds| {
        let now = now() + jiff::SignedDuration::from_secs(seconds);
        plan::plan(&Observed { job: &policy("Ignore"), pods, failures: failures.clone(), now })
    };
    let again = with(&ignored.failures, &failed, 1);
    assert_eq!(again.failures, ignored.failures, "one pod is one failure however often it is seen");
    let more = with(&ignored.failures, &[pod("b", "Failed", None, true)], 11);
    assert_eq!((more.failures.count, more.create.len()), (2, 0));
    assert_eq!(with(&ignored.failures, &[], 11).create.len(), 1);
    assert_eq!(conditions(&look(&policy("FailJob"), &failed)), said(&[("FailureTarget", "PodFailurePolicy")]));
    let spec = json!({"completionMode": "Indexed", "parallelism": 2, "completions": 9,
        "successPolicy": {"rules": [{"succeededIndexes": "0"}]}});
    let enough =
        look(&job(spec, json!({})), &[pod("a", "Succeeded", Some(0), true), pod("b", "Running", Some(1), true)]);
    assert_eq!(
        (conditions(&enough), names(&enough.delete)),
        (said(&[("SuccessCriteriaMet", "SuccessPolicy")]), vec!["b".into()])
    );
}

#[test]
fn pods_that_leave_are_replaced_at_once_or_when_they_have_ended() {
    let pods = [leaving(&pod("a", "Running", None, true))];
    let at_once = look(&job(json!({"backoffLimit": 0}), json!({})), &pods);
    assert_eq!(conditions(&at_once), said(&[("FailureTarget", "BackoffLimitExceeded")]), "it counts as failed");
    let later = look(&job(json!({"podReplacementPolicy": "Failed", "backoffLimit": 0}), json!({})), &pods);
    assert_eq!((conditions(&later).len(), later.create.len(), later.status.terminating), (0, 0, Some(1)));
}

#[test]
fn a_suspended_job_starts_anew_when_it_goes_on() {
    let first = job(json!({"suspend": true}), json!({}));
    let suspended = look(&first, &[]);
    assert_eq!(
        (conditions(&suspended), suspended.status.start_time.is_some()),
        (said(&[("Suspended", "JobSuspended")]), false)
    );
    let resumed = look(&after(&job(json!({}), json!({})), &suspended), &[]);
    assert_eq!((conditions(&resumed).len(), resumed.create.len()), (0, 1));
    assert_eq!(resumed.status.start_time.unwrap().0, now());
}

#[test]
fn nobody_new_comes_while_not_all_that_have_ended_are_counted() {
    let pods: Vec<Arc<Pod>> = (0..700).map(|number| pod(&format!("p{number}"), "Succeeded", None, true)).collect();
    let job = job(json!({"parallelism": 700, "completions": 700}), json!({}));
    let first = look(&job, &pods);
    assert_eq!((first.create.len(), first.remove.len(), first.again_at), (0, 0, Some(now())));
    let untracked = |pod: &Arc<Pod>| {
        let gone = first.release.iter().any(|released| released.name_any() == pod.name_any());
        if gone { self::pod(&pod.name_any(), "Succeeded", None, false) } else { pod.clone() }
    };
    let pods: Vec<Arc<Pod>> = pods.iter().map(untracked).collect();
    let second = look(&after(&job, &first), &pods);
    assert_eq!((second.create.len(), second.status.succeeded), (0, Some(500)));
    let uncounted = second.status.uncounted_terminated_pods.clone().unwrap();
    assert_eq!(uncounted.succeeded.map(|uids| uids.len()), Some(200));
}
