//! What a webhook's patch makes of an object: patched in the version that the webhook saw, completed by that version's
//! schema, and brought back to the version of the request.

use api::resource::Resource;
use machinery::gvk::GroupVersionKind;
use machinery::{meta, patch};
use serde_json::Value;

use super::configurations::Hook;
use super::policies::{At, View};
use crate::plugin::Admit;
use crate::rest::decode;
use crate::status::{Result, Status};
use crate::storage;

/// The object as the webhook's operations make it of what it was shown.
///
/// # Errors
/// 500 for operations that do not fit the object or make another of it.
pub async fn patched(
    hook: &Hook,
    request: &Admit<'_>,
    view: &View<'_>,
    shown: At,
    operations: &Value,
    object: Option<&Value>,
) -> Result<Value> {
    let Some(object) = object else {
        let name = hook.webhook.name();
        let why = "attempted to modify the object, which is not supported for this operation";
        return Err(Status::internal(format!("admission webhook {name:?} {why}")));
    };
    let mut changed = shown.object.clone();
    patch::json(&mut changed, operations).map_err(Status::internal)?;
    // It could be read by nobody, and written back by nobody.
    let size = storage::check_size(&changed, storage::OBJECT_BYTES_MAX);
    size.map_err(|why| {
        Status::internal(format!("admission webhook {:?} made an object that {why}", hook.webhook.name()))
    })?;
    same_object(&shown.object, &changed).map_err(Status::internal)?;
    keep_managers(&shown.object, &mut changed, request, hook);
    match view.completed_by(shown.place) {
        Some(resource) => complete(resource, &mut changed),
        None if view.converted(shown.place).is_none() => complete_body(request.kind, &mut changed),
        None => Ok(()),
    }
    .map_err(|status| Status::internal(status.message()))?;
    changed = view.back(shown.place, changed).await?;
    // What conversion says nothing of stays.
    meta::set_resource_version(&mut changed, meta::resource_version(object));
    if meta::resource_version(object).is_empty() {
        meta::metadata_mut(&mut changed).remove("resourceVersion");
    }
    Ok(changed)
}

fn complete(resource: &Resource, object: &mut Value) -> Result<()> {
    decode::complete(resource, object).map(drop)
}

/// Bodies of subresources are of kinds of their own: of a resource, as a Binding, or of none, as an Eviction.
fn complete_body(kind: &GroupVersionKind, object: &mut Value) -> Result<()> {
    let version = &kind.group_version;
    match api::registry().by_kind(&version.group, &version.version, &kind.kind) {
        Some(resource) => complete(resource, object),
        None => decode::complete_body(kind, object),
    }
}

/// A patch changes what an object says and not which one it is.
fn same_object(before: &Value, changed: &Value) -> std::result::Result<(), String> {
    for (called, path) in [
        ("apiVersion", &["apiVersion"][..]),
        ("kind", &["kind"]),
        ("metadata.namespace", &["metadata", "namespace"]),
        ("metadata.uid", &["metadata", "uid"]),
    ] {
        let [old, new] = [before, changed].map(|object| meta::text_at(object, path));
        if old != new {
            return Err(format!("a webhook may not change {called} from {old:?} to {new:?}"));
        }
    }
    Ok(())
}

/// Who owns which field is put back where a patch leaves of it what nobody can read.
fn keep_managers(before: &Value, changed: &mut Value, request: &Admit<'_>, hook: &Hook) {
    let is_sound = |entry: &Value| {
        let texts = ["operation", "apiVersion", "fieldsType"].iter().all(|field| entry[field].is_string());
        texts && entry["fieldsV1"].is_object()
    };
    let managers = &changed["metadata"]["managedFields"];
    let is_kept = *managers == before["metadata"]["managedFields"];
    if is_kept || managers.is_null() || managers.as_array().is_some_and(|entries| entries.iter().all(is_sound)) {
        return;
    }
    let name = hook.webhook.name();
    request.warnings.add(format!(".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating admission controller; please fix your requests: {name}"));
    let managers = before["metadata"]["managedFields"].clone();
    match managers {
        Value::Null => drop(meta::metadata_mut(changed).remove("managedFields")),
        managers => meta::set(changed, "managedFields", managers),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_makes_no_other_object() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "n", "name": "a"}});
        assert_eq!(same_object(&object, &object), Ok(()));
        let mut renamed = object.clone();
        renamed["metadata"]["name"] = json!("b");
        assert_eq!(same_object(&object, &renamed), Ok(()), "its name is judged as everybody's");
        let mut moved = object.clone();
        moved["metadata"]["namespace"] = json!("m");
        let refused = same_object(&object, &moved).expect_err("refused");
        assert_eq!(refused, "a webhook may not change metadata.namespace from \"n\" to \"m\"");
        let mut other = object.clone();
        other["kind"] = json!("Secret");
        assert!(same_object(&object, &other).is_err());
    }
}
