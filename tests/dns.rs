//! Names in the cluster, asked for from a pod.

use serde_json::Value;
use testkit::eventually;

use crate::harness::{PATIENCE, Scene, busybox_pod, deployment, drills, service};

drills![knows_services_and_their_ports, knows_the_pods_of_headless_services, follows_other_names];

/// What nslookup says in the pod `client`, once it is what `wanted` says.
fn looked_up(scene: &Scene, words: &str, wanted: &[String]) {
    let script = format!("nslookup {words} 2>&1");
    eventually(PATIENCE, &format!("`nslookup {words}` answers {wanted:?}"), || {
        let ran = scene.sh("client", &script);
        if wanted.iter().all(|part| ran.stdout.contains(part)) { Ok(()) } else { Err(ran.report()) }
    });
}

fn field(scene: &Scene, what: &str, path: &str) -> String {
    scene.kubectl.ok(&["get", what, "-o", &format!("jsonpath={path}")])
}

fn knows_services_and_their_ports(scene: &Scene) {
    scene.apply(
        &[&deployment("web", 1, 1), &service("web", "ClusterIP"), &busybox_pod("client", None)]
            .map(String::as_str)
            .concat(),
    );
    scene.ready("pod/client");
    let address = field(scene, "service/web", "{.spec.clusterIP}");
    let full = format!("web.{}.svc.cluster.local", scene.namespace);
    looked_up(scene, &format!("-type=a {full}"), &[format!("Address: {address}")]);
    looked_up(scene, &format!("-type=srv _http._tcp.{full}"), &[format!("80 {full}")]);
    looked_up(scene, &address, &[format!("name = {full}")]);
    looked_up(scene, &format!("-type=a nothing.{}.svc.cluster.local", scene.namespace), &["NXDOMAIN".to_owned()]);
    let resolv = scene.sh("client", "cat /etc/resolv.conf").ok();
    let search = format!("search {}.svc.cluster.local svc.cluster.local cluster.local", scene.namespace);
    assert!(resolv.contains(&search) && resolv.contains("nameserver 10.43.0.10"), "{resolv}");
    scene.rolled_out("deployment/web");
    // Short names, by the search list.
    for name in ["web".to_owned(), format!("web.{}", scene.namespace), format!("web.{}.svc", scene.namespace)] {
        let words = ["exec", "client", "--", "timeout", "5", "wget", "-q", "-O", "-", &format!("http://{name}/")];
        scene.until(&format!("http://{name}/ answers"), &words, |said| said.contains("v1").then_some(()));
    }
}

fn knows_the_pods_of_headless_services(scene: &Scene) {
    let headless = service("peers", "ClusterIP").replace("type: ClusterIP", "clusterIP: None");
    scene.apply(&[&deployment("peers", 3, 1), &headless, &busybox_pod("client", None)].map(String::as_str).concat());
    scene.rolled_out("deployment/peers");
    scene.ready("pod/client");
    let addresses: Vec<String> = scene
        .pods("app=peers")
        .iter()
        .map(|pod| format!("Address: {}", pod["status"]["podIP"].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(addresses.len(), 3);
    let full = format!("peers.{}.svc.cluster.local", scene.namespace);
    looked_up(scene, &format!("-type=a {full}"), &addresses);
    looked_up(scene, &format!("-type=srv _http._tcp.{full}"), &["8080 ".to_owned(), format!(".{full}")]);
    // Who goes is forgotten.
    scene.kubectl.ok("scale deployment/peers --replicas=1");
    let gone = |ran: &str| ran.matches("Address: 10.42.").count() == 1;
    let words = ["exec", "client", "--", "nslookup", "-type=a", &full];
    scene.until("only the pod that is left is named", &words, |said| gone(said).then_some(()));
}

fn follows_other_names(scene: &Scene) {
    let other = format!(
        "
---
apiVersion: v1
kind: Service
metadata: {{name: elsewhere}}
spec: {{type: ExternalName, externalName: web.{}.svc.cluster.local}}
",
        scene.namespace
    );
    let all = [deployment("web", 1, 1), service("web", "ClusterIP"), other, busybox_pod("client", None)];
    scene.apply(&all.concat());
    scene.rolled_out("deployment/web");
    scene.ready("pod/client");
    let full = format!("elsewhere.{}.svc.cluster.local", scene.namespace);
    let target = format!("web.{}.svc.cluster.local", scene.namespace);
    looked_up(scene, &format!("-type=cname {full}"), &[format!("canonical name = {target}")]);
    let words = ["exec", "client", "--", "timeout", "5", "wget", "-q", "-O", "-", "http://elsewhere/"];
    scene.until("the other name leads to the service", &words, |said| said.contains("v1").then_some(()));
    let service: Value = scene.kubectl.json("get service elsewhere");
    assert!(service["spec"]["clusterIP"].is_null(), "it has no address: {service:#}");
}
