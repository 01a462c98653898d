//! Has the objects of a resource stored anew, in the version and form in which they are stored now, as
//! StorageVersionMigrations ask for (KEP-4192). Of a custom resource the definition's `storedVersions` are told
//! afterwards, so that old versions can be taken out.
//!
//! An object is stored anew by a patch that changes nothing: what is stored as it should be stays as it is.

use std::time::Duration;

use client::discovery::{ServerResource, resources_of};
use client::list;
use client::queue::{Outcome, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::storagemigration::v1::StorageVersionMigration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::GroupResource;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, ListParams, PartialObjectMeta, Patch, PatchParams};
use serde_json::{Value, json};

use crate::Shared;
use crate::common::error::{Error, cause, doing};
use crate::common::ready;

/// Objects a page.
const PAGE: u32 = 500;
/// How long a resource that is not served yet is waited for.
const SERVED_WITHIN: Duration = Duration::from_secs(60);
/// Between looks for it.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(2);

const RUNNING: (&str, &str) = ("Running", "StorageVersionMigrationInProgress");
const SUCCEEDED: (&str, &str) = ("Succeeded", "StorageVersionMigrationSucceeded");
const FAILED: (&str, &str) = ("Failed", "StorageVersionMigrationFailed");

/// Migrates until shutdown.
///
/// # Errors
/// None; failures are retried.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let context = &shared.context;
    let queue = WorkQueue::<String>::new("storage-version-migrator");
    let migrations = context.informers.all::<StorageVersionMigration>();
    let enqueue = queue.clone();
    migrations.on_change(move |change| enqueue.add(change.object().name_any()));
    if !ready(context, migrations.synced()).await {
        return Ok(());
    }
    let client = context.client.clone();
    let work = move |name: String| {
        let (migration, client) = (migrations.get("", &name), client.clone());
        async move {
            match migration {
                Some(migration) if !has_ended(&migration) => migrate(&client, &migration).await,
                _ => Ok(Outcome::Done),
            }
        }
    };
    // One at a time: each is many writes.
    queue.run_until(&context.shutdown, 1, work).await;
    Ok(())
}

fn has_ended(migration: &StorageVersionMigration) -> bool {
    let conditions = migration.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|one| ["Succeeded", "Failed"].contains(&one.type_.as_str()) && one.status == "True")
}

async fn migrate(client: &kube::Client, migration: &StorageVersionMigration) -> Result<Outcome, Error> {
    let name = migration.name_any();
    let wanted = migration.spec.as_ref().map(|spec| spec.resource.clone()).unwrap_or_default();
    let Some(resource) = served(client, &wanted).await? else {
        let since = migration.metadata.creation_timestamp.as_ref().map(|time| time.0);
        if since.is_some_and(|since| is_recent(since, Timestamp::now())) {
            return Ok(Outcome::After(LOOK_AGAIN_AFTER));
        }
        let why = format!("the resource {:?} of group {:?} is not served", wanted.resource, wanted.group);
        tell(client, migration, None, FAILED, &why).await?;
        return Ok(Outcome::Done);
    };
    if !resource.can(&["list", "patch"]) {
        let why =
            format!("the resource {:?} of group {:?} cannot be listed and patched", wanted.resource, wanted.group);
        tell(client, migration, None, FAILED, &why).await?;
        return Ok(Outcome::Done);
    }
    let definition = definition(client, &wanted).await?;
    let revision = revision(client, &resource).await?;
    tell(client, migration, Some(&revision), RUNNING, "").await?;
    if let Err(error) = rewrite(client, &resource).await {
        if is_passing(&error) {
            return Err(error);
        }
        tell(client, migration, Some(&revision), FAILED, &cause(&error)).await?;
        return Ok(Outcome::Done);
    }
    if let Some(definition) = definition {
        tell_definition(client, &definition).await?;
    }
    tracing::info!(migration = name, resource = resource.list_path(), "all objects are stored anew");
    tell(client, migration, Some(&revision), SUCCEEDED, "").await?;
    Ok(Outcome::Done)
}

fn is_recent(since: Timestamp, now: Timestamp) -> bool {
    Duration::try_from(now.duration_since(since)).is_ok_and(|age| age < SERVED_WITHIN)
}

/// What another try may bring about.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Api(client::Error::Request { source, .. }) => match &source.0 {
            kube::Error::Api(status) => matches!(status.code, 409 | 429 | 503 | 504),
            _ => true,
        },
        _ => true,
    }
}

