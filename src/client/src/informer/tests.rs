use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::fake::{self, Fake};

const PATH: &str = "/api/v1/configmaps";

fn map(name: &str, revision: u32, data: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "n", "uid": name, "resourceVersion": revision.to_string(),
        "managedFields": [{"manager": "x"}]}, "data": {"k": data}})
}

fn list(revision: u32, items: &[Value], more: &str) -> fake::Answer {
    fake::json(200, json!({"metadata": {"resourceVersion": revision.to_string(), "continue": more}, "items": items}))
}

fn event(type_: &str, object: Value) -> Value {
    json!({"type": type_, "object": object})
}

/// An informer and its changes as text.
fn start(fake: &Fake) -> (Informer<ConfigMap>, mpsc::UnboundedReceiver<String>) {
    let informers = Informers::new(fake.client(), CancellationToken::new());
    let informer = informers.all::<ConfigMap>();
    let (sender, receiver) = mpsc::unbounded_channel();
    informer.on_change(move |change| {
        let name =
            |map: &ConfigMap| format!("{}={}", map.metadata.name.as_deref().unwrap(), map.data.as_ref().unwrap()["k"]);
        let text = match change {
            Change::Added(new) => format!("+{}", name(new)),
            Change::Updated(old, new) => format!("{}>{}", name(old), name(new)),
            Change::Deleted(old) => format!("-{}", name(old)),
        };
        let _ = sender.send(text);
    });
    (informer, receiver)
}

async fn next(changes: &mut mpsc::UnboundedReceiver<String>) -> String {
    tokio::time::timeout(Duration::from_secs(30), changes.recv()).await.expect("a change in time").unwrap()
}

#[tokio::test]
async fn lists_in_pages_then_watches_from_the_lists_revision() {
    let fake = Fake::default();
    fake.on("GET", PATH, list(7, &[map("a", 1, "1")], "more"));
    fake.on("GET", PATH, list(7, &[map("b", 2, "1"), json!({"metadata": 1})], ""));
    let (watch, answer) = fake::lines();
    fake.on("GET", &format!("{PATH}?watch"), answer);
    let (informer, mut changes) = start(&fake);
    informer.synced().await;
    assert_eq!([next(&mut changes).await, next(&mut changes).await], ["+a=1", "+b=1"]);
    let count = informer.index("by-data", |map| map.data.iter().flat_map(|data| data.values().cloned()).collect());
    assert_eq!((count.count("1"), count.count("2")), (2, 0));
    watch.send(event("MODIFIED", map("a", 8, "2"))).unwrap();
    watch.send(event("DELETED", map("b", 9, "1"))).unwrap();
    assert_eq!([next(&mut changes).await, next(&mut changes).await], ["a=1>a=2", "-b=1"]);
    assert!(informer.get("n", "a").unwrap().metadata.managed_fields.is_none());
    assert_eq!((informer.list(None).len(), informer.list(Some("other")).len()), (1, 0));
    assert_eq!((count.count("1"), count.get("2").len()), (0, 1));
    let requests: Vec<String> = fake.requests().into_iter().map(|request| request.uri).collect();
    assert!(requests[1].contains("continue=more"), "{requests:?}");
    assert!(requests[2].contains("resourceVersion=7") && requests[2].contains("allowWatchBookmarks=true"));
    // A handler that comes late sees what is there, before on_change returns.
    let (sender, mut late) = mpsc::unbounded_channel();
    informer.on_change(move |change| drop(sender.send(change.object().metadata.name.clone())));
    assert_eq!(late.try_recv().unwrap(), Some("a".to_string()));
}

#[tokio::test]
async fn a_watch_that_ends_is_resumed_from_the_last_bookmark_without_a_list() {
    let fake = Fake::default();
    fake.on("GET", PATH, list(7, &[map("a", 1, "1")], ""));
    let (watch, answer) = fake::lines();
    fake.on("GET", &format!("{PATH}?watch"), answer);
    let bookmark = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"resourceVersion": "20"}});
    watch.send(event("BOOKMARK", bookmark)).unwrap();
    drop(watch);
    let (watch, answer) = fake::lines();
    fake.on("GET", &format!("{PATH}?watch"), answer);
    let (_informer, mut changes) = start(&fake);
    assert_eq!(next(&mut changes).await, "+a=1");
    watch.send(event("MODIFIED", map("a", 21, "2"))).unwrap();
    assert_eq!(next(&mut changes).await, "a=1>a=2");
    let requests = fake.requests();
    assert_eq!(requests.len(), 3, "one list, two watches: {requests:?}");
    assert!(requests[2].uri.contains("resourceVersion=20"), "{requests:?}");
}

#[tokio::test]
async fn after_410_the_new_list_tells_only_what_differs() {
    let fake = Fake::default();
    fake.on("GET", PATH, list(7, &[map("same", 1, "1"), map("gone", 2, "1"), map("new", 3, "1")], ""));
    let (watch, answer) = fake::lines();
    fake.on("GET", &format!("{PATH}?watch"), answer);
    watch
        .send(event("ERROR", json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})))
        .unwrap();
    let mut anew = map("new", 12, "9");
    anew["metadata"]["uid"] = json!("another");
    fake.on("GET", PATH, list(12, &[map("same", 1, "1"), anew, map("more", 11, "1")], ""));
    let (_watch, answer) = fake::lines();
    fake.on("GET", &format!("{PATH}?watch"), answer);
    let (_informer, mut changes) = start(&fake);
    let mut seen = Vec::new();
    for _ in 0..7 {
        seen.push(next(&mut changes).await);
    }
    assert_eq!(seen, ["+same=1", "+gone=1", "+new=1", "-gone=1", "-new=1", "+new=9", "+more=1"]);
}

#[tokio::test]
async fn a_server_that_is_down_is_asked_again_and_informers_are_shared() {
    let fake = Fake::default();
    let down = json!({"kind": "Status", "status": "Failure", "code": 503, "message": "starting"});
    fake.on("GET", PATH, fake::json(503, down.clone()));
    fake.on("GET", PATH, fake::json(503, down));
    fake.on("GET", PATH, list(7, &[map("a", 1, "1")], ""));
    let (_watch, answer) = fake::lines();
    fake.on("GET", &format!("{PATH}?watch"), answer);
    let informers = Informers::new(fake.client(), CancellationToken::new());
    let (one, two) = (informers.all::<ConfigMap>(), informers.clone().all::<ConfigMap>());
    one.synced().await;
    two.synced().await;
    assert!(Arc::ptr_eq(&one.get("n", "a").unwrap(), &two.get("n", "a").unwrap()));
}
