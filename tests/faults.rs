//! What breaks: agents, the server, hosts. Alone, and each leaves the cluster whole.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use testkit::eventually;

use crate::harness::{PATIENCE, Scene, busybox_pod, condition, deployment, drills, get_many, service};

drills![
    killed_agents_lose_no_pod,
    a_killed_server_loses_nothing,
    a_rebooted_worker_comes_back_with_its_pods,
    a_rebooted_controller_comes_back_with_its_cluster
];

/// A host takes its time to start; a node is silent for 40 s before it counts as lost.
pub const LOST_BOUND: Duration = Duration::from_secs(120);

/// UID, container and restarts of each pod: equal where nothing was restarted.
fn containers(pods: &[Value]) -> Vec<(String, String, u64)> {
    let mut found: Vec<_> = pods
        .iter()
        .map(|pod| {
            let status = &pod["status"]["containerStatuses"][0];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (
                text(&pod["metadata"]["name"]),
                text(&status["containerID"]),
                status["restartCount"].as_u64().unwrap_or(99),
            )
        })
        .collect();
    found.sort();
    found
}

fn main_pid(scene: &Scene, host: &str, unit: &str) -> String {
    scene.cluster.host(host, &format!("systemctl show --value -p MainPID {unit}")).trim().to_owned()
}

/// `kill -9` of a unit's process; systemd starts it again.
fn kill_unit(scene: &Scene, host: &str, unit: &str) {
    let before = main_pid(scene, host, unit);
    scene.cluster.host(host, &format!("kill -9 {before}"));
    eventually(PATIENCE, &format!("{unit} is started again on {host}"), || {
        let state = scene.cluster.host(host, &format!("systemctl is-active {unit} || true"));
        let now = main_pid(scene, host, unit);
        if state.trim() == "active" && now != before { Ok(()) } else { Err(format!("{now} {state}")) }
    });
}

/// Waits until the node's condition Ready has this status.
pub fn node_is(scene: &Scene, node: &str, ready: &str, bound: Duration) {
    eventually(bound, &format!("{node} is Ready: {ready}"), || {
        let ran = scene.kubectl.run(&["get", "node", node, "-o", "json"]);
        let node: Value = serde_json::from_str(&ran.stdout).map_err(|_| ran.report())?;
        if condition(&node, "Ready") == ready { Ok(()) } else { Err(format!("{:#}", node["status"]["conditions"])) }
    });
}

fn killed_agents_lose_no_pod(scene: &Scene) {
    scene.apply(&[deployment("web", 4, 1), busybox_pod("shell", Some("w1"))].concat());
    scene.rolled_out("deployment/web");
    scene.ready("pod/shell");
    let before = containers(&scene.pods(""));
    for host in ["w1", "w2"] {
        kill_unit(scene, host, "rkctl-agent");
    }
    for host in ["w1", "w2"] {
        node_is(scene, host, "True", PATIENCE);
    }
    // The agents see to pods again: commands reach them, and new ones start.
    scene.until("commands reach the pod", &["exec", "shell", "--", "echo", "hello"], |said| {
        said.contains("hello").then_some(())
    });
    scene.kubectl.ok("scale deployment/web --replicas=5");
    scene.rolled_out("deployment/web");
    let after = containers(&scene.pods(""));
    assert!(before.iter().all(|pod| after.contains(pod)), "nothing was restarted:\n{before:#?}\n{after:#?}");
}

