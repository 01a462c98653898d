//! kube-rs' runtime, with which programs in Rust follow and control objects: watchers in both of their ways to begin,
//! a reflector, and a controller with a finalizer and what it owns.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::finalizer::{self, finalizer};
use kube::runtime::reflector::{self, reflector};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Resource, ResourceExt};
use serde_json::json;

use crate::support::{PATIENCE, TestServer, eventually, start};

/// What the controller holds objects with.
const FINALIZER: &str = "tests.example.com/hold";

fn maps(server: &TestServer) -> Api<ConfigMap> {
    Api::namespaced(server.client.clone(), "default")
}

fn map(name: &str, label: &str) -> ConfigMap {
    let labels = BTreeMap::from([("of".to_string(), label.to_string())]);
    let metadata = ObjectMeta { name: Some(name.to_string()), labels: Some(labels), ..ObjectMeta::default() };
    ConfigMap { metadata, ..ConfigMap::default() }
}

/// The next event, as a word and a name.
async fn next<S>(events: &mut S) -> String
where
    S: Stream<Item = watcher::Result<Event<ConfigMap>>> + Unpin,
{
    let event = tokio::time::timeout(PATIENCE, events.next()).await.expect("an event in time").expect("no end");
    match event.expect("an event") {
        Event::Init => "init".to_string(),
        Event::InitApply(map) => format!("has {}", map.name_any()),
        Event::InitDone => "done".to_string(),
        Event::Apply(map) => format!("apply {}", map.name_any()),
        Event::Delete(map) => format!("delete {}", map.name_any()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_lists_and_follows_in_pages_and_in_streams() {
    let server = start().await;
    let api = maps(&server);
    for name in ["a", "b", "c"] {
        api.create(&PostParams::default(), &map(name, "x")).await.expect("created");
    }
    api.create(&PostParams::default(), &map("other", "y")).await.expect("created");
    let config = || watcher::Config::default().labels("of=x");
    for config in [config().page_size(2), config().streaming_lists()] {
        let mut events = Box::pin(watcher(api.clone(), config));
        let mut begins = Vec::new();
        for _ in 0..5 {
            begins.push(next(&mut events).await);
        }
        assert_eq!(begins, ["init", "has a", "has b", "has c", "done"]);
        let label = Patch::Merge(json!({"data": {"k": "v"}}));
        api.patch("b", &PatchParams::default(), &label).await.expect("patched");
        assert_eq!(next(&mut events).await, "apply b");
        api.create(&PostParams::default(), &map("d", "x")).await.expect("created");
        assert_eq!(next(&mut events).await, "apply d");
        api.delete("d", &DeleteParams::default()).await.expect("deleted");
        assert_eq!(next(&mut events).await, "delete d");
        let back = Patch::Merge(json!({"data": null}));
        api.patch("b", &PatchParams::default(), &back).await.expect("patched");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reflector_misses_nothing_though_its_watches_end() {
    let server = start().await;
    let api = maps(&server);
    let (store, writer) = reflector::store::<ConfigMap>();
    let followed = reflector(writer, watcher(api.clone(), watcher::Config::default().timeout(1)));
    let follows = tokio::spawn(followed.default_backoff().applied_objects().for_each(|_| async {}));
    for number in 0..30 {
        api.create(&PostParams::default(), &map(&format!("m{number}"), "x")).await.expect("created");
        tokio::time::sleep(Duration::from_millis(80)).await;
    }
    eventually("all are there", || async { (store.len() == 30).then_some(()) }).await;
    api.delete_collection(&DeleteParams::default(), &Default::default()).await.expect("deleted");
    eventually("none is there", || async { store.is_empty().then_some(()) }).await;
    follows.abort();
    server.stop().await;
}

struct Shared {
    maps: Api<ConfigMap>,
    secrets: Api<Secret>,
}

type Failure = finalizer::Error<kube::Error>;

/// Each map has a secret of its name, and when it goes a map called after it tells so.
async fn reconcile(map: Arc<ConfigMap>, shared: Arc<Shared>) -> Result<Action, Failure> {
    finalizer(&shared.maps, FINALIZER, map, |event| async {
        match event {
            finalizer::Event::Apply(map) => {
                let owner = map.controller_owner_ref(&()).expect("it is stored");
                let secret = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"k": "v"},
                    "metadata": {"name": map.name_any(), "ownerReferences": [owner]}});
                let applied = PatchParams::apply("tests").force();
                shared.secrets.patch(&map.name_any(), &applied, &Patch::Apply(secret)).await?;
            }
            finalizer::Event::Cleanup(map) => {
                shared
                    .maps
                    .create(&PostParams::default(), &self::map(&format!("{}-was-here", map.name_any()), "y"))
                    .await?;
            }
        }
        Ok(Action::await_change())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_puts_right_what_it_owns_and_is_asked_before_an_object_goes() {
    let server = start().await;
    let shared = Arc::new(Shared { maps: maps(&server), secrets: Api::namespaced(server.client.clone(), "default") });
    let selected = watcher::Config::default().labels("of=x");
    let running = Controller::new(shared.maps.clone(), selected)
        .owns(shared.secrets.clone(), watcher::Config::default())
        .run(reconcile, |_, _: &Failure, _| Action::requeue(Duration::from_millis(100)), shared.clone())
        .for_each(|_| async {});
    let running = tokio::spawn(running);
    shared.maps.create(&PostParams::default(), &map("one", "x")).await.expect("created");
    let secret = || async { shared.secrets.get_opt("one").await.expect("an answer") };
    let first = eventually("the secret is there", secret).await;
    assert_eq!(first.owner_references()[0].kind, "ConfigMap");
    shared.secrets.delete("one", &DeleteParams::default()).await.expect("deleted");
    let again = eventually("the secret is there again", secret).await;
    assert_ne!(again.uid(), first.uid());
    shared.maps.delete("one", &DeleteParams::default()).await.expect("deleted");
    eventually("it was asked", || async { shared.maps.get_opt("one-was-here").await.expect("an answer") }).await;
    eventually("the map is gone", || async {
        shared.maps.get_opt("one").await.expect("an answer").is_none().then_some(())
    })
    .await;
    running.abort();
    server.stop().await;
}
