//! Empties namespaces that are being deleted, then lets them go.
//!
//! Pods first, since what they use must outlive them; then everything else that discovery tells of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::discovery::{Discovered, ServerResource, discover};
use client::informer::Informer;
use client::list::page;
use client::queue::{Outcome, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::core::Request;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Shared;
use crate::common::error::{Error, doing};
use crate::common::ready;

const WORKERS: usize = 4;
/// Between looks at a namespace that is not empty yet.
const AGAIN: Duration = Duration::from_secs(1);
const FINALIZER: &str = "kubernetes";

/// Empties namespaces until shutdown.
///
/// # Errors
/// None; failures are retried.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let context = &shared.context;
    let queue = WorkQueue::<String>::new("namespace");
    let namespaces = context.informers.all::<Namespace>();
    let enqueue = queue.clone();
    namespaces.on_change(move |change| {
        if change.object().metadata.deletion_timestamp.is_some() {
            enqueue.add(change.object().name_any());
        }
    });
    if !ready(context, namespaces.synced()).await {
        return Ok(());
    }
    let client = context.client.clone();
    queue
        .run_until(&context.shutdown, WORKERS, move |name| {
            let (client, namespaces) = (client.clone(), namespaces.clone());
            async move { reconcile(&client, &namespaces, &name).await }
        })
        .await;
    Ok(())
}

async fn reconcile(client: &kube::Client, namespaces: &Informer<Namespace>, name: &str) -> Result<Outcome, Error> {
    let Some(namespace) = namespaces.get("", name) else { return Ok(Outcome::Done) };
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.clone()).unwrap_or_default();
    if namespace.metadata.deletion_timestamp.is_none() || !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(Outcome::Done);
    }
    let discovered = discover(client).await?;
    let left = empty(client, name, &discovered).await?;
    let conditions = conditions(&namespace, &discovered.failed, &left, Timestamp::now());
    if let Some(conditions) = conditions {
        let api: Api<Namespace> = Api::all(client.clone());
        let patch = Patch::Merge(json!({"metadata": {"uid": namespace.uid()}, "status": {"conditions": conditions}}));
        match api.patch_status(name, &PatchParams::default(), &patch).await {
            Err(error) if client::is_not_found(&error) => return Ok(Outcome::Done),
            other => {
                other.map_err(doing(format!("write the status of namespace {name}")))?;
            }
        }
    }
    if !left.is_empty() || !discovered.failed.is_empty() {
        return Ok(Outcome::After(AGAIN));
    }
    finalize(client, &namespace).await
}

/// What is left of one resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// `pods`, `deployments.apps`.
    pub resource: String,
    pub count: usize,
    /// How many wait for each finalizer.
    pub finalizers: BTreeMap<String, usize>,
}

/// What can be deleted in a namespace, pods first.
fn deletable(discovered: &Discovered) -> Vec<ServerResource> {
    let mut resources = discovered.preferred();
    resources.retain(|resource| resource.namespaced && resource.can(&["list"]) && resource.can(&["delete"]));
    resources.sort_by_key(|resource| (resource.plural != "pods", resource.group.clone(), resource.plural.clone()));
    resources
}

/// Deletes everything; what is still there afterwards. While pods are left, nothing else is touched.
async fn empty(client: &kube::Client, namespace: &str, discovered: &Discovered) -> Result<Vec<Left>, Error> {
    let mut all_left = Vec::new();
    for resource in deletable(discovered) {
        let found = list(client, &resource, namespace).await?;
        if found.is_empty() {
            continue;
        }
        if found.iter().any(|metadata| metadata.deletion_timestamp.is_none()) {
            delete(client, &resource, namespace, &found).await?;
        }
        let found = list(client, &resource, namespace).await?;
        if !found.is_empty() {
            all_left.push(left(&resource, &found));
            if resource.plural == "pods" && resource.group.is_empty() {
                break;
            }
        }
    }
    Ok(all_left)
}

