//! A Deployment behind services: reached from pods on every worker and from outside on every node.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::time::Duration;

use serde_json::Value;
use testkit::eventually;

use crate::harness::{HOSTS, PATIENCE, Scene, busybox_pod, drills, get_many, names, service};

drills![answer_from_pods_on_both_workers, have_several_ports, carry_udp, keep_a_client_on_one_pod];

/// So many requests that a pod which is chosen by lot is missed about once in ten million runs.
const REQUESTS: usize = 60;

const WEB: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {greeting: hello from a volume}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
        - name: web
          image: rkctl.local/web:1
          imagePullPolicy: Never
          ports: [{name: http, containerPort: 8080}]
          startupProbe: {tcpSocket: {port: http}, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 30}
          readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1, timeoutSeconds: 5}
          livenessProbe: {exec: {command: [test, -e, /www/settings/greeting]}, periodSeconds: 5, timeoutSeconds: 10}
          resources:
            requests: {cpu: 20m, memory: 16Mi}
            limits: {cpu: 500m, memory: 32Mi}
          volumeMounts: [{name: settings, mountPath: /www/settings}]
      volumes: [{name: settings, configMap: {name: settings}}]
";

fn answer_from_pods_on_both_workers(scene: &Scene) {
    let manifest = [
        WEB,
        &service("web", "ClusterIP"),
        &service("web", "NodePort").replace("metadata: {name: web}", "metadata: {name: web-outside}"),
        &busybox_pod("client-1", Some("w1")),
        &busybox_pod("client-2", Some("w2")),
    ]
    .concat();
    scene.apply(&manifest);
    scene.rolled_out("deployment/web");
    scene.ready("pod/client-1");
    scene.ready("pod/client-2");
    let pods = scene.pods("app=web");
    let nodes: BTreeSet<&str> = pods.iter().filter_map(|pod| pod["spec"]["nodeName"].as_str()).collect();
    assert_eq!(nodes, BTreeSet::from(["w1", "w2"]), "the pods are on both workers");
    let all: BTreeSet<String> = names(&pods).into_iter().collect();

    limits_and_volume_are_there(scene, &names(&pods)[0]);
    let url = format!("http://web.{}.svc.cluster.local", scene.namespace);
    for client in ["client-1", "client-2"] {
        // Endpoints reach each node in their own time.
        eventually(PATIENCE, &format!("{client} is answered by all pods at {url}"), || {
            let script = format!("for i in $(seq {REQUESTS}); do timeout 5 wget -q -O - {url} || exit 1; done");
            let ran = scene.sh(client, &script);
            let found = answered(ran.stdout.lines());
            if ran.status.success() && found == all { Ok(()) } else { Err(ran.report()) }
        });
    }
    let port = node_port(scene, "web-outside");
    for host in HOSTS {
        let url = format!("http://{}:{port}/", scene.cluster.address(host));
        eventually(PATIENCE, &format!("all pods answer at {url}"), || {
            let answers = get_many(&url, REQUESTS)?;
            let found = answered(answers.iter().map(String::as_str));
            if found == all { Ok(()) } else { Err(format!("{found:?} answered, of {all:?}")) }
        });
    }
}

fn limits_and_volume_are_there(scene: &Scene, pod: &str) {
    let limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max";
    assert_eq!(scene.sh(pod, limit).ok().trim(), (32 << 20).to_string(), "the memory limit of {pod}");
    assert_eq!(scene.sh(pod, "cat /www/settings/greeting").ok(), "hello from a volume");
    let pod = scene.pod(pod);
    assert_eq!(pod["status"]["qosClass"], "Burstable", "{pod:#}");
}

/// Who answered: the first word of each line.
fn answered<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn node_port(scene: &Scene, service: &str) -> String {
    scene.kubectl.ok(&["get", "service", service, "-o", "jsonpath={.spec.ports[0].nodePort}"])
}

const TWO_PORTS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: two, labels: {app: two}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: one
      image: rkctl.local/web:1
      imagePullPolicy: Never
      ports: [{name: one, containerPort: 8080}]
    - name: two
      image: rkctl.local/web:2
      imagePullPolicy: Never
      env: [{name: PORT, value: '9090'}]
      ports: [{name: two, containerPort: 9090}]
---
apiVersion: v1
kind: Service
metadata: {name: pair}
spec:
  selector: {app: two}
  ports:
    - {name: first, port: 80, targetPort: one}
    - {name: second, port: 81, targetPort: two}
