//! Who owns which field: what clients send is theirs, what the server fills in is no one's.

use serde_json::{Value, json};

use crate::support::{TestServer, eventually, start};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";

const WORKLOADS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: 'example/web:1', ports: [{containerPort: 80}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: once, image: 'example/job:1', command: ['true']}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80}]
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: single}
spec:
  containers: [{name: c, image: 'example/web:1'}]
";

/// `manager operation subresource` of every entry, and what they own together.
fn owners(object: &Value) -> (Vec<String>, String) {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_string();
    let names = entries.iter().map(|entry| {
        format!("{} {} {}", text(entry, "manager"), text(entry, "operation"), text(entry, "subresource"))
            .trim()
            .to_string()
    });
    let fields = entries.iter().map(|entry| entry["fieldsV1"].to_string()).collect();
    (names.collect(), fields)
}

async fn deployment(server: &TestServer) -> Value {
    server.get(&format!("{DEPLOYMENTS}/web")).await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_sets_is_no_ones() {
    let server = start().await;
    server.kubectl(&["apply", "-f", &server.file("all.yaml", WORKLOADS)]).await;
    let job = server.get("/apis/batch/v1/namespaces/default/jobs/once").await.1;
    let (names, fields) = owners(&job);
    assert_eq!(names, ["kubectl-client-side-apply Update"]);
    assert!(job["spec"]["selector"].is_object() && !fields.contains("selector"), "{fields}");
    assert!(!fields.contains("controller-uid") && !fields.contains("f:generation"), "{fields}");
    // Defaults are the client's.
    assert!(fields.contains("f:backoffLimit") && fields.contains("f:dnsPolicy"), "{fields}");
    let service = server.get("/api/v1/namespaces/default/services/web").await.1;
    let (_, fields) = owners(&service);
    assert!(service["spec"]["clusterIP"].is_string() && service["spec"]["ports"][0]["nodePort"].is_number());
    for field in ["clusterIP", "nodePort", "ipFamil", "f:status"] {
        assert!(!fields.contains(field), "{field}: {fields}");
    }
    assert!(fields.contains("f:targetPort") && fields.contains("f:internalTrafficPolicy"), "{fields}");
    let (_, fields) = owners(&server.get("/api/v1/namespaces/shop").await.1);
    assert!(fields.contains("kubernetes.io/metadata.name") && !fields.contains("finalizers"), "{fields}");
    let (_, fields) = owners(&server.get("/api/v1/namespaces/default/pods/single").await.1);
    assert!(!fields.contains("f:status") && fields.contains("f:terminationGracePeriodSeconds"), "{fields}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_side_applied_objects_go_over_to_server_side_apply() {
    let server = start().await;
    let file = server.file("all.yaml", WORKLOADS);
    server.kubectl(&["apply", "-f", &file]).await;
    for flags in [&["--server-side"][..], &["--server-side", "--force-conflicts"], &["--server-side"]] {
        let arguments = [&["apply", "-f", &file], flags].concat();
        let output = server.kubectl_output(&arguments).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "kubectl {arguments:?}: {said}");
    }
    let (mut names, _) = owners(&deployment(&server).await);
    names.sort();
    // kubectl keeps its annotation under a name of its own, for those who go back.
    assert_eq!(names, ["kubectl Apply", "kubectl-last-applied Apply"]);
    // And back.
    let back = server.kubectl(&["apply", "-f", &file]).await;
    assert!(!back.to_lowercase().contains("warning"), "{back}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_applied_again_is_not_written_again() {
    let server = start().await;
    // A reference is replaced as a whole, and its version filled in anew.
    let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name":
        "c", "image": "i", "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}]}});
    let path = "/api/v1/namespaces/default/pods/p?fieldManager=owner";
    let (code, first) = server.json("PATCH", path, APPLY, &object.to_string()).await;
    assert_eq!(code, 201, "{first}");
    let first_time = first["metadata"]["managedFields"][0]["time"].clone();
    eventually("another second has begun", || async {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        (json!(now) != first_time).then_some(())
    })
    .await;
    let (code, second) = server.json("PATCH", path, APPLY, &object.to_string()).await;
    assert_eq!(code, 200, "{second}");
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_without_a_status_takes_it_from_no_one() {
    let server = start().await;
    server.kubectl(&["create", "-f", &server.file("all.yaml", WORKLOADS)]).await;
    let status = json!({"status": {"replicas": 2, "observedGeneration": 1}}).to_string();
    let path = format!("{DEPLOYMENTS}/web/status?fieldManager=controller");
    let (code, changed) = server.json("PATCH", &path, MERGE, &status).await;
    assert_eq!(code, 200, "{changed}");
    let before = owners(&deployment(&server).await).0;
    assert!(before.contains(&"controller Update status".to_string()), "{before:?}");
    let mut replaced = deployment(&server).await;
    replaced.as_object_mut().expect("an object").remove("status");
    replaced["spec"]["paused"] = json!(true);
    let path = format!("{DEPLOYMENTS}/web?fieldManager=editor");
    let (code, changed) = server.json("PUT", &path, "application/json", &replaced.to_string()).await;
    assert_eq!((code, &changed["status"]["replicas"]), (200, &json!(2)), "{changed}");
    let after = owners(&changed).0;
    assert!(after.contains(&"controller Update status".to_string()), "{after:?}");
    assert!(after.contains(&"editor Update".to_string()), "{after:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scale_is_applied_with_its_managers() {
    let server = start().await;
    let (_, web) = WORKLOADS.split_once("apiVersion").expect("a workload");
    let web = format!("apiVersion{}", web.split("---").next().expect("one workload"));
    let path = format!("{DEPLOYMENTS}/web?fieldManager=owner");
    assert_eq!(server.json("PATCH", &path, APPLY, &web).await.0, 201);
    let scale = |replicas: i64| {
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"},
            "spec": {"replicas": replicas}})
        .to_string()
    };
    let path = |more: &str| format!("{DEPLOYMENTS}/web/scale?{more}");
    assert_eq!(server.json("PATCH", &path(""), APPLY, &scale(3)).await.0, 422, "a manager is required");
    let (code, status) = server.json("PATCH", &path("fieldManager=hand"), APPLY, &scale(3)).await;
    assert_eq!((code, &status["details"]["causes"][0]["field"]), (409, &json!(".spec.replicas")), "{status}");
    let (code, scaled) = server.json("PATCH", &path("fieldManager=hand&force=true"), APPLY, &scale(3)).await;
    assert_eq!((code, &scaled["spec"]["replicas"]), (200, &json!(3)), "{scaled}");
    let object = deployment(&server).await;
    assert_eq!(object["spec"]["replicas"], 3);
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let of = |manager: &str| entries.iter().find(|entry| entry["manager"] == manager).cloned().unwrap_or_default();
    let (entry, owned) = (of("hand"), of("owner")["fieldsV1"].to_string());
    assert_eq!((entries.len(), &entry["operation"], &entry["subresource"]), (2, &json!("Apply"), &json!("scale")));
    assert_eq!((&entry["apiVersion"], &entry["fieldsV1"]), (&json!("apps/v1"), &json!({"f:spec": {"f:replicas": {}}})));
    assert!(!owned.contains("f:replicas") && owned.contains("f:selector"), "{owned}");
    // The first owner now conflicts, whichever way it comes.
    let again = format!("{DEPLOYMENTS}/web?fieldManager=owner");
    let (code, status) = server.json("PATCH", &again, APPLY, &web).await;
    assert!(code == 409 && status["message"].as_str().is_some_and(|text| text.contains("hand")), "{status}");
    // An update takes the field without asking.
    let (code, scaled) = server.json("PATCH", &path("fieldManager=user"), MERGE, &scale(4)).await;
    assert_eq!((code, &scaled["spec"]["replicas"]), (200, &json!(4)), "{scaled}");
    let (names, _) = owners(&deployment(&server).await);
    assert_eq!(names, ["owner Apply", "user Update scale"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_generated_reach_what_depends_on_them() {
    let server = start().await;
    let job = json!({"metadata": {"generateName": "run-"}, "spec": {"template": {"spec":
        {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
    let job = server.create("/apis/batch/v1/namespaces/default/jobs", job).await;
    let labels = &job["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels["batch.kubernetes.io/job-name"], job["metadata"]["name"], "{job}");
    let namespace = server.create("/api/v1/namespaces", json!({"metadata": {"generateName": "team-"}})).await;
    assert_eq!(namespace["metadata"]["labels"]["kubernetes.io/metadata.name"], namespace["metadata"]["name"]);
    server.stop().await;
}

/// As with Kubernetes: `1000m` is `1` when it is kept, and something else when it is applied.
#[tokio::test(flavor = "multi_thread")]
async fn quantities_are_compared_as_they_are_written() {
    const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
    let server = start().await;
    let quota = |cpu: &str| json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": {"cpu": cpu}}});
    let apply = |manager: &'static str, cpu: &'static str, rest: &'static str| {
        let path = format!("{QUOTAS}/q?fieldManager={manager}{rest}");
        let (server, body) = (&server, quota(cpu).to_string());
        async move { server.json("PATCH", &path, APPLY, &body).await }
    };
    server.create(&format!("{QUOTAS}?fieldManager=one"), quota("1")).await;
    assert_eq!(apply("two", "1", "").await.0, 200);
    let (code, conflict) = apply("three", "1000m", "").await;
    assert_eq!((code, &conflict["details"]["causes"][0]["field"]), (409, &json!(".spec.hard.cpu")), "{conflict}");
    let (code, forced) = apply("three", "1000m", "&force=true").await;
    assert_eq!((code, &forced["spec"]["hard"]["cpu"]), (200, &json!("1")), "{forced}");
    let (_, again) = apply("three", "1000m", "").await;
    assert_eq!(again["metadata"]["resourceVersion"], forced["metadata"]["resourceVersion"], "{again}");
    server.stop().await;
}
