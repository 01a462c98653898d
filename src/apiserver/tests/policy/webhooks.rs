//! Admission webhooks as their authors meet them: a real HTTPS server that is asked by the real API server.

mod custom;
mod settings;

use std::time::Instant;

use serde_json::{Value, json};

use crate::hooks::{Hooks, MAPS, allow, answer, configuration, deny, map, patch, place, pod};
use crate::support::{Cluster, eventually};

pub const MUTATING: &str = "MutatingWebhookConfiguration";
pub const VALIDATING: &str = "ValidatingWebhookConfiguration";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// Refuses what is called `unwanted` in its name or data, and answers nothing to what is called `hang`.
fn guard(path: &str, review: &Value) -> Option<Value> {
    let request = &review["request"];
    let object = &request["object"];
    let names: Vec<&str> = object["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|container| container["name"].as_str())
        .collect();
    match path {
        "/never" => None,
        _ if object["metadata"]["name"] == "hang" => None,
        _ if names.contains(&"unwanted") => Some(deny(review, "the pod contains unwanted container name")),
        _ if !object["data"]["unwanted"].is_null() => {
            Some(deny(review, "the configmap contains unwanted key and value"))
        }
        _ => Some(allow(review)),
    }
}

// conformance: admissionregistration.k8s.io/v1 and both *webhookconfigurations present in /apis, group and version discovery documents
#[tokio::test(flavor = "multi_thread")]
async fn configurations_are_discovered() {
    let cluster = Cluster::start().await;
    let (_, groups) = cluster.ask("GET", "/apis", None).await;
    let groups = groups["groups"].as_array().expect("groups");
    let group = groups.iter().find(|group| group["name"] == "admissionregistration.k8s.io").expect("the group");
    assert!(group["versions"].as_array().expect("versions").iter().any(|version| version["version"] == "v1"));
    let (_, group) = cluster.ask("GET", "/apis/admissionregistration.k8s.io", None).await;
    assert_eq!(group["preferredVersion"]["groupVersion"], "admissionregistration.k8s.io/v1");
    let (_, list) = cluster.ask("GET", "/apis/admissionregistration.k8s.io/v1", None).await;
    let names: Vec<&str> =
        list["resources"].as_array().expect("resources").iter().filter_map(|one| one["name"].as_str()).collect();
    for plural in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
        assert!(names.contains(&plural), "{names:?}");
    }
    cluster.stop().await;
}

// conformance: deny create/update/patch of pods and configmaps; hanging webhook → timeout error; namespaceSelector exempts a namespace
#[tokio::test(flavor = "multi_thread")]
async fn pods_and_configmaps_are_refused_by_a_webhook() {
    let cluster = Cluster::start_local().await;
    cluster.with_account().await;
    let hooks = Hooks::start(guard).await;
    let exempts = json!({"matchExpressions": [{"key": "exempt", "operator": "NotIn", "values": ["yes"]}]});
    let mut webhooks = Vec::new();
    for resource in ["pods", "configmaps"] {
        let mut webhook =
            hooks.webhook(&format!("deny.{resource}"), "/guard", &["CREATE", "UPDATE"], ("", "v1", resource));
        webhook["namespaceSelector"] = exempts.clone();
        webhook["timeoutSeconds"] = json!(1);
        webhooks.push(webhook);
    }
    cluster.configure(VALIDATING, "deny", &webhooks).await;
    let unwanted = map("bad", json!({"unwanted": "x"}));
    let words = "admission webhook \"deny.configmaps.example.com\" denied the request: the configmap contains unwanted \
                 key and value";
    cluster.is_refused(MAPS, &unwanted, words).await;
    assert_eq!(cluster.refused("POST", MAPS, Some(&unwanted)).await, words);
    let mut bad = pod("bad");
    bad["spec"]["containers"][0]["name"] = json!("unwanted");
    let refused = cluster.refused("POST", PODS, Some(&bad)).await;
    assert!(refused.ends_with("denied the request: the pod contains unwanted container name"), "{refused}");
    let (_, missing) = cluster.ask("GET", &format!("{MAPS}/bad"), None).await;
    assert_eq!(missing["code"], 404);
    let began = Instant::now();
    let hung = cluster.refused("POST", MAPS, Some(&map("hang", json!({})))).await;
    assert!(hung.starts_with("Internal error occurred: failed calling webhook \"deny.configmaps.example.com\": failed to call webhook: Post \"https://127.0.0.1:"), "{hung}");
    assert!(hung.ends_with("/guard?timeout=1s\": context deadline exceeded"), "{hung}");
    assert!(began.elapsed().as_secs() < 10);
    cluster.made(MAPS, &map("good", json!({"a": "b"}))).await;
    let at = format!("{MAPS}/good");
    assert_eq!(cluster.refused("PUT", &at, Some(&map("good", json!({"unwanted": "x"})))).await, words);
    assert_eq!(cluster.refused("PATCH", &at, Some(&json!({"data": {"unwanted": "x"}}))).await, words);
    let (code, patched) = cluster.ask("PATCH", &at, Some(&json!({"data": {"a": "c"}}))).await;
    assert_eq!((code, &patched["data"]), (200, &json!({"a": "c"})));
    let seen = hooks.seen("/guard").pop().expect("a review");
    let request = &seen["request"];
    assert_eq!((&seen["apiVersion"], &request["operation"]), (&json!("admission.k8s.io/v1"), &json!("UPDATE")));
    assert_eq!((&request["oldObject"]["data"], &request["object"]["data"]), (&json!({"a": "b"}), &json!({"a": "c"})));
    assert_eq!((&request["name"], &request["namespace"]), (&json!("good"), &json!("default")));
    assert_eq!(request["userInfo"]["username"], "tester");
    assert_eq!(request["resource"], json!({"group": "", "version": "v1", "resource": "configmaps"}));
    let namespace = json!({"metadata": {"name": "exempt", "labels": {"exempt": "yes"}}});
    cluster.made("/api/v1/namespaces", &namespace).await;
    cluster.made("/api/v1/namespaces/exempt/configmaps", &unwanted).await;
    let (_, figures) = cluster.ask("GET", "/metrics", None).await;
    let figures = figures.as_str().expect("text");
    assert!(figures.contains("apiserver_admission_webhook_rejection_count{error_type=\"no_error\",name=\"deny.configmaps.example.com\",operation=\"CREATE\",rejection_code=\"403\",type=\"validating\"}"), "{figures}");
    assert!(
        figures.contains("apiserver_admission_webhook_admission_duration_seconds_count{name=\"deny.pods.example.com\"")
    );
    cluster.stop().await;
}

