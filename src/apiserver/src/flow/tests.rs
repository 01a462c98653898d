use serde_json::json;
use store::embedded::{Embedded, Options};
use store::{Precondition, Store};

use super::*;

/// Flow control over a store with one level of this many seats, for users, and another for everyone else.
async fn flow(folder: &tempfile::TempDir, seats: usize) -> (Arc<Flow>, Arc<dyn Store>) {
    let store = Embedded::open(&folder.path().join("state.db"), Options::default()).expect("a store");
    let level = json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "PriorityLevelConfiguration",
        "metadata": {"name": "people", "uid": "level-uid"},
        "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 1000, "limitResponse": {"type": "Queue",
            "queuing": {"queues": 16, "handSize": 4, "queueLengthLimit": 2}}}},
    });
    let schema = json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "FlowSchema",
        "metadata": {"name": "people", "uid": "schema-uid"},
        "spec": {"priorityLevelConfiguration": {"name": "people"}, "matchingPrecedence": 5,
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [{"subjects": [{"kind": "Group", "group": {"name": "people"}}], "resourceRules": [{"verbs": ["*"],
                "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true}]}]},
    });
    for (plural, object) in [("prioritylevelconfigurations", level), ("flowschemas", schema)] {
        let key = live_key(plural, "people");
        store.put(&key, object.to_string().into(), Precondition::Absent).await.expect("is stored");
    }
    let store: Arc<dyn Store> = store;
    let objects = Followed::start(&store).await.expect("objects");
    (Flow::new(seats, objects), store)
}

fn live_key(plural: &str, name: &str) -> String {
    crate::live::prefix("flowcontrol.apiserver.k8s.io", plural, "") + name
}

const LONG: Duration = Duration::from_secs(20);

async fn admit(flow: &Arc<Flow>, store: &Arc<dyn Store>, user: &str, wait: Duration) -> Admission {
    let query = Query::default();
    let path = "/api/v1/namespaces/default/configmaps/x";
    let info = RequestInfo::parse(&http::Method::GET, path, &query);
    let user = User::new(user, &["people"]);
    let served = Served::default();
    let asked = Asked { user: &user, info: &info, query: &query, served: &served, store: store.as_ref() };
    flow.admit(&asked, wait).await
}

#[tokio::test]
async fn requests_wait_for_seats_and_are_refused_after_a_while() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let (flow, store) = flow(&folder, 1).await;
    let first = admit(&flow, &store, "ann", LONG).await;
    let mut headers = HeaderMap::new();
    first.marks.expect("it belongs somewhere").write(&mut headers);
    assert_eq!(headers["x-kubernetes-pf-flowschema-uid"], "schema-uid");
    assert_eq!(headers["x-kubernetes-pf-prioritylevel-uid"], "level-uid");
    let seat = first.seat.expect("a seat");
    let status = admit(&flow, &store, "ann", Duration::from_millis(20)).await.seat.err().expect("is refused");
    assert_eq!((status.code(), status.retry_after_seconds()), (429, 1));
    let waiting = tokio::spawn({
        let (flow, store) = (flow.clone(), store.clone());
        async move { admit(&flow, &store, "bob", LONG).await.seat.map(drop) }
    });
    while !flow.debug_page("dump_requests", true).expect("a page").contains("bob") {
        tokio::task::yield_now().await;
    }
    let levels = flow.debug_page("dump_priority_levels", false).expect("a page");
    let line = levels.lines().find(|line| line.starts_with("people")).expect("a line");
    let cells: Vec<&str> = line.split(',').map(str::trim).collect();
    assert_eq!(cells, ["people", "1", "false", "false", "1", "1"]);
    assert!(flow.debug_page("dump_queues", false).is_some_and(|page| page.lines().count() > 16));
    drop(seat);
    waiting.await.expect("no panic").expect("a seat at last");
    let mut text = String::new();
    flow.render(&mut text);
    let labels = "flow_schema=\"people\",priority_level=\"people\"";
    for line in [
        format!("apiserver_flowcontrol_dispatched_requests_total{{{labels}}} 2\n"),
        format!("apiserver_flowcontrol_rejected_requests_total{{{labels},reason=\"time-out\"}} 1\n"),
        format!("apiserver_flowcontrol_current_inqueue_requests{{{labels}}} 0\n"),
        format!("apiserver_flowcontrol_current_executing_requests{{{labels}}} 0\n"),
    ] {
        assert!(text.contains(&line), "{line} is not in {text}");
    }
}

#[tokio::test]
async fn whoever_goes_away_leaves_its_place() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let (flow, store) = flow(&folder, 1).await;
    let seat = admit(&flow, &store, "ann", LONG).await.seat.expect("a seat");
    for _ in 0..20 {
        // Dropped while it waits.
        let left = tokio::time::timeout(Duration::from_millis(2), admit(&flow, &store, "bob", LONG)).await;
        assert!(left.is_err());
    }
    drop(seat);
    drop(admit(&flow, &store, "bob", LONG).await.seat.expect("a seat at once"));
    assert!(flow.lock().waiters.is_empty());
    assert!(flow.lock().dispatcher.levels().values().all(|level| level.set.is_idle()));
}

#[tokio::test]
async fn who_waits_for_something_of_its_own_lets_others_be_served() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let (flow, store) = flow(&folder, 100).await;
    // More than there are turns, each waiting for what another does.
    let barrier = Arc::new(tokio::sync::Barrier::new(50));
    let serving = (0..50).map(|number| {
        let (flow, store, barrier) = (flow.clone(), store.clone(), barrier.clone());
        tokio::spawn(async move {
            let mut seat = admit(&flow, &store, &format!("user-{}", number % 7), LONG).await.seat.expect("a seat");
            seat.serve(barrier.wait()).await.is_leader()
        })
    });
    let served = tokio::time::timeout(LONG, futures::future::join_all(serving)).await.expect("all are served");
    assert_eq!(served.into_iter().filter(|leader| *leader.as_ref().expect("no panic")).count(), 1);
}

#[tokio::test]
async fn another_configuration_counts_from_when_it_is_stored() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let (flow, store) = flow(&folder, 10).await;
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(flow.clone().run(shutdown.clone()));
    let key = live_key("flowschemas", "people");
    let entry = store.get(&key).await.expect("the store").expect("an object");
    store.delete(&key, entry.mod_revision).await.expect("is deleted");
    let found = tokio::time::timeout(LONG, async {
        loop {
            let admission = admit(&flow, &store, "ann", LONG).await;
            let marks = admission.marks.expect("it belongs somewhere");
            if &*marks.schema != "schema-uid" {
                return marks;
            }
            tokio::task::yield_now().await;
        }
    });
    // What is left is the schema that leaves nobody out.
    assert_eq!(&*found.await.expect("in time").schema, "");
    shutdown.cancel();
    running.await.expect("it ends");
}
