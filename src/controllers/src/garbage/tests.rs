use tokio_util::sync::CancellationToken;

use super::*;

fn resource() -> ServerResource {
    ServerResource {
        group: String::new(),
        version: "v1".into(),
        kind: "ConfigMap".into(),
        plural: "configmaps".into(),
        namespaced: true,
        verbs: vec!["list".into(), "watch".into(), "delete".into()],
    }
}

fn object(uid: &str, owners: &[(&str, bool)], finalizers: &[&str], deleting: bool) -> ObjectMeta {
    let owners: Vec<Value> = owners
        .iter()
        .map(|(uid, blocks)| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": uid, "uid": uid, "blockOwnerDeletion": blocks})
        })
        .collect();
    let mut value =
        json!({"name": uid, "namespace": "n", "uid": uid, "ownerReferences": owners, "finalizers": finalizers});
    if deleting {
        value["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    serde_json::from_value(value).unwrap()
}

/// Takes an object into a graph as an informer would tell of it.
fn set(graph: &mut Graph, metadata: &ObjectMeta) -> Vec<String> {
    let seen: Metadata = serde_json::from_value(json!({"metadata": metadata})).unwrap();
    graph.set(&Arc::new(resource()), &Arc::new(seen))
}

#[test]
fn what_somebody_owns_stays_and_what_nobody_owns_goes() {
    use OwnerState::{Absent, Solid, Waiting};
    let two = object("x", &[("a", false), ("b", true)], &[], false);
    let background = Verdict::Delete(PropagationPolicy::Background);
    let foreground = Verdict::Delete(PropagationPolicy::Foreground);
    for (states, has_dependents, expected) in [
        ([Solid, Solid], false, Verdict::Keep),
        ([Absent, Absent], true, background.clone()),
        ([Absent, Waiting], false, background.clone()),
        ([Waiting, Absent], true, foreground),
    ] {
        assert_eq!(plan::verdict(&two, &states, has_dependents), expected, "{states:?}");
    }
    for left in [Absent, Waiting] {
        let Verdict::Drop(kept) = plan::verdict(&two, &[left, Solid], false) else { panic!("{left:?}") };
        assert_eq!(kept.into_iter().map(|owner| owner.uid).collect::<Vec<_>>(), ["b"]);
    }
    let orphaning = object("x", &[("a", false)], &[ORPHAN], false);
    assert_eq!(plan::verdict(&orphaning, &[Absent], false), Verdict::Delete(PropagationPolicy::Orphan));
}

#[test]
fn the_graph_knows_dependents_and_who_waits_for_them() {
    let mut graph = Graph::default();
    set(&mut graph, &object("child", &[("parent", true)], &[], false));
    assert!(graph.has_unknown_owner("child"));
    set(&mut graph, &object("parent", &[], &[FOREGROUND], true));
    set(&mut graph, &object("cousin", &[("parent", false)], &[], false));
    assert!(!graph.has_unknown_owner("child") && graph.has_waiting_owner("child"));
    assert!(graph.is_in_question("child") && graph.is_in_question("parent"));
    set(&mut graph, &object("stranger", &[], &[], false));
    assert!(!graph.is_in_question("stranger"));
    assert_eq!(graph.blocking_dependents("parent"), ["child"]);
    assert_eq!(graph.dependents("parent").len(), 2);
    assert_eq!(graph.remove("child"), (vec![], vec!["parent".to_string()]), "the parent must be looked at again");
    assert!(graph.blocking_dependents("parent").is_empty());
    assert_eq!(set(&mut graph, &object("cousin", &[], &[], false)), ["parent"]);
    assert_eq!(graph.remove("parent").0, Vec::<String>::new());
}

/// Three that own each other in a circle, and one that hangs on it.
#[test]
fn a_circle_of_owners_is_found_once_all_in_it_wait_and_is_opened_by_one() {
    let mut graph = Graph::default();
    let waiting = |uid, owner| object(uid, &[(owner, true)], &[FOREGROUND], true);
    set(&mut graph, &waiting("a", "c"));
    set(&mut graph, &waiting("b", "a"));
    set(&mut graph, &object("c", &[("b", true)], &[], false));
    set(&mut graph, &waiting("tail", "a"));
    let circle = |graph: &Graph| ["a", "b", "c", "tail"].map(|uid| graph.waits_for_itself(uid));
    assert_eq!(circle(&graph), [false; 4], "c is still to be deleted");
    let c = waiting("c", "b");
    set(&mut graph, &c);
    assert_eq!(circle(&graph), [true, true, true, false]);
    let mut opened = c.clone();
    opened.owner_references = plan::unblocking(&c);
    assert_eq!(set(&mut graph, &opened), ["b"], "b, which waited for c, must be looked at again");
    assert_eq!(circle(&graph), [false; 4]);
    assert_eq!(plan::unblocking(&opened), None, "nothing is written twice");
    set(&mut graph, &waiting("own", "own"));
    assert!(graph.waits_for_itself("own"));
}

#[test]
fn only_what_can_be_watched_and_deleted_is_followed() {
    let mut review = resource();
    review.plural = "tokenreviews".into();
    review.verbs = vec!["create".into()];
    let mut events = resource();
    events.plural = "events".into();
    let discovered = Discovered { resources: vec![resource(), review, events], failed: vec![] };
    assert_eq!(followable(&discovered), [resource()]);
}

/// An API with one owner, a ConfigMap, and what is to be owned, Secrets, which cannot be listed before `listable`.
/// What is patched is told.
fn api(owner: Value, dependent: Value, listable: watch::Receiver<bool>) -> (kube::Client, Patches) {
    let patches = Patches::default();
    let told = patches.clone();
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let (owner, dependent, mut listable, told) = (owner.clone(), dependent.clone(), listable.clone(), told.clone());
        async move {
            let (method, path) = (request.method().clone(), request.uri().path().to_string());
            let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
            let list = |item: Value| json!({"kind": "List", "metadata": {"resourceVersion": "7"}, "items": [item]});
            let body = match (method.as_str(), path.as_str()) {
                ("GET", _) if watches => std::future::pending().await,
                ("GET", "/api/v1/configmaps") => list(owner),
                ("GET", "/api/v1/secrets") => {
                    let _ = listable.wait_for(|listable| *listable).await;
                    list(dependent)
                }
                ("GET", path) if path.ends_with("/configmaps/owner") => owner,
                ("GET", path) if path.ends_with("/secrets/dependent") => dependent,
                ("PATCH", path) => {
                    let name = path.rsplit('/').next().unwrap_or_default().to_string();
                    told.lock().unwrap().push(name);
                    json!({})
                }
                _ => panic!("{method} {path}"),
            };
            let body = kube::client::Body::from(body.to_string().into_bytes());
            Ok::<_, std::convert::Infallible>(http::Response::new(body))
        }
    });
    (kube::Client::new(service, "default"), patches)
}

