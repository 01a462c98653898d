use serde_json::{Value, json};

use super::super::observed::Sandbox;
use super::*;

fn now() -> Timestamp {
    Timestamp::from_second(10_000).unwrap()
}

fn pod(spec: Value) -> Pod {
    let metadata = json!({ "name": "web", "namespace": "default", "uid": "u1" });
    serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap()
}

fn memory() -> Memory {
    Memory { prepared: true, ..Memory::new(now()) }
}

fn sandbox() -> Sandbox {
    Sandbox { id: "s0".into(), ready: true, ips: vec!["10.42.0.2".into()], ..Default::default() }
}

fn run(pod: &Pod, name: &str, phase: Phase, exit_code: i32) -> Instance {
    let spec = pod.spec.as_ref().unwrap();
    let container = spec.init_containers.iter().flatten().chain(&spec.containers).find(|c| c.name == name).unwrap();
    Instance {
        id: format!("{name}-0"),
        name: name.into(),
        sandbox_id: "s0".into(),
        phase,
        exit_code,
        finished_at_ns: if phase == Phase::Exited { now().as_nanosecond() as i64 } else { 0 },
        hash: identity::hash(container),
        ..Default::default()
    }
}

fn observed(containers: Vec<Instance>) -> Observed {
    Observed { sandboxes: vec![sandbox()], containers }
}

fn start(name: &str, restart_count: u32) -> Action {
    Action::Start { name: name.into(), restart_count }
}

fn one(policy: &str) -> Pod {
    pod(json!({ "restartPolicy": policy, "containers": [{ "name": "a", "image": "i" }] }))
}

#[test]
fn a_new_pod_gets_volumes_then_a_sandbox_then_its_containers() {
    let pod = pod(json!({ "containers": [{ "name": "a", "image": "i" }, { "name": "b", "image": "i" }] }));
    let fresh = Memory::new(now());
    assert_eq!(plan(&pod, &Observed::default(), &fresh, now()).actions, [Action::Prepare]);
    let next = plan(&pod, &Observed::default(), &memory(), now());
    assert_eq!(next.actions, [Action::CreateSandbox { attempt: 0 }]);
    let next = plan(&pod, &observed(vec![]), &memory(), now());
    assert_eq!(next.actions, [start("a", 0), start("b", 0)]);
    let running = vec![run(&pod, "a", Phase::Running, 0), run(&pod, "b", Phase::Running, 0)];
    assert_eq!(plan(&pod, &observed(running), &memory(), now()), Plan::default());
}

#[test]
fn restart_policies_decide_who_runs_again() {
    let table = [
        ("Always", 0, true),
        ("Always", 1, true),
        ("OnFailure", 0, false),
        ("OnFailure", 1, true),
        ("Never", 1, false),
    ];
    for (policy, code, again) in table {
        let pod = one(policy);
        let plan = plan(&pod, &observed(vec![run(&pod, "a", Phase::Exited, code)]), &memory(), now());
        let expected = if again { start("a", 1) } else { Action::StopSandbox { id: "s0".into() } };
        assert_eq!(plan.actions, [expected], "{policy} {code}");
    }
}

#[test]
fn a_crashing_container_waits_and_says_so() {
    let pod = one("Always");
    let mut memory = memory();
    memory.crashes.next(&crash_key(&pod.spec.as_ref().unwrap().containers[0]), now(), now());
    let plan = plan(&pod, &observed(vec![run(&pod, "a", Phase::Exited, 1)]), &memory, now());
    assert_eq!(plan.actions, []);
    assert_eq!(plan.recheck_after, Some(SignedDuration::from_secs(10)));
    assert_eq!(plan.waiting[0].1.reason, "CrashLoopBackOff");
    assert_eq!(plan.waiting[0].1.message, "back-off 10s restarting failed container=a pod=web_default(u1)");
}

#[test]
fn init_containers_run_one_after_the_other_before_the_rest() {
    let pod = pod(json!({
        "initContainers": [{ "name": "i1", "image": "i" }, { "name": "i2", "image": "i" }],
        "containers": [{ "name": "a", "image": "i" }],
    }));
    assert_eq!(plan(&pod, &observed(vec![]), &memory(), now()).actions, [start("i1", 0)]);
    let running = observed(vec![run(&pod, "i1", Phase::Running, 0)]);
    assert_eq!(plan(&pod, &running, &memory(), now()).actions, []);
    let first = vec![run(&pod, "i1", Phase::Exited, 0)];
    assert_eq!(plan(&pod, &observed(first.clone()), &memory(), now()).actions, [start("i2", 0)]);
    let both = [first, vec![run(&pod, "i2", Phase::Exited, 0)]].concat();
    assert_eq!(plan(&pod, &observed(both), &memory(), now()).actions, [start("a", 0)]);
}

#[test]
fn a_failed_init_container_ends_a_pod_that_never_restarts() {
    let pod = pod(json!({
        "restartPolicy": "Never",
        "initContainers": [{ "name": "i1", "image": "i" }],
        "containers": [{ "name": "a", "image": "i" }],
    }));
    let plan = plan(&pod, &observed(vec![run(&pod, "i1", Phase::Exited, 3)]), &memory(), now());
    assert_eq!(plan.actions, [Action::StopSandbox { id: "s0".into() }]);
}

