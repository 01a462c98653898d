use serde_json::{Value, json};

use super::super::memory::Verdict;
use super::super::observed::Sandbox;
use super::*;

fn now() -> Timestamp {
    Timestamp::from_second(1000).unwrap()
}

fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({ "metadata": { "name": "p", "uid": "u" }, "spec": spec })).unwrap()
}

fn instance(name: &str, phase: Phase, exit_code: i32) -> Instance {
    let ended = if phase == Phase::Exited { 5_000_000_000 } else { 0 };
    Instance {
        id: format!("{name}0"),
        name: name.into(),
        sandbox_id: "s".into(),
        phase,
        exit_code,
        finished_at_ns: ended,
        ..Default::default()
    }
}

fn status(pod: &Pod, containers: Vec<Instance>, memory: &Memory) -> PodStatus {
    let alive = containers.iter().any(|instance| instance.phase == Phase::Running);
    let sandbox = Sandbox {
        id: "s".into(),
        ready: alive || containers.is_empty(),
        ips: vec!["10.42.0.2".into()],
        ..Default::default()
    };
    let observed = Observed { sandboxes: vec![sandbox], containers };
    let facts = Facts::default();
    generate(&Input { pod, observed: &observed, memory, facts: &facts, last: None, ended: false, now: now() })
}

fn condition(status: &PodStatus, type_: &str) -> String {
    let conditions = status.conditions.as_ref().unwrap();
    conditions.iter().find(|condition| condition.type_ == type_).map(|c| c.status.clone()).unwrap_or_default()
}

fn reason(status: &PodStatus) -> String {
    let state = status.container_statuses.as_ref().unwrap()[0].state.clone().unwrap();
    state.waiting.and_then(|w| w.reason).or(state.terminated.and_then(|t| t.reason)).unwrap_or_else(|| "running".into())
}

#[test]
fn phases_follow_containers_and_policy() {
    let table = [
        ("Always", vec![], "Pending"),
        ("Always", vec![instance("a", Phase::Running, 0)], "Running"),
        ("Always", vec![instance("a", Phase::Exited, 1)], "Running"),
        ("OnFailure", vec![instance("a", Phase::Exited, 1)], "Running"),
        ("OnFailure", vec![instance("a", Phase::Exited, 0)], "Succeeded"),
        ("Never", vec![instance("a", Phase::Exited, 0)], "Succeeded"),
        ("Never", vec![instance("a", Phase::Exited, 1)], "Failed"),
    ];
    for (policy, containers, expected) in table {
        let pod = pod(json!({ "restartPolicy": policy, "containers": [{ "name": "a" }] }));
        let status = status(&pod, containers.clone(), &Memory::new(now()));
        assert_eq!(status.phase.as_deref(), Some(expected), "{policy} {containers:?}");
    }
}

#[test]
fn readiness_comes_with_the_probe() {
    let pod = pod(json!({ "containers": [{ "name": "a" }] }));
    let mut memory = Memory::new(now());
    let before = status(&pod, vec![instance("a", Phase::Running, 0)], &memory);
    assert_eq!(condition(&before, "Ready"), "False");
    memory.started.insert("a0".into());
    memory.ready.insert("a0".into());
    let after = status(&pod, vec![instance("a", Phase::Running, 0)], &memory);
    assert_eq!((condition(&after, "Ready"), condition(&after, "ContainersReady")), ("True".into(), "True".into()));
    assert_eq!(after.pod_ip.as_deref(), Some("10.42.0.2"));
}

#[test]
fn a_pod_that_is_here_is_scheduled_whoever_named_the_node() {
    let mut pod = pod(json!({ "nodeName": "w1", "containers": [{ "name": "a" }] }));
    let told = status(&pod, vec![], &Memory::new(now()));
    assert_eq!(condition(&told, "PodScheduled"), "True");
    let scheduler = json!({ "conditions": [{ "type": "PodScheduled", "status": "True", "reason": "theirs" }] });
    pod.status = Some(serde_json::from_value(scheduler).unwrap());
    let told = status(&pod, vec![], &Memory::new(now()));
    let found: Vec<_> = told.conditions.iter().flatten().filter(|c| c.type_ == "PodScheduled").collect();
    assert_eq!(found.iter().map(|c| c.reason.as_deref()).collect::<Vec<_>>(), [Some("theirs")]);
}