type Patches = Arc<Mutex<Vec<String>>>;

/// An owner that is being deleted with a finalizer of ours stays until what it may own has been listed.
async fn owner_waits_for_lists(finalizer: &str) {
    let whole = |metadata: ObjectMeta| json!({"metadata": metadata});
    let owner = whole(object("owner", &[], &[finalizer], true));
    let dependent = whole(object("dependent", &[("owner", true)], &[], false));
    let (listable, listed) = watch::channel(false);
    let (client, patches) = api(owner, dependent, listed);
    let shutdown = CancellationToken::new();
    let informers = Informers::new(client.clone(), shutdown.clone());
    let collector = Arc::new(Collector::new(client));
    let secrets = ServerResource { kind: "Secret".into(), plural: "secrets".into(), ..resource() };
    collector.follow(&informers, &[resource(), secrets.clone()]);
    informers.metadata(&resource()).synced().await;
    let task = || match finalizer {
        ORPHAN => Task::Orphan("owner".into()),
        _ => Task::Look("owner".into()),
    };
    assert_eq!(collector.work(task()).await.unwrap(), Outcome::After(LIST_PERIOD));
    assert!(patches.lock().unwrap().is_empty(), "the owner stays");
    listable.send_replace(true);
    informers.metadata(&secrets).synced().await;
    assert_eq!(collector.work(task()).await.unwrap(), Outcome::Done);
    let expected: &[&str] = if finalizer == ORPHAN { &["dependent", "owner"] } else { &[] };
    assert_eq!(*patches.lock().unwrap(), expected, "dependents are cut loose before the owner goes, or go first");
    shutdown.cancel();
}

#[tokio::test]
async fn an_owner_is_not_let_go_before_its_dependents_are_known() {
    owner_waits_for_lists(ORPHAN).await;
    owner_waits_for_lists(FOREGROUND).await;
}