/// The resource in the version that its group prefers, or in any that serves it.
async fn served(client: &kube::Client, wanted: &GroupResource) -> Result<Option<ServerResource>, Error> {
    let versions = match wanted.group.as_str() {
        "" => vec!["v1".to_string()],
        group => {
            let groups = client.list_api_groups().await.map_err(doing("discover the groups"))?;
            let found = groups.groups.into_iter().find(|one| one.name == group);
            let Some(found) = found else { return Ok(None) };
            let preferred = found.preferred_version.map(|one| one.group_version);
            let mut versions: Vec<String> = found.versions.into_iter().map(|one| one.group_version).collect();
            // False sorts first.
            versions.sort_by_key(|one| Some(one) != preferred.as_ref());
            versions
        }
    };
    for version in versions {
        let resources = resources_of(client, &version).await?;
        if let Some(found) = resources.into_iter().find(|one| one.plural == wanted.resource) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The newest revision of the resource.
async fn revision(client: &kube::Client, resource: &ServerResource) -> Result<String, Error> {
    let path = resource.list_path();
    let page = list::page::<Named>(client, &path, &ListParams::default().limit(1)).await;
    Ok(page.map_err(doing(format!("list {path}")))?.revision)
}

/// An object of which only the name matters.
#[derive(serde::Deserialize)]
struct Named {
    metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
}

/// Patches every object with nothing.
async fn rewrite(client: &kube::Client, resource: &ServerResource) -> Result<(), Error> {
    let (path, mut params) = (resource.list_path(), ListParams::default().limit(PAGE));
    loop {
        let page = list::page::<Named>(client, &path, &params).await.map_err(doing(format!("list {path}")))?;
        for object in &page.objects {
            rewrite_one(client, resource, object).await?;
        }
        match page.continue_token {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(()),
        }
    }
}

async fn rewrite_one(client: &kube::Client, resource: &ServerResource, object: &Named) -> Result<(), Error> {
    let metadata = &object.metadata;
    let name = metadata.name.clone().unwrap_or_default();
    let known = resource.api_resource();
    let api: Api<DynamicObject> = match metadata.namespace.as_deref().filter(|_| resource.namespaced) {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &known),
        None => Api::all_with(client.clone(), &known),
    };
    // Who was deleted and made again, or written meanwhile, is stored as it should be.
    let same = json!({"metadata": {"uid": metadata.uid, "resourceVersion": metadata.resource_version}});
    let doing_it = || doing(format!("store {} {name} anew", resource.kind));
    match api.patch(&name, &PatchParams::default(), &Patch::Merge(same)).await {
        Err(error) if client::is_not_found(&error) || client::is_conflict(&error) => {
            // A webhook may refuse with these codes as well: only another object than before, or none, needs nothing.
            let now = api.get_metadata_opt(&name).await.map_err(doing(format!("read {} {name}", resource.kind)))?;
            let is_before = |now: &PartialObjectMeta<DynamicObject>| {
                now.metadata.uid == metadata.uid && now.metadata.resource_version == metadata.resource_version
            };
            if now.as_ref().is_some_and(is_before) { Err(doing_it()(error)) } else { Ok(()) }
        }
        other => other.map(drop).map_err(doing_it()),
    }
}

/// The definition of a custom resource, by name.
async fn definition(client: &kube::Client, wanted: &GroupResource) -> Result<Option<Value>, Error> {
    if wanted.group.is_empty() {
        return Ok(None);
    }
    let name = format!("{}.{}", wanted.resource, wanted.group);
    let request = http::Request::get(definition_path(&name)).body(Vec::new());
    let request = request.map_err(|error| doing("read the definition")(kube::Error::HttpError(error)))?;
    match client.request::<Value>(request).await {
        Err(error) if client::is_not_found(&error) => Ok(None),
        other => other.map(Some).map_err(doing(format!("read CustomResourceDefinition {name}"))),
    }
}

fn definition_path(name: &str) -> String {
    format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
}

/// Objects are stored in no version but the definition's own any more, unless it has changed meanwhile.
async fn tell_definition(client: &kube::Client, definition: &Value) -> Result<(), Error> {
    let name = definition["metadata"]["name"].as_str().unwrap_or_default();
    let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    let stored: Vec<&Value> =
        versions.filter(|version| version["storage"] == true).map(|version| &version["name"]).collect();
    let path = definition_path(name);
    let doing_it = || doing(format!("tell CustomResourceDefinition {name} what is stored"));
    for _ in 0..CONFLICTS_MAX {
        let request = http::Request::get(&path).body(Vec::new());
        let request = request.map_err(|error| doing_it()(kube::Error::HttpError(error)))?;
        let current = client.request::<Value>(request).await.map_err(doing_it())?;
        if current["metadata"]["generation"] != definition["metadata"]["generation"] {
            return Ok(());
        }
        let patch = json!({"metadata": {"resourceVersion": current["metadata"]["resourceVersion"]},
            "status": {"storedVersions": stored}});
        let request = http::Request::patch(format!("{path}/status"))
            .header("content-type", "application/merge-patch+json")
            .body(patch.to_string().into_bytes());
        let request = request.map_err(|error| doing_it()(kube::Error::HttpError(error)))?;
        match client.request::<Value>(request).await {
            Err(error) if client::is_conflict(&error) => {}
            other => return other.map(drop).map_err(doing_it()),
        }
    }
    Ok(())
}

/// How often somebody else may be faster in writing a definition's status.
const CONFLICTS_MAX: usize = 5;

/// Says how a migration stands: of the conditions the one that is true.
async fn tell(
    client: &kube::Client,
    migration: &StorageVersionMigration,
    revision: Option<&str>,
    is: (&str, &str),
    message: &str,
) -> Result<(), Error> {
    let name = migration.name_any();
    let mut status = json!({"conditions": conditions(migration, is, message, Timestamp::now())});
    if let Some(revision) = revision {
        status["resourceVersion"] = revision.into();
    }
    let api: Api<StorageVersionMigration> = Api::all(client.clone());
    let patch = Patch::Merge(json!({"metadata": {"uid": migration.uid()}, "status": status}));
    match api.patch_status(&name, &PatchParams::default(), &patch).await {
        Err(error) if client::is_not_found(&error) => Ok(()),
        other => other.map(drop).map_err(doing(format!("write the status of StorageVersionMigration {name}"))),
    }
}

/// The conditions once `is` is true: others of this controller are not any more.
fn conditions(migration: &StorageVersionMigration, is: (&str, &str), message: &str, now: Timestamp) -> Vec<Value> {
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let known = migration.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let mut conditions: Vec<Value> = Vec::new();
    for (type_, reason) in [RUNNING, SUCCEEDED, FAILED] {
        let old = known.iter().find(|one| one.type_ == type_);
        let status = if type_ == is.0 { "True" } else { "False" };
        if old.is_none() && type_ != is.0 && (type_, is.0) != ("Running", "Succeeded") {
            continue;
        }
        let since = old.filter(|old| old.status == status).map(|old| old.last_transition_time.0.to_string());
        conditions.push(json!({"type": type_, "status": status, "reason": reason,
            "message": if type_ == is.0 { message } else { "" },
            "lastTransitionTime": since.unwrap_or_else(|| now.clone())}));
    }
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_tell_how_it_stands_and_since_when() {
        let at = |second: i64| Timestamp::from_second(second).expect("a time");
        let with = |conditions: Vec<Value>| -> StorageVersionMigration {
            serde_json::from_value(json!({"metadata": {"name": "m"}, "status": {"conditions": conditions}}))
                .expect("a migration")
        };
        let begun = conditions(&with(Vec::new()), RUNNING, "", at(0));
        let shown = |conditions: &[Value]| -> Vec<String> {
            let text = |one: &Value, field: &str| one[field].as_str().unwrap_or_default().to_string();
            conditions.iter().map(|one| format!("{}={}", text(one, "type"), text(one, "status"))).collect()
        };
        assert_eq!(shown(&begun), ["Running=True"]);
        assert!(!has_ended(&with(begun.clone())));
        let again = conditions(&with(begun.clone()), RUNNING, "", at(60));
        assert_eq!(again[0]["lastTransitionTime"], begun[0]["lastTransitionTime"]);
        let done = conditions(&with(begun.clone()), SUCCEEDED, "", at(60));
        assert_eq!(shown(&done), ["Running=False", "Succeeded=True"]);
        assert_eq!(done[0]["lastTransitionTime"], "1970-01-01T00:01:00Z");
        assert!(has_ended(&with(done)));
        let failed = conditions(&with(begun), FAILED, "why", at(60));
        assert_eq!(
            (shown(&failed), &failed[1]["message"]),
            (vec!["Running=False".into(), "Failed=True".into()], &json!("why"))
        );
    }

    #[test]
    fn a_resource_that_is_not_served_is_waited_for() {
        let at = |second: i64| Timestamp::from_second(second).expect("a time");
        assert!(is_recent(at(100), at(130)));
        assert!(!is_recent(at(100), at(200)));
    }
}
