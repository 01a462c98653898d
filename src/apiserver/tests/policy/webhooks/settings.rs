//! What configurations say of when webhooks are asked, and what becomes of the request where they do not answer.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{MUTATING, VALIDATING};
use crate::hooks::{Hooks, MAPS, allow, configuration, deny, map, patch, place, pod};
use crate::support::{Cluster, eventually};

const OF: (&str, &str, &str) = ("", "v1", "configmaps");

/// A server that refuses all on `/deny` and labels all on `/label`.
async fn strict() -> Hooks {
    Hooks::start(|path, review| {
        Some(match path {
            "/deny" => deny(review, "no"),
            _ => patch(review, &json!([{"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}}])),
        })
    })
    .await
}

/// Waits until a webhook of the kind has an effect on a new ConfigMap, or none.
async fn acts(cluster: &Cluster, kind: &str, name: &str, acts: bool) {
    eventually(if acts { "the webhook is asked" } else { "the webhook is not asked" }, || async {
        let (code, made) = cluster.ask("POST", &format!("{MAPS}?dryRun=All"), Some(&map(name, json!({})))).await;
        let acted = match kind {
            MUTATING => made["metadata"]["labels"]["seen"] == "yes",
            _ => code == 403,
        };
        (acted == acts).then_some(())
    })
    .await;
}

fn path(kind: &str) -> &'static str {
    if kind == MUTATING { "/label" } else { "/deny" }
}

// conformance: failurePolicy=Fail with no usable CA: every matching operation is rejected
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_cannot_be_trusted_fails_closed() {
    let cluster = Cluster::start_local().await;
    let hooks = Hooks::start(|_, review| Some(allow(review))).await;
    let mut webhook = hooks.webhook("closed", "/", &["CREATE"], OF);
    webhook["clientConfig"].as_object_mut().expect("an object").remove("caBundle");
    webhook["failurePolicy"] = json!("Fail");
    cluster.configure(VALIDATING, "closed", &[webhook]).await;
    let words = "failed calling webhook \"closed.example.com\": failed to call webhook: Post";
    cluster.is_refused(MAPS, &map("m", json!({})), words).await;
    let (code, status) = cluster.ask("POST", MAPS, Some(&map("m", json!({})))).await;
    let message = status["message"].as_str().expect("a message");
    assert_eq!((code, &status["reason"]), (500, &json!("InternalError")));
    assert!(message.ends_with("x509: certificate signed by unknown authority"), "{message}");
    assert!(hooks.seen("/").is_empty());
    cluster.stop().await;
}

// conformance: timeoutSeconds × failurePolicy matrix (short+Fail → error, Ignore → allowed, 10 s and default → allowed)
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_webhook_is_given_up_as_its_configuration_says() {
    let cluster = Cluster::start_local().await;
    let hooks = Hooks::start(|path, review| {
        if path == "/slow" {
            // Slower than the shortest limit and quicker than the others.
            std::thread::sleep(Duration::from_millis(1500));
        }
        Some(allow(review))
    })
    .await;
    for (index, (timeout, policy, allowed)) in
        [(json!(1), "Fail", false), (json!(1), "Ignore", true), (json!(10), "Fail", true), (Value::Null, "Fail", true)]
            .into_iter()
            .enumerate()
    {
        let name = format!("slow-{index}");
        let mut slow = hooks.webhook("slow", "/slow", &["CREATE"], OF);
        slow["failurePolicy"] = json!(policy);
        if !timeout.is_null() {
            slow["timeoutSeconds"] = timeout.clone();
        }
        let made = cluster.configure(VALIDATING, &name, &[slow]).await;
        assert_eq!(made["webhooks"][0]["timeoutSeconds"], if timeout.is_null() { json!(10) } else { timeout });
        let before = hooks.seen("/slow").len();
        eventually("it is asked", || async {
            cluster.ask("POST", &format!("{MAPS}?dryRun=All"), Some(&map("tried", json!({})))).await;
            (hooks.seen("/slow").len() > before).then_some(())
        })
        .await;
        let began = Instant::now();
        let (code, answer) = cluster.ask("POST", MAPS, Some(&map(&name, json!({})))).await;
        assert_eq!(code == 201, allowed, "{policy} {answer}");
        assert!(began.elapsed() < Duration::from_secs(10));
        if !allowed {
            let message = answer["message"].as_str().expect("a message");
            assert!(message.ends_with("?timeout=1s\": context deadline exceeded"), "{message}");
        }
        cluster.ask("DELETE", &format!("{}/{name}", place(VALIDATING)), None).await;
        eventually("it is not asked", || async {
            let before = hooks.seen("/slow").len();
            cluster.ask("POST", &format!("{MAPS}?dryRun=All"), Some(&map("tried", json!({})))).await;
            (hooks.seen("/slow").len() == before).then_some(())
        })
        .await;
    }
    cluster.stop().await;
}

// conformance: list 10 labelled configs, deletecollection them, effect stops: mutating, validating (2)
#[tokio::test(flavor = "multi_thread")]
async fn configurations_are_listed_and_deleted_together() {
    let cluster = Cluster::start_local().await;
    let hooks = strict().await;
    for kind in [MUTATING, VALIDATING] {
        for number in 0..10 {
            let webhook = hooks.webhook("one", path(kind), &["CREATE"], OF);
            let mut object = configuration(kind, &format!("c{number}"), &[webhook]);
            object["metadata"]["labels"] = json!({"set": "mine"});
            cluster.made(&place(kind), &object).await;
        }
        acts(&cluster, kind, "m", true).await;
        let selected = format!("{}?labelSelector=set%3Dmine", place(kind));
        let (_, list) = cluster.ask("GET", &selected, None).await;
        assert_eq!(list["items"].as_array().map(Vec::len), Some(10));
        assert_eq!(cluster.ask("DELETE", &selected, None).await.0, 200);
        let (_, list) = cluster.ask("GET", &selected, None).await;
        assert_eq!(list["items"].as_array().map(Vec::len), Some(0));
        acts(&cluster, kind, "m", false).await;
    }
    cluster.stop().await;
}

// conformance: update/patch rules to drop then re-add CREATE: mutating, validating (2)
#[tokio::test(flavor = "multi_thread")]
async fn rules_bind_as_they_are_now() {
    let cluster = Cluster::start_local().await;
    let hooks = strict().await;
    for kind in [MUTATING, VALIDATING] {
        let webhook = hooks.webhook("rules", path(kind), &["CREATE"], OF);
        let mut made = cluster.configure(kind, "rules", &[webhook]).await;
        acts(&cluster, kind, "m", true).await;
        let at = format!("{}/rules", place(kind));
        made["webhooks"][0]["rules"][0]["operations"] = json!(["UPDATE"]);
        let (code, updated) = cluster.ask("PUT", &at, Some(&made)).await;
        assert_eq!((code, &updated["metadata"]["generation"]), (200, &json!(2)));
        acts(&cluster, kind, "m", false).await;
        let mut webhooks = updated["webhooks"].clone();
        webhooks[0]["rules"][0]["operations"] = json!(["CREATE"]);
        assert_eq!(cluster.ask("PATCH", &at, Some(&json!({"webhooks": webhooks}))).await.0, 200);
        acts(&cluster, kind, "m", true).await;
        cluster.ask("DELETE", &at, None).await;
        acts(&cluster, kind, "m", false).await;
    }
    cluster.stop().await;
}

// conformance: matchConditions stored and updatable: mutating, validating (2)
// conformance: matchConditions exclude one object by name ("skip-me")
#[tokio::test(flavor = "multi_thread")]
async fn conditions_say_which_objects_are_meant() {
    let cluster = Cluster::start_local().await;
    let hooks = strict().await;
    for kind in [MUTATING, VALIDATING] {
        let mut webhook = hooks.webhook("conditions", path(kind), &["CREATE"], OF);
        let conditions = json!([{"name": "skip", "expression": "object.metadata.name != 'skip-me'"}]);
        webhook["matchConditions"] = conditions.clone();
        let mut made = cluster.configure(kind, "conditions", &[webhook]).await;
        assert_eq!(made["webhooks"][0]["matchConditions"], conditions);
        acts(&cluster, kind, "m", true).await;
        acts(&cluster, kind, "skip-me", false).await;
        let others = json!([
            {"name": "other", "expression": "request.name != 'm' && request.operation == 'CREATE'"},
            {"name": "may", "expression": "!authorizer.group('').resource('configmaps').check('create').allowed() || true"},
        ]);
        made["webhooks"][0]["matchConditions"] = others.clone();
        let at = format!("{}/conditions", place(kind));
        let (_, updated) = cluster.ask("PUT", &at, Some(&made)).await;
        assert_eq!(updated["webhooks"][0]["matchConditions"], others);
        acts(&cluster, kind, "skip-me", true).await;
        cluster.ask("DELETE", &at, None).await;
        acts(&cluster, kind, "skip-me", false).await;
    }
    cluster.stop().await;
}

// conformance: invalid CEL in matchConditions rejected with "compilation failed": mutating, validating (2)
#[tokio::test(flavor = "multi_thread")]
async fn conditions_that_do_not_compile_are_refused() {
    let cluster = Cluster::start_local().await;
    let hooks = strict().await;
    for kind in [MUTATING, VALIDATING] {
        let mut webhook = hooks.webhook("broken", path(kind), &["CREATE"], OF);
        webhook["matchConditions"] = json!([{"name": "broken", "expression": "... [] bad expression"}]);
        let refused = cluster.refused("POST", &place(kind), Some(&configuration(kind, "broken", &[webhook]))).await;
        assert!(refused.contains("compilation failed"), "{refused}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_that_cannot_be_evaluated_refuse_unless_failures_are_ignored() {
    let cluster = Cluster::start_local().await;
    let hooks = strict().await;
    for (policy, code) in [("Fail", 403), ("Ignore", 201)] {
        let mut webhook = hooks.webhook("unknown", "/deny", &["CREATE"], OF);
        webhook["matchConditions"] = json!([{"name": "unknown", "expression": "object.data.missing == 'x'"}]);
        webhook["failurePolicy"] = json!(policy);
        cluster.configure(VALIDATING, "unknown", &[webhook]).await;
        let object = map("m", json!({"a": "b"}));
        eventually("the configuration is known", || async {
            let (found, status) = cluster.ask("POST", &format!("{MAPS}?dryRun=All"), Some(&object)).await;
            let told =
                code == 201 || status["message"].as_str().is_some_and(|text| text.contains("no such key: missing"));
            (found == code && told).then_some(())
        })
        .await;
        assert!(hooks.seen("/deny").is_empty());
        cluster.ask("DELETE", &format!("{}/unknown", place(VALIDATING)), None).await;
        cluster.becomes(MAPS, &object, "the configuration is gone", |_| true).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn this_hosts_own_addresses_are_not_called() {
    let cluster = Cluster::start().await;
    let hooks = strict().await;
    let webhook = hooks.webhook("local", "/deny", &["CREATE"], OF);
    cluster.configure(VALIDATING, "local", &[webhook]).await;
    cluster.is_refused(MAPS, &map("m", json!({})), ": address not allowed").await;
    assert!(hooks.seen("/deny").is_empty());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_a_webhook_makes_too_large_is_refused_in_its_name() {
    let cluster = Cluster::start_local().await;
    let hooks = Hooks::start(|path, review| {
        let bytes = if path == "/patch" { 3_200_000 } else { 9_000_000 };
        Some(patch(review, &json!([{"op": "add", "path": "/data/large", "value": "x".repeat(bytes)}])))
    })
    .await;
    for (path, words) in [
        ("/patch", "admission webhook \"large.example.com\" made an object that is 3200"),
        ("/answer", "failed calling webhook \"large.example.com\""),
    ] {
        let webhook = hooks.webhook("large", path, &["CREATE"], ("", "v1", "configmaps"));
        cluster.configure(MUTATING, "large", &[webhook]).await;
        cluster.is_refused(MAPS, &map("m", json!({"a": "b"})), words).await;
        let (code, gone) = cluster.ask("DELETE", &format!("{}/large", place(MUTATING)), None).await;
        assert_eq!(code, 200, "{gone}");
        eventually("it is asked no more", || async {
            let (code, _) = cluster.ask("POST", &format!("{MAPS}?dryRun=All"), Some(&map("m", json!({})))).await;
            (code == 201).then_some(())
        })
        .await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_webhook_adds_to_the_body_of_a_subresource_goes_by_its_schema() {
    let cluster = Cluster::start_local().await;
    cluster.with_account().await;
    let pods = "/api/v1/namespaces/default/pods";
    cluster.made(pods, &pod("p")).await;
    let hooks = Hooks::start(|path, review| {
        let add = |path: &str, value: Value| json!({"op": "add", "path": path, "value": value});
        match (path, review["request"]["subResource"].as_str()) {
            ("/change", Some("eviction")) => {
                Some(patch(review, &json!([add("/unknown", json!(1)), add("/deleteOptions", json!({"other": 2}))])))
            }
            ("/change", _) => Some(patch(review, &json!([add("/unknown", json!(1))]))),
            _ => Some(allow(review)),
        }
    })
    .await;
    for (kind, path) in [(MUTATING, "/change"), (VALIDATING, "/look")] {
        let mut webhook = hooks.webhook("body", path, &["CREATE"], ("", "v1", "pods/eviction"));
        webhook["rules"][0]["resources"] = json!(["pods/eviction", "pods/binding"]);
        cluster.configure(kind, "body", &[webhook]).await;
    }
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"name": "n"}});
    for (subresource, body) in [("eviction", &eviction), ("binding", &binding)] {
        let seen = eventually("it is shown as it has become", || async {
            cluster.ask("POST", &format!("{pods}/p/{subresource}?dryRun=All"), Some(body)).await;
            let changed = !hooks.seen("/change").is_empty();
            let is_own = |review: &Value| review["request"]["subResource"] == subresource;
            hooks.seen("/look").into_iter().rfind(is_own).filter(|_| changed)
        })
        .await;
        let object = &seen["request"]["object"];
        assert!(object["unknown"].is_null() && object["deleteOptions"]["other"].is_null(), "{object}");
        assert_eq!(object["kind"], body["kind"]);
    }
    cluster.stop().await;
}
