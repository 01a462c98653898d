//! `kubectl logs`.

use crate::harness::{PATIENCE, Running, Scene, drills};

drills![follow_a_container, tell_of_containers_before_and_of_many];

const COUNTER: &str = "
apiVersion: v1
kind: Pod
metadata: {name: counter, labels: {app: counter}}
spec:
  terminationGracePeriodSeconds: 1
  restartPolicy: Never
  containers:
    - name: count
      image: rkctl.local/busybox:1
      imagePullPolicy: Never
      command: [sh, -c, 'i=0; while [ $i -lt 40 ]; do echo line $i; i=$((i+1)); sleep 0.2; done; echo the end']
";

// conformance: kubectl reads logs by their tail, bytes, time stamps and age
fn follow_a_container(scene: &Scene) {
    scene.apply(COUNTER);
    scene.ready("pod/counter");
    let mut follow = Running::start(scene.kubectl.command("logs --follow counter"));
    follow.wait_for(PATIENCE, "lines come while the container writes them", |said| {
        said.contains("line 3\n").then_some(())
    });
    assert!(follow.runs(), "it goes on while the container runs: {}", follow.said());
    follow.wait_for(PATIENCE, "the last line", |said| said.contains("the end\n").then_some(()));
    testkit::eventually(PATIENCE, "it ends with the container", || !follow.runs());
    let expected: String = (0..40).map(|line| format!("line {line}\n")).collect();
    assert_eq!(follow.stop(), format!("{expected}the end\n"), "every line, once, in order");

    let last = scene.kubectl.ok("logs counter --tail=2");
    assert_eq!(last, "line 39\nthe end\n");
    let stamped = scene.kubectl.ok("logs counter --tail=1 --timestamps");
    assert!(stamped.starts_with("20") && stamped.ends_with("Z the end\n"), "{stamped}");
    assert_eq!(scene.kubectl.ok("logs counter --limit-bytes=7"), "line 0\n");
    assert_eq!(scene.kubectl.ok("logs counter --since=1h --tail=1"), "the end\n");
}

const TWICE: &str = "
apiVersion: v1
kind: Pod
metadata: {name: twice, labels: {app: twice}}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: memory, emptyDir: {}}]
  containers:
    - name: again
      image: rkctl.local/busybox:1
      imagePullPolicy: Never
      volumeMounts: [{name: memory, mountPath: /memory}]
      command: [sh, -c, 'if [ -e /memory/x ]; then echo second; exec sleep 3600; fi; touch /memory/x; echo first; exit 3']
    - name: other
      image: rkctl.local/busybox:1
      imagePullPolicy: Never
      command: [sh, -c, 'echo other; exec sleep 3600']
";

fn tell_of_containers_before_and_of_many(scene: &Scene) {
    scene.apply(TWICE);
    scene.until("the container runs the second time", "logs twice -c again", |said| (said == "second\n").then_some(()));
    assert_eq!(scene.kubectl.ok("logs twice -c again --previous"), "first\n");
    let all = scene.kubectl.ok("logs twice --all-containers --prefix");
    assert!(all.contains("[pod/twice/again] second") && all.contains("[pod/twice/other] other"), "{all}");
    let selected = scene.kubectl.ok("logs --selector app=twice -c other");
    assert_eq!(selected, "other\n");
    let refused = scene.kubectl.err("logs twice -c nobody");
    assert!(refused.contains("container nobody is not valid for pod twice"), "{refused}");
}
