//! Pods from their first to their last second: init containers, probes, restarts, grace.

use std::time::Instant;

use serde_json::Value;

use crate::harness::{PATIENCE, Running, Scene, busybox_pod, deployment, drills, names};

drills![
    come_back_when_their_process_is_killed,
    come_back_when_they_are_deleted,
    run_what_they_are_told,
    restart_when_they_are_not_alive,
    get_their_grace,
    are_called_at_their_start_and_end,
];

/// `kill -9` of a container's first process on its host.
fn kill_container(scene: &Scene, pod: &Value) {
    let id = container(pod)["containerID"].as_str().unwrap_or_default().trim_start_matches("containerd://").to_owned();
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    scene.cluster.host(node, &format!("kill -9 $(ctr -n k8s.io tasks ls | awk '$1 == \"{id}\" {{print $2}}')"));
}

fn container(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

fn come_back_when_their_process_is_killed(scene: &Scene) {
    scene.apply(&deployment("web", 1, 1));
    scene.rolled_out("deployment/web");
    let before = scene.pods("app=web").remove(0);
    let name = before["metadata"]["name"].as_str().unwrap_or_default();
    kill_container(scene, &before);
    let restarts = format!("get pod {name} -o jsonpath={{.status.containerStatuses[0].restartCount}}");
    scene.until("the restart is counted", &restarts, |said| (said == "1").then_some(()));
    scene.ready(&format!("pod/{name}"));
    let after = scene.pod(name);
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"], "it is the same pod");
    assert_ne!(container(&after)["containerID"], container(&before)["containerID"], "in a new container");
    assert_eq!(after["status"]["podIP"], before["status"]["podIP"], "with the address it had");
    assert_eq!(container(&after)["lastState"]["terminated"]["exitCode"], 137, "{after:#}");
    let line = scene.kubectl.ok(&format!("get pod {name} --no-headers"));
    assert!(line.contains("1 (") && line.contains("ago)"), "{line}");
}

fn come_back_when_they_are_deleted(scene: &Scene) {
    scene.apply(&deployment("web", 2, 1));
    scene.rolled_out("deployment/web");
    let before = names(&scene.pods("app=web"));
    scene.kubectl.ok(&["delete", "pod", &before[0]]);
    scene.rolled_out("deployment/web");
    let after = names(&scene.pods("app=web"));
    assert!(after.len() == 2 && !after.contains(&before[0]) && after.contains(&before[1]), "{before:?} {after:?}");
}

const TOLD: &str = "
apiVersion: v1
kind: Secret
metadata: {name: secret}
stringData: {word: hidden}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: green}
---
apiVersion: v1
kind: Pod
metadata: {name: told, labels: {app: told}, annotations: {note: kept}}
spec:
  terminationGracePeriodSeconds: 1
  volumes:
    - {name: shared, emptyDir: {}}
    - {name: secret, secret: {secretName: secret, defaultMode: 0400}}
    - name: about
      downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}
    - name: all
      projected: {sources: [{configMap: {name: settings}}, {secret: {name: secret, items: [{key: word, path: deep/word}]}}, {downwardAPI: {items: [{path: note, fieldRef: {fieldPath: 'metadata.annotations[''note'']'}}, {path: limit, resourceFieldRef: {containerName: shell, resource: limits.cpu, divisor: 1m}}]}}]}
  initContainers:
    - {name: one, image: 'rkctl.local/busybox:1', imagePullPolicy: Never, command: [sh, -c, 'echo one >>/shared/order'], volumeMounts: [{name: shared, mountPath: /shared}]}
    - {name: two, image: 'rkctl.local/busybox:1', imagePullPolicy: Never, command: [sh, -c, 'echo two >>/shared/order'], volumeMounts: [{name: shared, mountPath: /shared}]}
  containers:
    - name: shell
      image: rkctl.local/busybox:1
      imagePullPolicy: Never
      command: [sh, -c]
      args: ['echo started $(WHO) >/shared/said; exec sleep 3600']
      env:
        - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        - {name: ADDRESS, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        - {name: COLOR, valueFrom: {configMapKeyRef: {name: settings, key: color}}}
        - {name: WORD, valueFrom: {secretKeyRef: {name: secret, key: word}}}
        - {name: LIMIT, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
        - {name: WHO, value: by-$(COLOR)}
      envFrom: [{configMapRef: {name: settings}, prefix: MAP_}, {secretRef: {name: secret}}]
      resources: {limits: {memory: 32Mi, cpu: 100m}}
      volumeMounts:
        - {name: shared, mountPath: /shared}
        - {name: secret, mountPath: /secret}
        - {name: about, mountPath: /about}
        - {name: all, mountPath: /all}
";

fn run_what_they_are_told(scene: &Scene) {
    scene.apply(TOLD);
    scene.ready("pod/told");
    let pod = scene.pod("told");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for (script, expected) in [
        ("cat /shared/order", "one\ntwo\n".to_owned()),
        ("cat /shared/said", "started by-green\n".to_owned()),
        ("echo $NODE $ADDRESS", format!("{} {}\n", text(&pod["spec"]["nodeName"]), text(&pod["status"]["podIP"]))),
        ("echo $COLOR $WORD $MAP_color $LIMIT", format!("green hidden green {}\n", 32 << 20)),
        ("echo $word", "hidden\n".to_owned()),
        ("cat /all/note; echo; cat /all/limit", "kept\n100".to_owned()),
        ("cat /secret/word; stat -L -c ' %a' /secret/word", "hidden 400\n".to_owned()),
        ("cat /about/labels; echo", "app=\"told\"\n".to_owned()),
        ("cat /all/color /all/deep/word", "greenhidden".to_owned()),
        ("cat /var/run/secrets/kubernetes.io/serviceaccount/namespace", scene.namespace.clone()),
        ("hostname", "told\n".to_owned()),
    ] {
        assert_eq!(scene.sh("told", script).ok(), expected, "{script}");
    }
    // The init containers have no limits.
    assert_eq!(pod["status"]["qosClass"], "Burstable", "{pod:#}");
    // What is mounted follows the object.
    scene.kubectl.ok(&["patch", "configmap", "settings", "--patch", r#"{"data": {"color": "blue"}}"#]);
    let words = ["exec", "told", "--", "cat", "/all/color"];
    scene.until_within(PATIENCE * 2, "the mounted file changes", &words, |said| (said == "blue").then_some(()));
}

const MORTAL: &str = "
apiVersion: v1
kind: Pod
metadata: {name: mortal}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: shell
      image: rkctl.local/busybox:1
      imagePullPolicy: Never
      command: [sh, -c, 'touch /tmp/alive; exec sleep 3600']
      livenessProbe: {exec: {command: [test, -e, /tmp/alive]}, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 2}
";

fn restart_when_they_are_not_alive(scene: &Scene) {
    scene.apply(MORTAL);
    scene.ready("pod/mortal");
    scene.sh("mortal", "rm /tmp/alive").ok();
    let restarts = "get pod mortal -o jsonpath={.status.containerStatuses[0].restartCount}";
    scene.until("the container is restarted", restarts, |said| (said == "1").then_some(()));
    scene.until("the event says why", "get events --field-selector involvedObject.name=mortal", |said| {
        (said.contains("Unhealthy") && said.contains("Liveness probe failed")).then_some(())
    });
}

fn get_their_grace(scene: &Scene) {
    let polite = busybox_pod("polite", None)
        .replace("terminationGracePeriodSeconds: 1", "terminationGracePeriodSeconds: 30")
        .replace("trap 'exit 0' TERM", "trap 'echo asked; sleep 2; echo gone; exit 0' TERM");
    let rude = busybox_pod("rude", None).replace("trap 'exit 0' TERM", "trap '' TERM");
    scene.apply(&[polite, rude].concat());
    scene.ready("pod/polite");
    scene.ready("pod/rude");
    let follow = Running::start(scene.kubectl.command("logs --follow polite"));
    scene.kubectl.ok("delete pod polite --wait=false");
    let line = scene.kubectl.ok("get pod polite --no-headers");
    assert!(line.contains("Terminating"), "{line}");
    follow.wait_for(PATIENCE, "it is asked and ends by itself", |said| said.contains("asked\ngone\n").then_some(()));
    scene.kubectl.ok("wait --for=delete pod/polite --timeout=20s");
    // Its one second is over long before it would end by itself.
    scene.kubectl.ok("delete pod rude --timeout=20s");
    scene.apply(
        &busybox_pod("forced", None).replace("Seconds: 1", "Seconds: 5").replace("trap 'exit 0' TERM", "trap '' TERM"),
    );
    scene.ready("pod/forced");
    let node = scene.pod("forced")["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
    let uid = scene.pod("forced")["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    scene.kubectl.ok("delete pod forced --grace-period=0 --force");
    testkit::eventually(PATIENCE, "the host runs nothing of the pod", || {
        let left = scene.cluster.try_host(&node, &format!("ls -d /var/lib/kubelet/pods/{uid}"));
        if left.status.code() == Some(2) { Ok(()) } else { Err(left.report()) }
    });
}

/// Writes a line for each request.
const LISTENS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: listens}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: httpd
      image: rkctl.local/busybox:1
      imagePullPolicy: Never
      command: [sh, -c, 'mkdir -p /www && cd /www && echo >started && echo >stopping && exec httpd -f -vv -p 8080 -h /www']
      readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
";

const CALLED: &str = "
apiVersion: v1
kind: Pod
metadata: {name: called}
spec:
  terminationGracePeriodSeconds: 20
  containers:
    - name: calls
      image: rkctl.local/busybox:1
      imagePullPolicy: Never
      command: [sh, -c, \"trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done\"]
      lifecycle:
        postStart: {httpGet: {host: ADDRESS, port: 8080, path: /started}}
        preStop: {httpGet: {host: ADDRESS, port: 8080, path: /stopping}}
    - name: sleeps
      image: rkctl.local/busybox:1
      imagePullPolicy: Never
      command: [sh, -c, \"trap 'echo asked; exit 0' TERM; while :; do sleep 3600 & wait $!; done\"]
      lifecycle: {preStop: {sleep: {seconds: 3}}}
";

fn are_called_at_their_start_and_end(scene: &Scene) {
    scene.apply(LISTENS);
    scene.ready("pod/listens");
    let address = scene.pod("listens")["status"]["podIP"].as_str().unwrap_or_default().to_owned();
    scene.apply(&CALLED.replace("ADDRESS", &address));
    scene.ready("pod/called");
    scene.until("the hook at the start was called", "logs listens", |said| said.contains("/started").then_some(()));
    assert!(!scene.kubectl.ok("logs listens").contains("/stopping"), "nothing ends yet");
    let follow = Running::start(scene.kubectl.command("logs --follow called --container sleeps"));
    let began = Instant::now();
    scene.kubectl.ok("delete pod called --timeout=60s");
    let seconds = began.elapsed().as_secs_f64();
    assert!((3.0..20.0).contains(&seconds), "the signal waits for the hook, and the grace for neither: {seconds} s");
    follow.wait_for(PATIENCE, "it is asked to end after its sleep", |said| said.contains("asked").then_some(()));
    scene.until("the hook at the end was called", "logs listens", |said| said.contains("/stopping").then_some(()));
}