// conformance: deny CONNECT on pods/attach
#[tokio::test(flavor = "multi_thread")]
async fn attaching_to_a_pod_is_refused_by_a_webhook() {
    let cluster = Cluster::start_local().await;
    cluster.with_account().await;
    let hooks = Hooks::start(|_, review| Some(deny(review, "attaching to pod 'p' is not allowed"))).await;
    cluster.made(PODS, &pod("p")).await;
    let webhook = hooks.webhook("deny.attach", "/", &["CONNECT"], ("", "v1", "pods/attach"));
    cluster.configure(VALIDATING, "attach", &[webhook]).await;
    let words = "admission webhook \"deny.attach.example.com\" denied the request: attaching to pod 'p' is not allowed";
    eventually("attach is refused", || async {
        let request = http::Request::post(format!("{PODS}/p/attach?stdout=true&container=c"))
            .header("connection", "Upgrade")
            .header("upgrade", "SPDY/3.1")
            .header("x-stream-protocol-version", "v4.channel.k8s.io")
            .body(kube::client::Body::empty())
            .expect("a request");
        let response = cluster.client.send(request).await.expect("an answer");
        let bytes = http_body_util::BodyExt::collect(response.into_body()).await.expect("a body").to_bytes();
        let status: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        (status["message"] == words).then_some(())
    })
    .await;
    let request = &hooks.seen("/").pop().expect("a review")["request"];
    assert_eq!((&request["operation"], &request["subResource"]), (&json!("CONNECT"), &json!("attach")));
    assert_eq!((&request["kind"]["kind"], &request["name"]), (&json!("PodAttachOptions"), &json!("p")));
    assert_eq!(request["oldObject"], Value::Null);
    cluster.stop().await;
}

// conformance: mutate configmap with two ordered webhooks: the second sees the first one's change
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_sees_what_the_one_before_it_has_made() {
    let cluster = Cluster::start_local().await;
    let hooks = Hooks::start(|path, review| {
        let data = &review["request"]["object"]["data"];
        let add = |key: &str, value: &str| {
            patch(review, &json!([{"op": "add", "path": format!("/data/{key}"), "value": value}]))
        };
        Some(match path {
            "/first" if data["start"] == "yes" => add("stage-1", "yes"),
            "/second" if data["stage-1"] == "yes" => add("stage-2", "yes"),
            _ => allow(review),
        })
    })
    .await;
    for (configuration, path) in [("b", "/second"), ("a", "/first")] {
        let webhook = hooks.webhook(&format!("add.{configuration}"), path, &["CREATE"], ("", "v1", "configmaps"));
        cluster.configure(MUTATING, configuration, &[webhook]).await;
    }
    let started = map("m", json!({"start": "yes"}));
    let whole = json!({"start": "yes", "stage-1": "yes", "stage-2": "yes"});
    cluster.becomes(MAPS, &started, "both have changed it", |made| made["data"] == whole).await;
    assert_eq!(cluster.made(MAPS, &started).await["data"], whole);
    cluster.stop().await;
}

