//! Claims stay for as long as pods use them, and volumes for as long as a claim has them: both have a finalizer that is
//! taken away when they are deleted and not in use. What came without one gets it.

use std::sync::Arc;

use client::queue::{Outcome, WorkQueue};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Shared;
use crate::common::error::{Error, doing};
use crate::common::key::Key;
use crate::common::{pods, ready};

const OF_CLAIMS: &str = "kubernetes.io/pvc-protection";
const OF_VOLUMES: &str = "kubernetes.io/pv-protection";
const WORKERS: usize = 2;
const BY_CLAIM: &str = "claim";

/// What has to be done about a finalizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Add,
    Remove,
}

fn due(metadata: &ObjectMeta, finalizer: &str, is_used: impl FnOnce() -> bool) -> Option<Due> {
    let has_it = metadata.finalizers.iter().flatten().any(|there| there == finalizer);
    match (metadata.deletion_timestamp.is_some(), has_it) {
        (false, false) => Some(Due::Add),
        (true, true) if !is_used() => Some(Due::Remove),
        _ => None,
    }
}

/// The claims of a pod, by their names: those that it names and, where they count, its own.
fn claims_of(pod: &Pod, with_own: bool) -> Vec<String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let claim = |volume: &Volume| match &volume.persistent_volume_claim {
        Some(source) => Some(source.claim_name.clone()),
        None if volume.ephemeral.is_some() && with_own => Some(format!("{}-{}", pod.name_any(), volume.name)),
        None => None,
    };
    volumes.filter_map(claim).collect()
}

/// The claims that a pod keeps from going; its own for as long as its node has it. A pod without a node keeps none:
/// no node starts it with a claim that goes.
fn kept_by(pod: &Pod) -> Vec<String> {
    if pods::node_name(pod).is_empty() {
        return Vec::new();
    }
    let is_gone = pods::is_terminating(pod) && pod.metadata.deletion_grace_period_seconds == Some(0);
    claims_of(pod, !is_gone)
}

fn has_claim(volume: &PersistentVolume) -> bool {
    volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}

/// Watches over claims until shutdown.
///
/// # Errors
/// None; failures are retried.
pub async fn run_claims(shared: Shared) -> Result<(), Error> {
    let context = &shared.context;
    let queue = WorkQueue::<Key>::new("persistentvolumeclaim-protection");
    let claims = context.informers.all::<PersistentVolumeClaim>();
    let all_pods = context.informers.all::<Pod>();
    let users = all_pods.index(BY_CLAIM, |pod| {
        let namespace = pod.namespace().unwrap_or_default();
        kept_by(pod).into_iter().map(|claim| format!("{namespace}/{claim}")).collect()
    });
    let enqueue = queue.clone();
    claims.on_change(move |change| enqueue.add(Key::of(&change.object().metadata)));
    let enqueue = queue.clone();
    all_pods.on_change(move |change| {
        let namespace = change.object().namespace().unwrap_or_default();
        for name in claims_of(change.object(), true) {
            enqueue.add(Key::new(&namespace, &name));
        }
    });
    if !ready(context, async { tokio::join!(claims.synced(), all_pods.synced()) }).await {
        return Ok(());
    }
    let client = context.client.clone();
    let work = move |key: Key| {
        let claim = claims.get(&key.namespace, &key.name);
        let is_used = !users.get(&format!("{}/{}", key.namespace, key.name)).is_empty();
        let client = client.clone();
        async move {
            let Some((claim, due)) =
                claim.and_then(|claim| Some((claim.clone(), due(&claim.metadata, OF_CLAIMS, || is_used)?)))
            else {
                return Ok(Outcome::Done);
            };
            // The cache may be behind, and what is taken away is gone.
            if due == Due::Remove && is_used_now(&client, &key).await? {
                return Ok(Outcome::Done);
            }
            let api: Api<PersistentVolumeClaim> = Api::namespaced(client, &key.namespace);
            mark(&api, &claim.metadata, OF_CLAIMS, due).await.map(|()| Outcome::Done)
        }
    };
    queue.run_until(&context.shutdown, WORKERS, work).await;
    Ok(())
}

async fn is_used_now(client: &kube::Client, key: &Key) -> Result<bool, Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &key.namespace);
    let all = api.list(&ListParams::default()).await.map_err(doing(format!("list pods of {}", key.namespace)))?;
    Ok(all.items.iter().any(|pod| kept_by(pod).contains(&key.name)))
}