#[test]
fn a_refused_pod_tells_why_and_of_no_containers() {
    let pod = pod(json!({ "containers": [{ "name": "a" }] }));
    let mut memory = Memory::new(now());
    memory.verdict = Some(Verdict::refusal("OutOfcpu", "too little"));
    let observed = Observed::default();
    let facts = Facts::default();
    let input =
        Input { pod: &pod, observed: &observed, memory: &memory, facts: &facts, last: None, ended: true, now: now() };
    let told = generate(&input);
    assert_eq!((told.phase.as_deref(), told.reason.as_deref()), (Some("Failed"), Some("OutOfcpu")));
    assert_eq!(told.message.as_deref(), Some("Pod was rejected: too little"));
    // kubectl would show what a container waits for in the place of the reason.
    assert_eq!(told.container_statuses, None);
}

#[test]
fn waiting_reasons() {
    let plain = pod(json!({ "containers": [{ "name": "a" }] }));
    let with_init = pod(json!({ "initContainers": [{ "name": "i" }], "containers": [{ "name": "a" }] }));
    let mut memory = Memory::new(now());
    assert_eq!(reason(&status(&plain, vec![], &memory)), "ContainerCreating");
    let waiting = status(&with_init, vec![], &memory);
    assert_eq!(reason(&waiting), "PodInitializing");
    assert_eq!(condition(&waiting, "Initialized"), "False");
    // Of init containers too, of which none is started or one is just made.
    let first = |status: &PodStatus| {
        let told = &status.init_container_statuses.as_ref().unwrap()[0];
        told.state.as_ref().unwrap().waiting.as_ref().unwrap().reason.clone().unwrap()
    };
    assert_eq!(first(&waiting), "PodInitializing");
    assert_eq!(first(&status(&with_init, vec![instance("i", Phase::Created, 0)], &memory)), "PodInitializing");
    // One that runs is not complete.
    let runs = instance("i", Phase::Running, 0);
    memory.started.insert(runs.id.clone());
    let running = status(&with_init, vec![runs], &memory);
    let initialized = running.conditions.iter().flatten().find(|found| found.type_ == "Initialized").unwrap();
    assert_eq!(initialized.message.as_deref(), Some("containers with incomplete status: [i]"));
    memory.fail("a", Waiting::new("ErrImagePull", "gone"), now());
    assert_eq!(reason(&status(&plain, vec![], &memory)), "ErrImagePull");
    memory.succeed("a");
    memory.waiting.insert("a".into(), Waiting::new("CrashLoopBackOff", "back-off"));
    let crashed = status(&plain, vec![instance("a", Phase::Exited, 2)], &memory);
    assert_eq!(reason(&crashed), "CrashLoopBackOff");
    let last = crashed.container_statuses.unwrap()[0].last_state.clone().unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (2, Some("Error")));
}

#[test]
fn transition_times_stay_until_the_condition_changes() {
    let pod = pod(json!({ "containers": [{ "name": "a" }] }));
    let memory = Memory::new(now());
    let first = status(&pod, vec![], &memory);
    let observed = Observed::default();
    let facts = Facts::default();
    let later = now() + jiff::SignedDuration::from_secs(60);
    let second = generate(&Input {
        pod: &pod,
        observed: &observed,
        memory: &memory,
        facts: &facts,
        last: Some(&first),
        ended: false,
        now: later,
    });
    let time = |status: &PodStatus, type_: &str| {
        status
            .conditions
            .as_ref()
            .unwrap()
            .iter()
            .find(|c| c.type_ == type_)
            .unwrap()
            .last_transition_time
            .clone()
            .unwrap()
            .0
    };
    assert_eq!(time(&second, "Ready"), now());
    assert_eq!(time(&second, "PodReadyToStartContainers"), later);
}