#[test]
fn a_sidecar_starts_first_holds_the_rest_until_it_is_up_and_ends_last() {
    let pod = pod(json!({
        "restartPolicy": "Never",
        "initContainers": [{ "name": "side", "image": "i", "restartPolicy": "Always" }],
        "containers": [{ "name": "a", "image": "i" }],
    }));
    assert_eq!(plan(&pod, &observed(vec![]), &memory(), now()).actions, [start("side", 0)]);
    let side = run(&pod, "side", Phase::Running, 0);
    assert_eq!(plan(&pod, &observed(vec![side.clone()]), &memory(), now()).actions, []);
    let mut memory = memory();
    memory.started.insert(side.id.clone());
    assert_eq!(plan(&pod, &observed(vec![side.clone()]), &memory, now()).actions, [start("a", 0)]);
    let done = observed(vec![run(&pod, "a", Phase::Exited, 0), side.clone()]);
    let reason = "the pod's containers have completed".to_string();
    assert_eq!(
        plan(&pod, &done, &memory, now()).actions,
        [Action::Stop { id: side.id, name: "side".into(), reason }, Action::StopSandbox { id: "s0".into() }]
    );
}

#[test]
fn a_condemned_container_is_stopped() {
    let pod = one("Always");
    let mut memory = memory();
    memory.condemned.insert("a-0".into(), "Container a failed liveness probe, will be restarted".into());
    let plan = plan(&pod, &observed(vec![run(&pod, "a", Phase::Running, 0)]), &memory, now());
    assert!(matches!(&plan.actions[..], [Action::Stop { id, .. }] if id == "a-0"), "{plan:?}");
}

#[test]
fn a_dead_sandbox_is_replaced_and_its_containers_run_again_at_once() {
    let pod = one("Always");
    let mut observed = observed(vec![run(&pod, "a", Phase::Exited, 255)]);
    observed.sandboxes[0].ready = false;
    let first = plan(&pod, &observed, &memory(), now());
    assert_eq!(first.actions, [Action::StopSandbox { id: "s0".into() }, Action::CreateSandbox { attempt: 1 }]);
    observed.sandboxes.insert(0, Sandbox { id: "s1".into(), attempt: 1, ..sandbox() });
    assert_eq!(plan(&pod, &observed, &memory(), now()).actions, [start("a", 1)]);
}

#[test]
fn a_pod_that_never_restarts_does_not_get_a_second_sandbox_for_its_ended_containers() {
    let pod = one("Never");
    let mut observed = observed(vec![run(&pod, "a", Phase::Exited, 255)]);
    observed.sandboxes[0].ready = false;
    assert_eq!(plan(&pod, &observed, &memory(), now()).actions, []);
}

#[test]
fn only_a_pod_that_runs_again_is_said_to_be_re_created() {
    let table = [
        ("Always", "Pod sandbox changed, it will be killed and re-created.", true),
        ("OnFailure", "Pod sandbox changed, it will be killed and re-created.", true),
        ("Never", "Pod sandbox changed, it will be killed.", false),
    ];
    for (policy, reason, again) in table {
        let pod = one(policy);
        let mut observed = observed(vec![run(&pod, "a", Phase::Running, 0)]);
        observed.sandboxes[0].ready = false;
        let mut expected = vec![
            Action::Stop { id: "a-0".into(), name: "a".into(), reason: reason.into() },
            Action::StopSandbox { id: "s0".into() },
        ];
        expected.extend(again.then_some(Action::CreateSandbox { attempt: 1 }));
        assert_eq!(plan(&pod, &observed, &memory(), now()).actions, expected, "{policy}");
    }
}

#[test]
fn the_active_deadline_ends_a_pod() {
    let pod = pod(json!({ "activeDeadlineSeconds": 30, "containers": [{ "name": "a", "image": "i" }] }));
    let later = now() + SignedDuration::from_secs(31);
    assert_eq!(plan(&pod, &observed(vec![]), &memory(), later).verdict.unwrap().reason, "DeadlineExceeded");
    assert_eq!(plan(&pod, &observed(vec![]), &memory(), now()).recheck_after, Some(SignedDuration::from_secs(30)));
}

#[test]
fn only_one_ended_run_is_kept() {
    let pod = one("Always");
    let mut runs = vec![run(&pod, "a", Phase::Running, 0)];
    for n in 1..4 {
        runs.push(Instance { id: format!("old{n}"), ..run(&pod, "a", Phase::Exited, 1) });
    }
    let plan = plan(&pod, &observed(runs), &memory(), now());
    assert_eq!(plan.actions, [Action::Remove { id: "old2".into() }, Action::Remove { id: "old3".into() }]);
}

#[test]
fn a_failed_pull_backs_off() {
    let pod = one("Always");
    let mut memory = memory();
    memory.fail("a", Waiting::new("ErrImagePull", "no such image"), now());
    let first = plan(&pod, &observed(vec![]), &memory, now());
    assert!(first.waiting.is_empty() && first.actions.is_empty() && first.recheck_after.is_some());
    let plan = plan(&pod, &observed(vec![]), &memory, now() + SignedDuration::from_millis(1500));
    assert_eq!(plan.actions, []);
    assert_eq!(plan.waiting[0].1.reason, "ImagePullBackOff");
    assert!(plan.recheck_after.is_some());
}
