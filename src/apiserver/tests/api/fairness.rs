//! Priority and fairness as clients see them.

use apiserver::plugin::Plugins;
use serde_json::{Value, json};

use crate::streams::exchange;
use crate::support::{TestServer, eventually, start, start_configured};

const SCHEMAS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
const LEVELS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";

fn level(name: &str, response: Value) -> Value {
    json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "PriorityLevelConfiguration",
        "metadata": {"name": name},
        "spec": {"type": "Limited", "limited":
            {"nominalConcurrencyShares": 0, "borrowingLimitPercent": 0, "limitResponse": response}},
    })
}

/// A schema of everybody's requests in one namespace.
fn schema(name: &str, level: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "FlowSchema",
        "metadata": {"name": name},
        "spec": {
            "priorityLevelConfiguration": {"name": level},
            "matchingPrecedence": 10,
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [{
                "subjects": [{"kind": "Group", "group": {"name": "system:unauthenticated"}}],
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": [namespace]}],
            }],
        },
    })
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\nHost: a\n\n")
}

async fn uid(server: &TestServer, path: &str) -> String {
    let (_, object) = server.get(path).await;
    object["metadata"]["uid"].as_str().unwrap_or_default().to_string()
}

// conformance: FlowSchema v1 and PriorityLevelConfiguration v1
#[tokio::test(flavor = "multi_thread")]
async fn answers_say_where_requests_belong_and_refusals_when_to_come_again() {
    let server = start().await;
    let closed = server.create(LEVELS, level("closed", json!({"type": "Reject"}))).await;
    let flood = server.create(SCHEMAS, schema("flood", "closed", "flooded")).await;
    let of = |value: &Value| value["metadata"]["uid"].as_str().expect("a uid").to_string();
    // From when it is stored, without a restart.
    let (head, body) = eventually("the level refuses", || async {
        let answer = exchange(&server, &get("/api/v1/namespaces/flooded/configmaps")).await;
        answer.0.starts_with("http/1.1 429").then_some(answer)
    })
    .await;
    assert!(head.contains("retry-after: 1\r\n"), "{head}");
    assert!(head.contains(&format!("x-kubernetes-pf-flowschema-uid: {}\r\n", of(&flood))), "{head}");
    assert!(head.contains(&format!("x-kubernetes-pf-prioritylevel-uid: {}\r\n", of(&closed))), "{head}");
    let status: Value = serde_json::from_slice(&body).expect("a Status");
    assert_eq!((&status["reason"], &status["code"]), (&json!("TooManyRequests"), &json!(429)));
    assert_eq!(status["message"], "Too many requests, please try again later.");
    // Everybody else goes on.
    let (head, _) = exchange(&server, &get("/api/v1/namespaces/default/configmaps")).await;
    let global = uid(&server, &format!("{SCHEMAS}/global-default")).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains(&format!("x-kubernetes-pf-flowschema-uid: {global}\r\n")), "{head}");
    let metrics = exchange(&server, &get("/metrics")).await.1;
    let metrics = String::from_utf8_lossy(&metrics);
    for line in [
        "apiserver_flowcontrol_rejected_requests_total{flow_schema=\"flood\",priority_level=\"closed\",reason=\"concurrency-limit\"}",
        "apiserver_flowcontrol_nominal_limit_seats{priority_level=\"workload-low\"} 245\n",
        "apiserver_flowcontrol_nominal_limit_seats{priority_level=\"closed\"} 0\n",
        "apiserver_flowcontrol_dispatched_requests_total{flow_schema=\"global-default\",priority_level=\"global-default\"}",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    // A level that is gone leaves its schemas to nobody, and says so.
    server.json("DELETE", &format!("{LEVELS}/closed"), "", "").await;
    eventually("requests belong elsewhere", || async {
        let (head, _) = exchange(&server, &get("/api/v1/namespaces/flooded/configmaps")).await;
        head.contains(&format!("x-kubernetes-pf-flowschema-uid: {global}\r\n")).then_some(())
    })
    .await;
    eventually("the schema says so", || async {
        let (_, object) = server.get(&format!("{SCHEMAS}/flood")).await;
        let condition = &object["status"]["conditions"][0];
        (condition["type"] == "Dangling" && condition["status"] == "True").then_some(())
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_in_queues_and_the_debug_pages_show_them() {
    // Every seat is a user's whose bodies never come to their end.
    let server = start_configured(Plugins::allow_all(), |config| {
        (config.limits.reads_in_flight, config.limits.writes_in_flight) = (0, 1);
    })
    .await;
    let queue = json!({"type": "Queue", "queuing": {"queues": 4, "handSize": 1, "queueLengthLimit": 3}});
    let mut open = level("open", queue);
    open["spec"]["limited"]["nominalConcurrencyShares"] = json!(1);
    server.create(LEVELS, open).await;
    let schema = server.create(SCHEMAS, schema("people", "open", "default")).await;
    let uid = schema["metadata"]["uid"].as_str().expect("a uid").to_string();
    eventually("the schema counts", || async {
        let (head, _) = exchange(&server, &get("/api/v1/namespaces/default/configmaps")).await;
        head.contains(&uid).then_some(())
    })
    .await;
    let slow = "POST /api/v1/namespaces/default/configmaps?timeout=4s HTTP/1.1\nHost: a\nContent-Type: application/json\n\
                Content-Length: 100\n\n{";
    let held = exchange(&server, slow);
    let waiting = async {
        let page = "/debug/api_priority_and_fairness/dump_priority_levels";
        eventually("the seat is taken", || async {
            let (_, text) = exchange(&server, &get(page)).await;
            let text = String::from_utf8_lossy(&text).into_owned();
            let line = text.lines().find(|line| line.starts_with("open"))?.to_string();
            (line.split(',').map(str::trim).nth(5) == Some("1")).then_some(())
        })
        .await;
        let list = get("/api/v1/namespaces/default/configmaps");
        let own = exchange(&server, &list);
        let shown = eventually("the request waits", || async {
            let page = "/debug/api_priority_and_fairness/dump_requests?includeRequestDetails=1";
            let (_, text) = exchange(&server, &get(page)).await;
            let text = String::from_utf8_lossy(&text).into_owned();
            text.lines().find(|line| line.starts_with("open")).map(str::to_string)
        });
        tokio::join!(own, shown)
    };
    let ((slow, status), ((own, _), shown)) = tokio::join!(held, waiting);
    assert!(shown.contains("people") && shown.contains("system:anonymous") && shown.contains("configmaps"), "{shown}");
    // Once the time of the slow one is over the other has its seat.
    assert!(slow.starts_with("http/1.1 504"), "{slow}");
    let status: Value = serde_json::from_slice(&status).expect("a Status");
    assert_eq!(status["message"], "Timeout: request did not complete within the allotted timeout");
    assert!(own.starts_with("http/1.1 200"), "{own}");
    server.stop().await;
}