fn a_killed_server_loses_nothing(scene: &Scene) {
    scene.apply(&deployment("web", 3, 1));
    scene.rolled_out("deployment/web");
    let before = containers(&scene.pods(""));
    let stop = AtomicBool::new(false);
    let acknowledged = std::thread::scope(|scope| {
        let writers: Vec<_> = ["one", "two"]
            .map(|writer| {
                let stop = &stop;
                scope.spawn(move || {
                    let numbers = (0..).take_while(|_| !stop.load(Ordering::Relaxed));
                    let names = numbers.map(|number| format!("{writer}-{number}"));
                    let write = |name: &String| {
                        scene.kubectl.run(&["create", "configmap", name, "--request-timeout=5s"]).status.success()
                    };
                    names.filter(write).collect::<Vec<_>>()
                })
            })
            .into();
        for round in 0..3 {
            let count = || scene.kubectl.run("get configmaps -o name").stdout.lines().count();
            let begin = count();
            eventually(PATIENCE, "some writes are acknowledged", || count() >= begin + 4);
            eprintln!("  faults: kill -9 of the server, round {round}");
            kill_unit(scene, "cp1", "rkctl-server");
            eventually(PATIENCE, "the API answers", || scene.kubectl.run("get --raw /readyz").status.success());
        }
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().flat_map(|writer| writer.join().expect("a writer does not panic")).collect::<Vec<_>>()
    });
    let stored = scene.kubectl.ok("get configmaps -o name");
    let lost: Vec<&String> =
        acknowledged.iter().filter(|name| !stored.lines().any(|line| line == format!("configmap/{name}"))).collect();
    assert_eq!(lost, Vec::<&String>::new(), "of {} acknowledged writes", acknowledged.len());
    for node in ["cp1", "w1", "w2"] {
        node_is(scene, node, "True", PATIENCE);
    }
    scene.kubectl.ok("scale deployment/web --replicas=4");
    scene.rolled_out("deployment/web");
    let after = containers(&scene.pods("app=web"));
    assert!(before.iter().all(|pod| after.contains(pod)), "nothing was restarted:\n{before:#?}\n{after:#?}");
}

fn a_rebooted_worker_comes_back_with_its_pods(scene: &Scene) {
    let web = deployment("web", 4, 1);
    scene.apply(&[web, service("web", "NodePort"), busybox_pod("bare", Some("w1"))].concat());
    scene.rolled_out("deployment/web");
    scene.ready("pod/bare");
    let before = scene.pod("bare");
    let started = scene.cluster.host(
        "w1",
        "systemctl show --value -p ActiveEnterTimestampMonotonic rkctl-agent; cat /proc/1/stat | cut -d' ' -f22",
    );
    scene.cluster.host_verb("reboot", "w1");
    let again = scene.cluster.host(
        "w1",
        "systemctl show --value -p ActiveEnterTimestampMonotonic rkctl-agent; cat /proc/1/stat | cut -d' ' -f22",
    );
    assert_ne!(started, again, "it was started anew");
    eventually(LOST_BOUND, "the bare pod runs again, in a new container", || {
        let pod = scene.pod("bare");
        let is_new = pod["status"]["containerStatuses"][0]["containerID"]
            != before["status"]["containerStatuses"][0]["containerID"];
        if is_new && condition(&pod, "Ready") == "True" { Ok(()) } else { Err(format!("{:#}", pod["status"])) }
    });
    let after = scene.pod("bare");
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"], "it is the same pod");
    assert_eq!(after["status"]["containerStatuses"][0]["restartCount"], 1, "{:#}", after["status"]);
    node_is(scene, "w1", "True", PATIENCE);
    scene.rolled_out("deployment/web");
    let port = scene.kubectl.ok("get service web -o jsonpath={.spec.ports[0].nodePort}");
    let url = format!("http://{}:{port}/", scene.cluster.address("w1"));
    eventually(PATIENCE, "the service answers on the host that came back", || get_many(&url, 20));
}

fn a_rebooted_controller_comes_back_with_its_cluster(scene: &Scene) {
    scene.apply(&deployment("web", 2, 1));
    scene.rolled_out("deployment/web");
    let before = containers(&scene.pods("app=web"));
    scene.cluster.host_verb("reboot", "cp1");
    eventually(LOST_BOUND, "the API answers", || scene.kubectl.run("get --raw /readyz").status.success());
    for node in ["cp1", "w1", "w2"] {
        node_is(scene, node, "True", LOST_BOUND);
    }
    assert_eq!(containers(&scene.pods("app=web")), before, "pods on workers do not notice");
    scene.kubectl.ok("scale deployment/web --replicas=3");
    scene.rolled_out("deployment/web");
    let system = scene.cluster.kubectl().namespace("kube-system");
    for what in ["deployment/dns", "daemonset/ingress", "deployment/metrics"] {
        system.ok(&["rollout", "status", what, "--timeout=90s"]);
    }
}