fn left(resource: &ServerResource, found: &[ObjectMeta]) -> Left {
    let dot = if resource.group.is_empty() { "" } else { "." };
    let mut finalizers = BTreeMap::new();
    for finalizer in found.iter().flat_map(|metadata| metadata.finalizers.iter().flatten()) {
        *finalizers.entry(finalizer.clone()).or_insert(0) += 1;
    }
    Left { resource: format!("{}{dot}{}", resource.plural, resource.group), count: found.len(), finalizers }
}

#[derive(Deserialize)]
struct Item {
    metadata: ObjectMeta,
}

async fn list(client: &kube::Client, resource: &ServerResource, namespace: &str) -> Result<Vec<ObjectMeta>, Error> {
    let path = resource.path(Some(namespace), None);
    let mut params = ListParams::default().limit(500);
    let mut all = Vec::new();
    loop {
        let answer = match page::<Item>(client, &path, &params).await {
            Ok(answer) => answer,
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 405 => return Ok(all),
            Err(error) => return Err(doing(format!("list {path}"))(error)),
        };
        all.extend(answer.objects.into_iter().map(|item| item.metadata));
        if answer.continue_token.is_none() {
            return Ok(all);
        }
        params.continue_token = answer.continue_token;
    }
}

async fn delete(
    client: &kube::Client,
    resource: &ServerResource,
    namespace: &str,
    found: &[ObjectMeta],
) -> Result<(), Error> {
    let path = resource.path(Some(namespace), None);
    let params = DeleteParams::background();
    if resource.can(&["deletecollection"]) {
        let request = Request::new(path.as_str()).delete_collection(&params, &ListParams::default());
        let request = request.map_err(|error| doing(format!("delete {path}"))(kube::Error::BuildRequest(error)))?;
        match client.request::<Value>(request).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 405 => {}
            Err(error) => return Err(doing(format!("delete {path}"))(error)),
        }
    }
    for name in found.iter().filter_map(|metadata| metadata.name.as_deref()) {
        let request = Request::new(path.as_str()).delete(name, &params);
        let request =
            request.map_err(|error| doing(format!("delete {path}/{name}"))(kube::Error::BuildRequest(error)))?;
        match client.request::<Value>(request).await {
            Err(error) if !client::is_not_found(&error) => return Err(doing(format!("delete {path}/{name}"))(error)),
            _ => {}
        }
    }
    Ok(())
}