/// Watches over volumes until shutdown.
///
/// # Errors
/// None; failures are retried.
pub async fn run_volumes(shared: Shared) -> Result<(), Error> {
    let context = &shared.context;
    let queue = WorkQueue::<String>::new("persistentvolume-protection");
    let volumes = context.informers.all::<PersistentVolume>();
    let enqueue = queue.clone();
    volumes.on_change(move |change| enqueue.add(change.object().name_any()));
    if !ready(context, volumes.synced()).await {
        return Ok(());
    }
    let api: Api<PersistentVolume> = Api::all(context.client.clone());
    let work = move |name: String| {
        let (volume, api): (Option<Arc<PersistentVolume>>, _) = (volumes.get("", &name), api.clone());
        async move {
            let due = volume.as_ref().and_then(|volume| due(&volume.metadata, OF_VOLUMES, || has_claim(volume)));
            if let (Some(volume), Some(due)) = (volume, due) {
                mark(&api, &volume.metadata, OF_VOLUMES, due).await?;
            }
            Ok::<_, Error>(Outcome::Done)
        }
    };
    queue.run_until(&context.shutdown, WORKERS, work).await;
    Ok(())
}

async fn mark<K>(api: &Api<K>, metadata: &ObjectMeta, finalizer: &str, due: Due) -> Result<(), Error>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let name = metadata.name.as_deref().unwrap_or_default();
    match api.patch(name, &PatchParams::default(), &Patch::Strategic(patch(metadata, finalizer, due))).await {
        Err(error) if client::is_not_found(&error) => Ok(()),
        other => other.map(drop).map_err(doing(format!("change the finalizers of {name}"))),
    }
}

/// Of the object that was looked at, as it was: another of its name, or one that has changed, is looked at anew.
fn patch(metadata: &ObjectMeta, finalizer: &str, due: Due) -> Value {
    let (uid, version) = (&metadata.uid, &metadata.resource_version);
    match due {
        Due::Add => json!({"metadata": {"uid": uid, "resourceVersion": version, "finalizers": [finalizer]}}),
        Due::Remove => json!({"metadata": {
            "uid": uid, "resourceVersion": version, "$deleteFromPrimitiveList/finalizers": [finalizer],
        }}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_and_is_not_used_loses_its_finalizer_and_what_stays_gets_one() {
        let object = |deleted: bool, finalizers: Value| -> ObjectMeta {
            let at = if deleted { json!("2026-01-01T00:00:00Z") } else { Value::Null };
            serde_json::from_value(json!({"name": "c", "deletionTimestamp": at, "finalizers": finalizers})).unwrap()
        };
        let cases = [
            (object(false, json!([])), true, Some(Due::Add)),
            (object(false, json!([OF_CLAIMS])), false, None),
            (object(true, json!([OF_CLAIMS, "a/b"])), true, None),
            (object(true, json!([OF_CLAIMS, "a/b"])), false, Some(Due::Remove)),
            (object(true, json!(["a/b"])), false, None),
        ];
        for (metadata, is_used, expected) in cases {
            assert_eq!(due(&metadata, OF_CLAIMS, || is_used), expected, "{metadata:?} {is_used}");
        }
    }

    #[test]
    fn pods_on_nodes_keep_the_claims_they_name_and_their_own() {
        let pod = |node: &str, grace_s: Value| -> Pod {
            let at = if grace_s.is_null() { Value::Null } else { json!("2026-01-01T00:00:00Z") };
            serde_json::from_value(json!({
                "metadata": {"name": "p", "deletionTimestamp": at, "deletionGracePeriodSeconds": grace_s},
                "spec": {"nodeName": node, "containers": [], "volumes": [
                    {"name": "a", "persistentVolumeClaim": {"claimName": "data"}},
                    {"name": "b", "ephemeral": {}}, {"name": "c", "emptyDir": {}},
                ]},
            }))
            .unwrap()
        };
        assert_eq!(kept_by(&pod("n", Value::Null)), ["data", "p-b"]);
        assert_eq!(kept_by(&pod("n", json!(30))), ["data", "p-b"]);
        assert_eq!(kept_by(&pod("n", json!(0))), ["data"]);
        assert!(kept_by(&pod("", Value::Null)).is_empty());
    }
}
