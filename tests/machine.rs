//! A host that is a whole machine: control groups v2 with the systemd driver, kernel modules and swap of its own. Run
//! only where it is named (`make e2e-vm`), since software emulates it.

use std::time::Duration;

use testkit::eventually;

use crate::harness::{Cluster, MACHINE, PATIENCE, Scene, condition, differences, drills};

drills![
    puts_limits_into_control_groups,
    ends_containers_whole_that_take_too_much_memory,
    measures_nodes_and_pods,
    comes_back_from_a_reboot_without_swap,
    is_as_it_was_after_a_reset,
];

/// The machine is some ten times slower than a host of a lab.
const LONG: Duration = Duration::from_secs(240);

/// Control groups v2 with all that pods need, and swap that is used.
pub fn is_what_it_should_be(cluster: &Cluster) {
    let controllers = cluster.host(MACHINE, "cat /sys/fs/cgroup/cgroup.controllers");
    for controller in ["cpu", "memory", "pids", "cpuset"] {
        assert!(controllers.split_whitespace().any(|word| word == controller), "{controllers}");
    }
    assert!(swaps(cluster).contains("/dev/vdb"), "{}", swaps(cluster));
}

fn swaps(cluster: &Cluster) -> String {
    cluster.host(MACHINE, "cat /proc/swaps")
}

/// Uses half a processor and 64 MiB at most.
const LIMITED: &str = "
apiVersion: v1
kind: Pod
metadata: {name: limited, labels: {app: limited}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: shell
      image: rkctl.local/busybox:1
      imagePullPolicy: Never
      command: [sh, -c, \"trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done\"]
      resources: {requests: {cpu: 250m, memory: 32Mi}, limits: {cpu: 500m, memory: 64Mi}}
";

fn puts_limits_into_control_groups(scene: &Scene) {
    scene.apply(LIMITED);
    wait_until_ready(scene);
    let pod = scene.pod("limited");
    let text = |path: &str| pod.pointer(path).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    // As systemd names slices: each dash is a level, so that those of the identifier are underscores.
    let slice = format!(
        "/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice",
        text("/metadata/uid").replace('-', "_")
    );
    let container = text("/status/containerStatuses/0/containerID");
    let scope = format!("{slice}/cri-containerd-{}.scope", container.trim_start_matches("containerd://"));
    for group in [&slice, &scope] {
        let script = format!("cd {group} && cat memory.max cpu.max cpu.weight");
        // 250 of 1024 shares, on the scale from 1 to 10000 that v2 has.
        assert_eq!(scene.cluster.host(MACHINE, &script), "67108864\n50000 100000\n10\n", "{group}");
    }
    let whole = scene.cluster.host(MACHINE, &format!("cat {scope}/memory.oom.group"));
    assert_eq!(whole, "1\n", "the kernel ends the container as one");
    let inside = scene.sh("limited", "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max").ok();
    assert_eq!(inside, "67108864\n50000 100000\n", "the container sees its own group");
}

fn wait_until_ready(scene: &Scene) {
    scene.until_within(LONG, "the pod is Ready", "get pod limited -o json", |said| {
        let pod: serde_json::Value = serde_json::from_str(said).ok()?;
        (condition(&pod, "Ready") == "True").then_some(())
    });
}

/// One process takes twice the memory that the container may have; another would go on for an hour.
const GREEDY: &str = "
apiVersion: v1
kind: Pod
metadata: {name: greedy}
spec:
  restartPolicy: Never
  containers:
    - name: shell
      image: rkctl.local/busybox:1
      imagePullPolicy: Never
      command: [sh, -c, 'dd if=/dev/zero of=/dev/null bs=64M count=1; sleep 3600']
      resources: {limits: {memory: 32Mi}}
";

/// The runtime may miss the reason, since the group of the container is gone with it; its exit code tells of SIGKILL.
fn ends_containers_whole_that_take_too_much_memory(scene: &Scene) {
    scene.apply(GREEDY);
    let path = "{.status.containerStatuses[0].state.terminated.exitCode} {.status.phase}";
    let words = ["get", "pod", "greedy", "-o", &format!("jsonpath={path}")];
    scene.until_within(LONG, "the kernel ends the container with all its processes", &words, |said| {
        (said == "137 Failed").then_some(())
    });
}

fn measures_nodes_and_pods(scene: &Scene) {
    scene.apply(LIMITED);
    wait_until_ready(scene);
    let figures = |said: &str, name: &str| {
        let line = said.lines().find(|line| line.starts_with(name))?.to_owned();
        (line.contains('m') && line.contains("Mi")).then_some(())
    };
    scene.until_within(LONG, "kubectl top knows the node", "top nodes", |said| figures(said, MACHINE));
    scene.until_within(LONG, "kubectl top knows the pod", "top pods", |said| figures(said, "limited"));
}

fn comes_back_from_a_reboot_without_swap(scene: &Scene) {
    scene.apply(LIMITED);
    wait_until_ready(scene);
    assert!(!swaps(&scene.cluster).contains("/dev"), "swap is off");
    scene.cluster.host_verb("reboot", MACHINE);
    assert!(!swaps(&scene.cluster).contains("/dev"), "swap stays off");
    eventually(LONG, "the pod runs again and lets in", || {
        let ran = scene.sh("limited", "true");
        if ran.status.success() { Ok(()) } else { Err(ran.report()) }
    });
    assert_eq!(scene.cluster.plan()["plan"]["steps"], serde_json::json!([]), "nothing was lost");
}

fn is_as_it_was_after_a_reset(scene: &Scene) {
    scene.cluster.reset();
    assert!(swaps(&scene.cluster).contains("/dev/vdb"), "swap is used again");
    eventually(PATIENCE, "the machine is as it was", || {
        let (before, now) = (scene.cluster.before(MACHINE), scene.cluster.snapshot(MACHINE));
        if now == before { Ok(()) } else { Err(differences(&before, &now)) }
    });
}
