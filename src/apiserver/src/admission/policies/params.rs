//! The parameters that a binding gives its policy.

use api::policy::{ParamKind, ParamRef};
use api::resource::Resource;
use serde_json::Value;

use crate::convert;
use crate::live::Live;
use crate::plugin::Admit;
use crate::status::Result;
use crate::storage::StoredLabels;

/// The parameters, each of which the policy is evaluated with; `null` where it has none. The inner error is why they
/// cannot be had, in Kubernetes' words.
///
/// # Errors
/// 500 where the store fails.
pub async fn find(
    live: &Live,
    request: &Admit<'_>,
    kind: Option<&ParamKind>,
    reference: Option<&ParamRef>,
) -> Result<std::result::Result<Vec<Value>, String>> {
    let (Some(kind), Some(reference)) = (kind, reference) else { return Ok(Ok(vec![Value::Null])) };
    let (group, version) = (&kind.group_version.group, &kind.group_version.version);
    let Some(resource) = request.served.by_kind(group, version, &kind.kind) else {
        let known = format!("{}, Kind={}", kind.group_version, kind.kind);
        return Ok(Err(format!("paramKind kind `{known}` not known")));
    };
    let namespace = match place(resource, reference, request.namespace) {
        Ok(namespace) => namespace,
        Err(why) => return Ok(Err(why.to_string())),
    };
    let stored = resource.storage.as_ref().unwrap_or(&resource.group_version);
    let found: Vec<Value> = match reference.name.as_str() {
        "" => {
            let is_meant = |labels: &StoredLabels<'_>| reference.selector.selects_labels(labels);
            live.select(&stored.group, &resource.plural, namespace, is_meant).await?
        }
        name => live.get(&stored.group, &resource.plural, namespace, name).await?.into_iter().collect(),
    };
    let found = match convert::to_served(request.caller, resource, found).await {
        Ok(found) => found,
        Err(status) => return Ok(Err(status.message().to_string())),
    };
    if found.is_empty() && reference.denies_without {
        return Ok(Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_string()));
    }
    Ok(Ok(found))
}

/// The namespace of the parameters; empty for those that live in none.
fn place<'a>(
    resource: &Resource,
    reference: &'a ParamRef,
    namespace: &'a str,
) -> std::result::Result<&'a str, &'static str> {
    match (resource.namespaced, reference.namespace.as_str(), namespace) {
        (false, "", _) => Ok(""),
        (false, ..) => Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`"),
        (true, "", "") => Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"),
        (true, "", own) => Ok(own),
        (true, given, _) => Ok(given),
    }
}