/// The conditions that say why a namespace is still there; `None` where they say so already.
pub fn conditions(
    namespace: &Namespace,
    failed: &[String],
    left: &[Left],
    now: Timestamp,
) -> Option<Vec<NamespaceCondition>> {
    let resources: Vec<String> =
        left.iter().map(|left| format!("{} has {} resource instances", left.resource, left.count)).collect();
    let mut waiting: BTreeMap<&String, usize> = BTreeMap::new();
    for (finalizer, count) in left.iter().flat_map(|left| &left.finalizers) {
        *waiting.entry(finalizer).or_insert(0) += count;
    }
    let waiting: Vec<String> =
        waiting.into_iter().map(|(finalizer, count)| format!("{finalizer} in {count} resource instances")).collect();
    let some = |bad: bool, text: String| bad.then_some(text);
    let said = [
        (
            "NamespaceDeletionDiscoveryFailure",
            some(!failed.is_empty(), format!("Discovery failed for some groups: {}", failed.join(", "))),
            ("DiscoveryFailed", "ResourcesDiscovered", "All resources successfully discovered"),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            ("GroupVersionParsingFailed", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        (
            "NamespaceDeletionContentFailure",
            None,
            (
                "ContentDeletionFailed",
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ),
        ),
        (
            "NamespaceContentRemaining",
            some(!left.is_empty(), format!("Some resources are remaining: {}", resources.join(", "))),
            ("SomeResourcesRemain", "ContentRemoved", "All content successfully removed"),
        ),
        (
            "NamespaceFinalizersRemaining",
            some(
                !waiting.is_empty(),
                format!("Some content in the namespace has finalizers remaining: {}", waiting.join(", ")),
            ),
            ("SomeFinalizersRemain", "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        ),
    ];
    let old: &[NamespaceCondition] =
        namespace.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let mut changed = false;
    let conditions = said.into_iter().map(|(type_, bad, (reason_bad, reason_good, good))| {
        let (status, reason, message) = match bad {
            Some(text) => ("True", reason_bad, text),
            None => ("False", reason_good, good.to_string()),
        };
        let was = old.iter().find(|old| old.type_ == type_);
        let same = was.is_some_and(|was| was.status == status && was.message.as_deref() == Some(message.as_str()));
        changed |= !same;
        let since = was.filter(|was| was.status == status).and_then(|was| was.last_transition_time.clone());
        NamespaceCondition {
            type_: type_.to_string(),
            status: status.to_string(),
            reason: Some(reason.to_string()),
            message: Some(message),
            last_transition_time: Some(since.unwrap_or(Time(now))),
        }
    });
    let conditions: Vec<NamespaceCondition> = conditions.collect();
    changed.then_some(conditions)
}

async fn finalize(client: &kube::Client, namespace: &Arc<Namespace>) -> Result<Outcome, Error> {
    let name = namespace.name_any();
    // The present object, since writing the conditions has changed it.
    let api: Api<Namespace> = Api::all(client.clone());
    let mut live = match api.get(&name).await {
        Ok(live) if live.uid() == namespace.uid() => live,
        Ok(_) => return Ok(Outcome::Done),
        Err(error) if client::is_not_found(&error) => return Ok(Outcome::Done),
        Err(error) => return Err(doing(format!("read namespace {name}"))(error)),
    };
    if let Some(finalizers) = live.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
        finalizers.retain(|finalizer| finalizer != FINALIZER);
    }
    let body = serde_json::to_vec(&live).map_err(|error| doing("write a namespace")(kube::Error::SerdeError(error)))?;
    let request = http_put(&format!("/api/v1/namespaces/{name}/finalize"), body)?;
    match client.request::<Value>(request).await {
        Err(error) if !client::is_not_found(&error) => Err(doing(format!("finalize namespace {name}"))(error)),
        _ => Ok(Outcome::Done),
    }
}

fn http_put(path: &str, body: Vec<u8>) -> Result<http::Request<Vec<u8>>, Error> {
    let request = http::Request::put(path).header(http::header::CONTENT_TYPE, "application/json").body(body);
    request.map_err(|error| doing(format!("write {path}"))(kube::Error::HttpError(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_come_first_and_only_what_can_be_deleted_counts() {
        let resource = |group: &str, plural: &str, namespaced: bool, verbs: &[&str]| ServerResource {
            group: group.into(),
            version: "v1".into(),
            kind: String::new(),
            plural: plural.into(),
            namespaced,
            verbs: verbs.iter().map(ToString::to_string).collect(),
        };
        let discovered = Discovered {
            resources: vec![
                resource("", "configmaps", true, &["list", "delete"]),
                resource("", "bindings", true, &["create"]),
                resource("", "nodes", false, &["list", "delete"]),
                resource("", "pods", true, &["list", "delete"]),
                resource("apps", "deployments", true, &["list", "delete"]),
            ],
            failed: vec![],
        };
        let order: Vec<String> = deletable(&discovered).into_iter().map(|resource| resource.plural).collect();
        assert_eq!(order, ["pods", "configmaps", "deployments"]);
    }

    #[test]
    fn conditions_name_what_is_left_and_are_written_once() {
        let now = Timestamp::UNIX_EPOCH;
        let left = Left { resource: "pods".into(), count: 2, finalizers: [("x.io/y".to_string(), 1)].into() };
        let mut namespace = Namespace::default();
        let said = conditions(&namespace, &[], std::slice::from_ref(&left), now).unwrap();
        let text = |type_: &str| said.iter().find(|c| c.type_ == type_).unwrap().message.clone().unwrap();
        assert_eq!(text("NamespaceContentRemaining"), "Some resources are remaining: pods has 2 resource instances");
        assert!(text("NamespaceFinalizersRemaining").ends_with("x.io/y in 1 resource instances"));
        namespace.status.get_or_insert_default().conditions = Some(said);
        assert_eq!(conditions(&namespace, &[], &[left], now), None);
        assert!(conditions(&namespace, &["metrics.k8s.io/v1".into()], &[], now).is_some());
    }
}