";

fn have_several_ports(scene: &Scene) {
    scene.apply(&[TWO_PORTS, &busybox_pod("client", None)].concat());
    scene.ready("pod/two");
    scene.ready("pod/client");
    for (port, version) in [(80, "v1"), (81, "v2")] {
        scene.until(
            &format!("port {port} leads to the container {version}"),
            &["exec", "client", "--", "timeout", "5", "wget", "-q", "-O", "-", &format!("http://pair:{port}")],
            |said| said.contains(version).then_some(()),
        );
    }
    // What a pod says to itself through its service comes back to it.
    let itself = ["exec", "two", "-c", "one", "--", "timeout", "5", "wget", "-q", "-O", "-", "http://pair:81"];
    scene.until("a pod reaches itself", &itself, |said| said.contains("v2").then_some(()));
}

/// A second way to the cluster's DNS servers, which speak UDP.
const UDP: &str = "
apiVersion: v1
kind: Service
metadata: {name: NAME, namespace: kube-system}
spec:
  type: NodePort
  selector: {k8s-app: kube-dns}
  ports: [{name: dns, port: 53, protocol: UDP, targetPort: dns}]
";

/// The service of another namespace goes with the drill.
struct Removed<'a>(&'a Scene);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        let _gone = self.0.kubectl.run(&["delete", "--namespace=kube-system", "service", &self.0.namespace]);
    }
}

fn carry_udp(scene: &Scene) {
    let system = scene.cluster.kubectl().namespace("kube-system");
    let _removed = Removed(scene);
    system.apply(&UDP.replace("NAME", &scene.namespace));
    let port = system.ok(&["get", "service", &scene.namespace, "-o", "jsonpath={.spec.ports[0].nodePort}"]);
    for host in HOSTS {
        let address = format!("{}:{port}", scene.cluster.address(host));
        eventually(PATIENCE, &format!("a question is answered at {address}/UDP"), || ask(&address));
    }
    // From a pod on each worker, at the service's own address.
    let address = system.ok(&["get", "service", &scene.namespace, "-o", "jsonpath={.spec.clusterIP}"]);
    for node in &HOSTS[1..] {
        let pod = format!("on-{node}");
        scene.apply(&busybox_pod(&pod, Some(node)));
        scene.ready(&format!("pod/{pod}"));
        let question = format!("nslookup -type=a kubernetes.default.svc.cluster.local {address}");
        eventually(PATIENCE, &format!("a question of {node} is answered at {address}/UDP"), || {
            let ran = scene.sh(&pod, &question);
            if ran.stdout.contains("Address: 10.43.0.1") { Ok(()) } else { Err(ran.report()) }
        });
    }
}

/// Asks for the address of `kubernetes.default.svc.cluster.local` (RFC 1035, section 4.1).
fn ask(address: &str) -> Result<(), String> {
    let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in ["kubernetes", "default", "svc", "cluster", "local"] {
        question.push(u8::try_from(label.len()).expect("labels are short"));
        question.extend(label.bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    let asked = || -> std::io::Result<Vec<u8>> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.connect(address)?;
        socket.send(&question)?;
        let mut answer = vec![0; 512];
        let length = socket.recv(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    };
    let answer = asked().map_err(|error| error.to_string())?;
    // The cluster's first service address: the end of the answer's only record.
    let found = answer.starts_with(&[0x12, 0x34]) && answer.windows(4).any(|bytes| bytes == [10, 43, 0, 1]);
    if found { Ok(()) } else { Err(format!("{answer:?}")) }
}

fn keep_a_client_on_one_pod(scene: &Scene) {
    let sticky = service("web", "ClusterIP").replace("type: ClusterIP", "sessionAffinity: ClientIP");
    scene.apply(&[WEB, &sticky, &busybox_pod("client", None)].concat());
    scene.rolled_out("deployment/web");
    scene.ready("pod/client");
    let script = "for i in $(seq 20); do timeout 5 wget -q -O - http://web || exit 1; done";
    scene.until("the service answers", &["exec", "client", "--", "sh", "-c", script], |said| {
        (said.lines().count() == 20).then_some(())
    });
    let found = answered(scene.sh("client", script).ok().lines());
    assert_eq!(found.len(), 1, "one pod has answered all: {found:?}");
    let service: Value = scene.kubectl.json("get service web");
    assert_eq!(service["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10800, "{service:#}");
}
