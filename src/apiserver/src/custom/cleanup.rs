//! Removes the objects of a definition that is being deleted, and then lets the definition go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use machinery::{gvk, meta};
use serde_json::{Value, json};
use store::RangeOptions;

use super::{FINALIZER, GROUP, PLURAL};
use crate::live;
use crate::rest::delete::Admitted;
use crate::state::State;
use crate::status::Result;
use crate::storage;

/// How long to wait between two looks at what is left: objects may have finalizers of their own.
const FIRST_LOOK_AFTER: Duration = Duration::from_millis(50);
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Whether there can be objects of a definition: it has been served, and what it is called is nothing of this server's
/// own. A definition that asks for the name of something else takes nothing of it along when it goes.
pub fn has_objects(definition: &Value, is_established: bool) -> bool {
    is_established && !is_built_in(definition)
}

fn is_built_in(definition: &Value) -> bool {
    let (group, plural) = (text(definition, "/spec/group"), text(definition, "/spec/names/plural"));
    api::registry().resources().iter().any(|own| own.group_version.group == group && own.plural == plural)
}

/// Works until the definition is gone, or is not held by this any more.
pub async fn run(state: Arc<State>, client: kube::Client, definition: Arc<Value>, has_objects: bool) {
    let mut backoff = stdx::backoff::Backoff::new(FIRST_LOOK_AFTER, LOOK_EVERY);
    let name = meta::name(&definition);
    loop {
        let round = match has_objects {
            true => round(&state, &client, &definition).await,
            false => release(&client, &definition).await,
        };
        match round {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => tracing::warn!("removing the objects of {name}: {error}; trying again"),
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// Deletes what is there; where nothing is, lets the definition go and says so.
async fn round(state: &State, client: &kube::Client, definition: &Value) -> std::result::Result<bool, String> {
    let left = left(state, definition).await.map_err(|status| status.to_string())?;
    if left.is_empty() {
        return release(client, definition).await;
    }
    let Some(version) = served_version(definition) else {
        // Nobody sees them any more, their finalizers' owners neither.
        return remove_unseen(state, definition, left).await.map(|()| false).map_err(|status| status.to_string());
    };
    let (group, plural) = (text(definition, "/spec/group"), text(definition, "/spec/names/plural"));
    let is_namespaced = text(definition, "/spec/scope") == "Namespaced";
    let namespaces: BTreeSet<&str> =
        left.iter().filter_map(|key| is_namespaced.then(|| key.rsplit('/').nth(1)).flatten()).collect();
    let paths: Vec<String> = match is_namespaced {
        true => namespaces.iter().map(|own| format!("/apis/{group}/{version}/namespaces/{own}/{plural}")).collect(),
        false => vec![format!("/apis/{group}/{version}/{plural}")],
    };
    for path in paths {
        send(client, Method::DELETE, &path, None).await?;
    }
    Ok(false)
}

/// The keys of the objects that are left.
async fn left(state: &State, definition: &Value) -> Result<Vec<String>> {
    if is_built_in(definition) {
        return Ok(Vec::new());
    }
    let prefix = live::prefix(text(definition, "/spec/group"), text(definition, "/spec/names/plural"), "");
    let range = state.store.range(&prefix, RangeOptions::default()).await.map_err(storage::failure)?;
    Ok(range.entries.into_iter().map(|entry| entry.key.to_string()).collect())
}

async fn remove_unseen(state: &State, definition: &Value, keys: Vec<String>) -> Result<()> {
    if is_built_in(definition) {
        return Ok(());
    }
    for key in keys {
        if let Some(entry) = state.store.get(&key).await.map_err(storage::failure)? {
            match state.store.delete(&key, entry.mod_revision).await {
                Ok(_) | Err(store::Error::Conflict { .. }) => {}
                Err(error) => return Err(storage::failure(error)),
            }
        }
    }
    Ok(())
}

/// The version that objects are deleted in: that in which they are stored, where it is served, as no webhook has to
/// convert them, and it may be gone with its operator; else the first of those that are served.
fn served_version(definition: &Value) -> Option<&str> {
    let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    let served = versions.filter(|version| version["served"] == true);
    let named = served.filter_map(|version| Some((version["storage"] == true, version["name"].as_str()?)));
    let first = named.max_by(|a, b| a.0.cmp(&b.0).then_with(|| gvk::compare_versions(a.1, b.1)));
    first.map(|(_, name)| name)
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    live::text(object, pointer)
}

/// Takes the finalizer off; `true` where it is off.
async fn release(client: &kube::Client, definition: &Value) -> std::result::Result<bool, String> {
    let path = format!("/apis/{GROUP}/v1/{PLURAL}/{}", meta::name(definition));
    let Some(current) = send(client, Method::GET, &path, None).await? else { return Ok(true) };
    let finalizers: Vec<&str> = meta::finalizers(&current).filter(|own| *own != FINALIZER).collect();
    if meta::uid(&current) != meta::uid(definition) || finalizers.len() == meta::finalizers(&current).count() {
        return Ok(true);
    }
    let patch = json!({"metadata": {"uid": meta::uid(&current), "finalizers": finalizers,
        "resourceVersion": meta::resource_version(&current)}});
    send(client, Method::PATCH, &path, Some(patch)).await.map(|_| true)
}

/// Sends a request; `None` where there is no such thing.
async fn send(
    client: &kube::Client,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> std::result::Result<Option<Value>, String> {
    let request = Request::builder()
        .method(method.clone())
        .uri(path)
        .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
        // The definition's deletion was admitted, and with it that of its objects.
        .extension(Admitted)
        .body(body.map(|body| body.to_string().into_bytes()).unwrap_or_default())
        .map_err(|error| error.to_string())?;
    match client.request::<Value>(request).await {
        Ok(answer) => Ok(Some(answer)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(format!("{method} {path}: {}", stdx::error::chain(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_deleted_in_the_version_in_which_they_are_stored() {
        let version =
            |name: &str, served: bool, storage: bool| json!({"name": name, "served": served, "storage": storage});
        for (versions, expected) in [
            (vec![version("v1", true, true), version("v2", true, false)], Some("v1")),
            (vec![version("v1", false, true), version("v2", true, false), version("v3beta1", true, false)], Some("v2")),
            (vec![version("v1", false, true)], None),
        ] {
            assert_eq!(served_version(&json!({"spec": {"versions": versions}})), expected);
        }
    }
}
