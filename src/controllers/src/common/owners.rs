//! Who owns what: controller references, adoption and release.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use client::informer::{Index, Informer, Object};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use kube::api::{Api, Patch, PatchParams};
use kube::core::{Selector, SelectorExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::error::{Error, doing};

/// The owner that manages an object.
pub fn controller_of(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// A reference that makes `owner` the controller of what carries it.
pub fn controller_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The uid; empty where there is none.
pub fn uid(metadata: &ObjectMeta) -> &str {
    metadata.uid.as_deref().unwrap_or_default()
}

/// Objects by their controller's uid, and those without one by namespace.
pub fn by_controller<K: Object>(informer: &Informer<K>) -> ByController<K> {
    let index = informer.index("controller", |object| {
        let metadata = object.meta();
        vec![match controller_of(metadata) {
            Some(owner) => owner.uid.clone(),
            None => orphans(metadata.namespace.as_deref().unwrap_or_default()),
        }]
    });
    ByController(index)
}

fn orphans(namespace: &str) -> String {
    format!("orphans/{namespace}")
}

/// Objects by who controls them.
#[derive(Clone)]
pub struct ByController<K>(Index<K>);

impl<K: Object> ByController<K> {
    /// Objects that the owner controls.
    pub fn controlled(&self, uid: &str) -> Vec<Arc<K>> {
        self.0.get(uid)
    }

    /// What the owner controls, and what nobody controls in its namespace.
    pub fn candidates(&self, namespace: &str, uid: &str) -> Vec<Arc<K>> {
        let mut all = self.0.get(uid);
        all.extend(self.0.get(&orphans(namespace)));
        all
    }
}

/// What is an owner's, and what to change so that the references say so.
#[derive(Debug)]
pub struct Claims<K> {
    /// Controlled and selected.
    pub owned: Vec<Arc<K>>,
    /// Selected, and nobody's.
    pub adopt: Vec<Arc<K>>,
    /// Controlled, but not selected any more.
    pub release: Vec<Arc<K>>,
}

/// Sorts out whose the candidates are. An owner that is being deleted takes nothing in.
pub fn claim<K: Object>(owner: &ObjectMeta, selector: &Selector, candidates: Vec<Arc<K>>) -> Claims<K> {
    let mut claims = Claims { owned: Vec::new(), adopt: Vec::new(), release: Vec::new() };
    let owner_leaves = owner.deletion_timestamp.is_some();
    let nothing = BTreeMap::new();
    for object in candidates {
        let metadata = object.meta();
        let selected = selector.matches(metadata.labels.as_ref().unwrap_or(&nothing));
        match controller_of(metadata) {
            Some(controller) if controller.uid != uid(owner) => {}
            Some(_) if selected => claims.owned.push(object),
            Some(_) if owner_leaves => {}
            Some(_) => claims.release.push(object),
            None if selected && !owner_leaves && metadata.deletion_timestamp.is_none() => claims.adopt.push(object),
            None => {}
        }
    }
    claims
}

/// Makes the references say what the claims say. Before something is taken in, the owner is read again, since one
/// that was deleted meanwhile must not take anything.
pub async fn settle<O, K>(client: &kube::Client, owner: &O, claims: &Claims<K>) -> Result<(), Error>
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    K: Object + Resource<Scope = NamespaceResourceScope>,
{
    settle_holding(client, owner, claims, None).await
}

/// As [`settle`], for an owner that holds what it has by a finalizer: what is taken in gets it, what is let go loses
/// it.
pub async fn settle_holding<O, K>(
    client: &kube::Client,
    owner: &O,
    claims: &Claims<K>,
    finalizer: Option<&str>,
) -> Result<(), Error>
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    K: Object + Resource<Scope = NamespaceResourceScope>,
{
    let namespace = owner.meta().namespace.as_deref().unwrap_or_default();
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    if !claims.adopt.is_empty() {
        let name = owner.meta().name.as_deref().unwrap_or_default();
        let owners: Api<O> = Api::namespaced(client.clone(), namespace);
        let live = owners.get(name).await.map_err(doing(format!("read {} {namespace}/{name}", O::kind(&()))))?;
        let same = live.meta().uid == owner.meta().uid && live.meta().deletion_timestamp.is_none();
        for object in claims.adopt.iter().filter(|_| same) {
            let mut owners = object.meta().owner_references.clone().unwrap_or_default();
            owners.push(controller_reference(owner));
            set_owners(&api, object.meta(), owners, finalizer, "adopt").await?;
        }
    }
    for object in &claims.release {
        let mut owners = object.meta().owner_references.clone().unwrap_or_default();
        owners.retain(|other| other.uid != uid(owner.meta()));
        match set_owners(&api, object.meta(), owners, finalizer, "release").await {
            Err(Error::Api(error)) if error.code() == Some(404) => {}
            other => other?,
        }
    }
    Ok(())
}

async fn set_owners<K>(
    api: &Api<K>,
    object: &ObjectMeta,
    owners: Vec<OwnerReference>,
    finalizer: Option<&str>,
    verb: &str,
) -> Result<(), Error>
where
    K: Object,
{
    let name = object.name.as_deref().unwrap_or_default();
    let patch = references(object, owners, finalizer, verb == "adopt");
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .map_err(doing(format!("{verb} {} {name}", K::kind(&()))))?;
    Ok(())
}

/// The patch that changes an object's owners, and with them the finalizer that its owner holds it by.
fn references(object: &ObjectMeta, owners: Vec<OwnerReference>, finalizer: Option<&str>, adopted: bool) -> Value {
    let list = |empty: bool, list: Value| if empty { Value::Null } else { list };
    let mut metadata = json!({"uid": object.uid, "resourceVersion": object.resource_version,
        "ownerReferences": list(owners.is_empty(), json!(owners))});
    if let Some(finalizer) = finalizer {
        let mut all: Vec<&str> = object.finalizers.iter().flatten().map(String::as_str).collect();
        all.retain(|other| *other != finalizer);
        if adopted {
            all.push(finalizer);
        }
        metadata["finalizers"] = list(all.is_empty(), json!(all));
    }
    json!({ "metadata": metadata })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finalizer_comes_and_goes_with_the_owner() {
        let finalizers = |all: &[&str]| Some(all.iter().map(ToString::to_string).collect::<Vec<_>>());
        let object = |all: &[&str]| ObjectMeta { finalizers: finalizers(all), ..ObjectMeta::default() };
        for (has, adopted, wanted) in [
            (["a"].as_slice(), true, json!(["a", "f"])),
            (&["f"], true, json!(["f"])),
            (&["f", "a"], false, json!(["a"])),
            (&["f"], false, json!(null)),
        ] {
            let patch = references(&object(has), Vec::new(), Some("f"), adopted);
            assert_eq!(patch["metadata"]["finalizers"], wanted, "{has:?} {adopted}");
        }
        let without = references(&object(&["a"]), Vec::new(), None, true);
        assert_eq!(without["metadata"].get("finalizers"), None);
    }
}
