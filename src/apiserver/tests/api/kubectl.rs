//! The real kubectl against the real server.

use crate::support::start;

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: example/web:1
        ports: [{containerPort: 80}]
";

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_created_listed_and_deleted() {
    let server = start().await;
    let settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: b}\n";
    server.kubectl(&["create", "-f", &server.file("settings.yaml", settings)]).await;
    let table = server.kubectl(&["get", "configmaps"]).await;
    assert!(table.contains("settings"), "{table}");
    let yaml = server.kubectl(&["get", "cm", "settings", "-o", "yaml"]).await;
    assert!(yaml.contains("a: b") && yaml.contains("resourceVersion:"), "{yaml}");
    assert_eq!(server.kubectl(&["get", "cm", "settings", "-o", "jsonpath={.data.a}"]).await, "b");
    let namespaces = server.kubectl(&["get", "ns", "-o", "name"]).await;
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        assert!(namespaces.contains(&format!("namespace/{name}")), "{namespaces}");
    }
    server.kubectl(&["delete", "cm", "settings"]).await;
    let gone = server.kubectl_fails(&["get", "cm", "settings"]).await;
    assert!(gone.contains("configmaps \"settings\" not found"), "{gone}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_kubectl_makes_itself_arrive_as_they_should() {
    let server = start().await;
    server.kubectl(&["create", "configmap", "settings", "--from-literal=a=b"]).await;
    assert_eq!(server.kubectl(&["get", "cm", "settings", "-o", "jsonpath={.data.a}"]).await, "b");
    server.kubectl(&["create", "secret", "generic", "hidden", "--from-literal=k=v"]).await;
    assert_eq!(server.kubectl(&["get", "secret", "hidden", "-o", "jsonpath={.data.k} {.type}"]).await, "dg== Opaque");
    server.kubectl(&["create", "deployment", "web", "--image=example/web:1", "--replicas=3", "--port=80"]).await;
    let spec =
        "jsonpath={.spec.replicas} {.spec.template.spec.containers[0].image} {.spec.template.metadata.labels.app}";
    assert_eq!(server.kubectl(&["get", "deploy", "web", "-o", spec]).await, "3 example/web:1 web");
    server.kubectl(&["create", "service", "nodeport", "web", "--tcp=80:8080"]).await;
    let port = server.kubectl(&["get", "svc", "web", "-o", "jsonpath={.spec.ports[0].targetPort} {.spec.type}"]).await;
    assert_eq!(port, "8080 NodePort");
    server.kubectl(&["expose", "deployment", "web", "--name=exposed", "--port=81", "--target-port=80"]).await;
    server.kubectl(&["create", "role", "reader", "--verb=get", "--resource=pods"]).await;
    assert_eq!(server.kubectl(&["get", "role", "reader", "-o", "jsonpath={.rules[0].resources[0]}"]).await, "pods");
    server.kubectl(&["create", "namespace", "other"]).await;
    server.kubectl(&["create", "serviceaccount", "robot"]).await;
    server.kubectl(&["create", "job", "once", "--image=example/job:1"]).await;
    server.kubectl(&["run", "single", "--image=example/web:1"]).await;
    server.kubectl(&["delete", "pod", "single", "--wait=true"]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_works_client_side_and_server_side() {
    let server = start().await;
    let file = server.file("web.yaml", DEPLOYMENT);
    assert!(server.kubectl(&["apply", "-f", &file]).await.contains("created"));
    assert!(server.kubectl(&["apply", "-f", &file]).await.contains("unchanged"));
    let changed = server.file("changed.yaml", &DEPLOYMENT.replace("web:1", "web:2"));
    assert!(server.kubectl(&["diff", "-f", &file]).await.is_empty());
    assert_eq!(server.kubectl_output(&["diff", "-f", &changed]).await.status.code(), Some(1));
    assert!(server.kubectl(&["apply", "-f", &changed]).await.contains("configured"));
    let image = "jsonpath={.spec.template.spec.containers[0].image}";
    assert_eq!(server.kubectl(&["get", "deploy", "web", "-o", image]).await, "example/web:2");
    assert!(server.kubectl(&["apply", "--server-side", "-f", &changed]).await.contains("serverside-applied"));
    let conflict = server.kubectl_fails(&["apply", "--server-side", "--field-manager=other", "-f", &file]).await;
    assert!(conflict.contains("conflict"), "{conflict}");
    server.kubectl(&["apply", "--server-side", "--force-conflicts", "--field-manager=other", "-f", &file]).await;
    assert_eq!(server.kubectl(&["get", "deploy", "web", "-o", image]).await, "example/web:1");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_changed_in_every_way() {
    let server = start().await;
    server.kubectl(&["apply", "-f", &server.file("web.yaml", DEPLOYMENT)]).await;
    server.kubectl(&["patch", "deploy", "web", "-p", r#"{"spec":{"paused":true}}"#]).await;
    server.kubectl(&["patch", "deploy", "web", "--type=merge", "-p", r#"{"spec":{"minReadySeconds":3}}"#]).await;
    let json_patch = r#"[{"op":"replace","path":"/spec/replicas","value":5}]"#;
    server.kubectl(&["patch", "deploy", "web", "--type=json", "-p", json_patch]).await;
    let wrong = r#"[{"op":"test","path":"/spec/replicas","value":6}]"#;
    let refused = server.kubectl_fails(&["patch", "deploy", "web", "--type=json", "-p", wrong]).await;
    assert!(refused.contains("/spec/replicas"), "a refused patch says why: {refused}");
    server.kubectl(&["label", "deploy", "web", "tier=front"]).await;
    server.kubectl(&["annotate", "deploy", "web", "note=x"]).await;
    server.kubectl(&["set", "image", "deploy/web", "web=example/web:3"]).await;
    let spec = "jsonpath={.spec.paused} {.spec.minReadySeconds} {.spec.replicas} {.metadata.labels.tier}";
    assert_eq!(server.kubectl(&["get", "deploy", "web", "-o", spec]).await, "true 3 5 front");
    server.kubectl(&["scale", "deploy", "web", "--replicas=7"]).await;
    assert_eq!(server.kubectl(&["get", "deploy", "web", "-o", "jsonpath={.spec.replicas}"]).await, "7");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_can_be_explored() {
    let server = start().await;
    let resources = server.kubectl(&["api-resources"]).await;
    for name in ["deployments", "configmaps", "clusterroles", "endpointslices"] {
        assert!(resources.contains(name), "{resources}");
    }
    assert!(server.kubectl(&["api-versions"]).await.contains("apps/v1"));
    let endpoints = server.kubectl(&["get", "endpoints"]).await;
    assert!(endpoints.contains("Warning: v1 Endpoints is deprecated in v1.33+"), "{endpoints}");
    let text = server.kubectl(&["explain", "deployment.spec.replicas"]).await;
    assert!(text.contains("replicas <integer>"), "{text}");
    assert!(server.kubectl(&["version"]).await.contains("v1.37.0+rkctl"));
    assert!(server.kubectl(&["get", "--raw", "/readyz?verbose"]).await.contains("readyz check passed"));
    let service = server.kubectl(&["get", "svc", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"]).await;
    assert_eq!(service, "10.43.0.1");
    server.stop().await;
}