// conformance: mutate a pod (adds initContainer), then API defaulting runs on the result (terminationMessagePolicy)
#[tokio::test(flavor = "multi_thread")]
async fn what_a_webhook_adds_gets_its_defaults() {
    let cluster = Cluster::start_local().await;
    cluster.with_account().await;
    let hooks = Hooks::start(|_, review| {
        let added = json!([{"name": "added", "image": "webhook"}]);
        Some(patch(review, &json!([{"op": "add", "path": "/spec/initContainers", "value": added}])))
    })
    .await;
    let webhook = hooks.webhook("add.init", "/", &["CREATE"], ("", "v1", "pods"));
    cluster.configure(MUTATING, "init", &[webhook]).await;
    cluster.becomes(PODS, &pod("p"), "it is changed", |made| made["spec"]["initContainers"].is_array()).await;
    let made = cluster.made(PODS, &pod("p")).await;
    let added = &made["spec"]["initContainers"][0];
    assert_eq!((&added["name"], &added["terminationMessagePolicy"]), (&json!("added"), &json!("File")));
    assert!(made["metadata"]["managedFields"].is_array());
    cluster.stop().await;
}

// conformance: webhook configuration objects themselves can be neither mutated nor blocked by webhooks
#[tokio::test(flavor = "multi_thread")]
async fn nobody_keeps_a_configuration_from_being_taken_back() {
    let cluster = Cluster::start_local().await;
    let hooks = Hooks::start(|path, review| {
        Some(match path {
            "/deny" => deny(review, "no"),
            _ => patch(review, &json!([{"op": "add", "path": "/metadata/labels", "value": {"changed": "yes"}}])),
        })
    })
    .await;
    let all = ["CREATE", "UPDATE", "DELETE"];
    let of = ("*", "*", "*");
    cluster.configure(VALIDATING, "deny", &[hooks.webhook("deny.all", "/deny", &all, of)]).await;
    cluster.is_refused(MAPS, &map("m", json!({})), "denied the request: no").await;
    cluster.configure(MUTATING, "change", &[hooks.webhook("change.all", "/change", &all, of)]).await;
    eventually("the mutating one is asked", || async {
        cluster.refused("POST", MAPS, Some(&map("m", json!({})))).await;
        (!hooks.seen("/change").is_empty()).then_some(())
    })
    .await;
    for kind in [MUTATING, VALIDATING] {
        let made =
            cluster.configure(kind, "free", &[hooks.webhook("a.free", "/", &["CREATE"], ("", "v1", "nothing"))]).await;
        assert_eq!(made["metadata"]["labels"], Value::Null);
        let (code, gone) = cluster.ask("DELETE", &format!("{}/free", place(kind)), None).await;
        assert_eq!(code, 200, "{gone}");
    }
    for (kind, name) in [(VALIDATING, "deny"), (MUTATING, "change")] {
        assert_eq!(cluster.ask("DELETE", &format!("{}/{name}", place(kind)), None).await.0, 200);
    }
    cluster
        .becomes(MAPS, &map("m", json!({})), "nobody is asked any more", |made| made["metadata"]["labels"].is_null())
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_wants_it_is_asked_once_more_after_a_change() {
    let cluster = Cluster::start_local().await;
    let hooks = Hooks::start(|path, review| {
        let data = &review["request"]["object"]["data"];
        Some(match path {
            // Counts what it sees.
            "/count" => {
                let count = data.as_object().map_or(0, serde_json::Map::len);
                patch(review, &json!([{"op": "add", "path": "/data/count", "value": count.to_string()}]))
            }
            _ if data["late"].is_null() => patch(review, &json!([{"op": "add", "path": "/data/late", "value": "x"}])),
            _ => allow(review),
        })
    })
    .await;
    let of = ("", "v1", "configmaps");
    let mut count = hooks.webhook("count", "/count", &["CREATE"], of);
    count["reinvocationPolicy"] = json!("IfNeeded");
    let late = hooks.webhook("late", "/late", &["CREATE"], of);
    cluster.configure(MUTATING, "a", &[count, late]).await;
    let object = map("m", json!({"a": "b"}));
    cluster.becomes(MAPS, &object, "it is changed", |made| made["data"]["late"] == "x").await;
    let before = hooks.seen("/late").len();
    // First it saw one key; once more it saw three, its own count and the late one among them.
    assert_eq!(cluster.made(MAPS, &object).await["data"], json!({"a": "b", "late": "x", "count": "3"}));
    assert_eq!(hooks.seen("/late").len() - before, 1, "one that does not want it is asked once");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_are_shown_with_the_object_that_goes() {
    let cluster = Cluster::start_local().await;
    let hooks = Hooks::start(|_, review| {
        let kept = review["request"]["oldObject"]["metadata"]["labels"]["keep"] == "yes";
        Some(if kept { deny(review, "it stays") } else { allow(review) })
    })
    .await;
    let webhook = hooks.webhook("keep", "/", &["DELETE"], ("", "v1", "configmaps"));
    cluster.configure(VALIDATING, "keep", std::slice::from_ref(&webhook)).await;
    let mut kept = map("kept", json!({}));
    kept["metadata"]["labels"] = json!({"keep": "yes"});
    cluster.made(MAPS, &kept).await;
    cluster.made(MAPS, &map("other", json!({}))).await;
    eventually("it is not deleted", || async {
        let (_, status) = cluster.ask("DELETE", &format!("{MAPS}/kept?dryRun=All"), None).await;
        status["message"].as_str().is_some_and(|text| text.contains("it stays")).then_some(())
    })
    .await;
    assert!(cluster.refused("DELETE", &format!("{MAPS}/kept"), None).await.ends_with("denied the request: it stays"));
    assert!(cluster.refused("DELETE", MAPS, None).await.ends_with("denied the request: it stays"));
    assert_eq!(cluster.ask("GET", &format!("{MAPS}/kept"), None).await.0, 200);
    assert_eq!(cluster.ask("DELETE", &format!("{MAPS}?labelSelector=keep!%3Dyes"), None).await.0, 200);
    let review = hooks.seen("/").pop().expect("a review");
    assert_eq!((&review["request"]["operation"], &review["request"]["object"]), (&json!("DELETE"), &Value::Null));
    // Those that change objects are asked too, and have nothing to change.
    cluster.ask("DELETE", &format!("{}/keep", place(VALIDATING)), None).await;
    cluster.configure(MUTATING, "keep", &[webhook]).await;
    eventually("it is not deleted", || async {
        let (code, _) = cluster.ask("DELETE", &format!("{MAPS}/kept?dryRun=All"), None).await;
        (code == 403).then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_reach_the_client_and_dry_runs_only_those_who_allow_them() {
    let cluster = Cluster::start_local().await;
    let admin = cluster.certificate("admin", &["system:masters"]);
    let hooks = Hooks::start(|_, review| {
        Some(answer(review, json!({"allowed": true, "warnings": ["think twice"], "auditAnnotations": {"k": "v"}})))
    })
    .await;
    let webhook = hooks.webhook("warn", "/", &["*"], ("", "*", "configmaps"));
    cluster.configure(VALIDATING, "warn", &[webhook]).await;
    eventually("the client is warned", || async {
        let file = cluster.file("warned.json", &map("m", json!({})));
        let (_, errors, _) = cluster.output(&admin, &["create", "--dry-run=server", "-f", &file]).await;
        errors.contains("Warning: think twice").then_some(())
    })
    .await;
    assert_eq!(hooks.seen("/").pop().expect("a review")["request"]["dryRun"], true);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_means_other_versions_of_a_resource_too() {
    let cluster = Cluster::start_local().await;
    let hooks = Hooks::start(|_, review| {
        Some(patch(review, &json!([{"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}}])))
    })
    .await;
    let mut webhook = hooks.webhook("versions", "/", &["CREATE"], ("autoscaling", "v2", "horizontalpodautoscalers"));
    cluster.configure(MUTATING, "a", &[webhook.clone()]).await;
    let scaler = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 70,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}});
    let path = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    cluster.becomes(path, &scaler, "it is changed", |made| made["metadata"]["labels"]["seen"] == "yes").await;
    let made = cluster.made(path, &scaler).await;
    assert_eq!(
        (&made["apiVersion"], &made["spec"]["targetCPUUtilizationPercentage"]),
        (&json!("autoscaling/v1"), &json!(70))
    );
    let request = &hooks.seen("/").pop().expect("a review")["request"];
    assert_eq!((&request["kind"]["version"], &request["requestKind"]["version"]), (&json!("v2"), &json!("v1")));
    assert_eq!(request["object"]["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 70);
    webhook["matchPolicy"] = json!("Exact");
    let mut exact = configuration(MUTATING, "a", &[webhook]);
    let (_, current) = cluster.ask("GET", &format!("{}/a", place(MUTATING)), None).await;
    exact["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"].clone();
    assert_eq!(cluster.ask("PUT", &format!("{}/a", place(MUTATING)), Some(&exact)).await.0, 200);
    let mut other = scaler.clone();
    other["metadata"]["name"] = json!("i");
    cluster.becomes(path, &other, "it is not asked", |made| made["metadata"]["labels"].is_null()).await;
    cluster.stop().await;
}
