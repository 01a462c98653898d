//! The scale of workloads: as a Table, and as what admission sees of it.

use std::sync::{Arc, Mutex};

use apiserver::plugin::{Admission, Admit, Operation, Plugins};
use apiserver::status::{Result, Status};
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::support::{start, start_with};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const MERGE: &str = "application/merge-patch+json";

fn web() -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        }},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scale_is_shown_with_its_columns() {
    let server = start().await;
    server.create(DEPLOYMENTS, web()).await;
    let text = server.kubectl(&["get", "deploy", "web", "--subresource=scale"]).await;
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "DESIRED", "AVAILABLE", "AGE"], "{text}");
    assert_eq!(lines[1][..3], ["web", "2", "0"], "{text}");
    let name = server.kubectl(&["get", "deploy", "web", "--subresource=scale", "-o", "name"]).await;
    assert_eq!(name.trim(), "scale.autoscaling/web");
    let request = http::Request::get(format!("{DEPLOYMENTS}/web/scale"))
        .header("accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
    let (_, _, body) = server.request(request.body(Vec::new()).expect("a request")).await;
    let metadata: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((&metadata["kind"], &metadata["metadata"]["name"]), (&json!("PartialObjectMetadata"), &json!("web")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_of_a_scale_needs_no_name_and_an_update_does() {
    let server = start().await;
    server.create(DEPLOYMENTS, web()).await;
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 4}});
    let path = format!("{DEPLOYMENTS}/web/scale");
    let body = || serde_json::to_vec(&scale).expect("JSON");
    let apply = http::Request::patch(format!("{path}?fieldManager=me&force=true"))
        .header("content-type", "application/apply-patch+yaml");
    let (status, _, answer) = server.request(apply.body(body()).expect("a request")).await;
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!((status, &answer["spec"]["replicas"]), (200, &json!(4)), "{answer}");
    assert_eq!(answer["metadata"]["name"], "web");
    let update = http::Request::put(&path).header("content-type", "application/json");
    let (status, _, answer) = server.request(update.body(body()).expect("a request")).await;
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!(status, 400, "{answer}");
    assert!(answer["message"].as_str().is_some_and(|message| message.ends_with("name must be provided")), "{answer}");
    server.stop().await;
}

/// Writes down what it is asked, makes twelve of eleven replicas and refuses thirteen.
#[derive(Default)]
struct Watcher(Mutex<Vec<String>>);

#[async_trait]
impl Admission for Watcher {
    fn name(&self) -> &'static str {
        "Watcher"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Update
    }

    async fn admit(&self, request: &Admit<'_>, object: &mut Value) -> Result<()> {
        if request.kind.kind == "Scale" && object["spec"]["replicas"] == 11 {
            object["spec"]["replicas"] = json!(12);
        }
        Ok(())
    }

    async fn validate(&self, request: &Admit<'_>, object: Option<&Value>) -> Result<()> {
        if request.resource != "deployments" {
            return Ok(());
        }
        let object = object.expect("an update has an object");
        let (old, new) = (&request.old.expect("an old one")["spec"]["replicas"], &object["spec"]["replicas"]);
        let seen = format!("{}/{} {old} {new}", request.kind.kind, request.subresource);
        self.0.lock().expect("nobody panics").push(seen);
        if new == 13 { Err(Status::bad_request("unlucky")) } else { Ok(()) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn admission_sees_the_scale_and_not_the_workload() {
    let watcher = Arc::new(Watcher::default());
    let server = start_with(Plugins { admission: vec![watcher.clone()], ..Plugins::allow_all() }).await;
    server.create(DEPLOYMENTS, web()).await;
    let scale = |replicas: i64| json!({"spec": {"replicas": replicas}}).to_string();
    let path = format!("{DEPLOYMENTS}/web/scale");
    let (code, scaled) = server.json("PATCH", &path, MERGE, &scale(3)).await;
    assert_eq!((code, &scaled["spec"]["replicas"]), (200, &json!(3)), "{scaled}");
    let (_, scaled) = server.json("PATCH", &path, MERGE, &scale(11)).await;
    assert_eq!(scaled["spec"]["replicas"], 12, "{scaled}");
    assert_eq!(server.json("PATCH", &path, MERGE, &scale(13)).await.0, 400);
    assert_eq!(server.get(&format!("{DEPLOYMENTS}/web")).await.1["spec"]["replicas"], 12);
    let seen = watcher.0.lock().expect("nobody panics").clone();
    assert_eq!(seen, ["Scale/scale 2 3", "Scale/scale 3 12", "Scale/scale 12 13"]);
    server.stop().await;
}
