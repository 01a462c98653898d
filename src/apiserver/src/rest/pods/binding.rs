//! Binding: a scheduler gives a pod its node.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use jiff::Timestamp;
use machinery::meta;
use serde_json::{Value, json};
use store::{Error, Precondition};

use crate::accept;
use crate::answer;
use crate::body::{self, Body};
use crate::plugin::Operation;
use crate::rest::options::WriteOptions;
use crate::rest::target::{Facts, Target};
use crate::rest::{create, decode};
use crate::status::{self, Result, Status};
use crate::storage;

const ATTEMPTS: usize = 100;

/// Answers `pods/NAME/binding`, and `bindings` of old schedulers.
///
/// # Errors
/// 404 for the pod, 409 where it has a node already or is being deleted, 422 where the binding names no node.
pub async fn create(target: &Target<'_>, request: Request<Body>) -> Result<Response<Body>> {
    let options = WriteOptions::read(target.context, "CreateOptions")?;
    let bytes: Bytes = body::read(request.into_body(), target.state().config.limits.body_bytes).await?;
    let mut binding = decode::body(&target.context.headers, &bytes, bytes.len())?.value;
    decode::set_type_to("v1", "Binding", &mut binding)?;
    create::set_place(target, &mut binding)?;
    let pods = api::registry().get("", "v1", "pods").ok_or_else(Status::no_such_resource)?;
    let name = if target.name.is_empty() { meta::name(&binding).to_string() } else { target.name.to_string() };
    let pods = Target { resource: pods, name: &name, ..*target };
    if meta::name(&binding) != name {
        return Err(Status::bad_request(format!(
            "the name of the binding ({}) does not match the name on the URL ({name})",
            meta::name(&binding)
        )));
    }
    let kind = target.body_kind();
    decode::complete_body(&kind, &mut binding)?;
    let options_value = options.value("CreateOptions");
    let facts = Facts {
        operation: Operation::Create,
        kind: &kind,
        // What is asked is the URL's resource: `bindings` is one of its own.
        subresource: target.subresource_name(),
        name: &name,
        old: None,
        options: &options_value,
        dry_run: options.dry_run,
    };
    target.admit(&facts, &mut binding).await?;
    target.validate_admission(&facts, Some(&binding)).await?;
    assign(&pods, &binding, options.dry_run).await?;
    let format = accept::negotiate_format(&target.context.headers, true)?;
    answer::value(target.context, StatusCode::CREATED, format, &status::success(None))
}

async fn assign(pods: &Target<'_>, binding: &Value, dry_run: bool) -> Result<()> {
    let store = &pods.state().store;
    let key = pods.key(pods.name);
    for _ in 0..ATTEMPTS {
        let entry = store.get(&key).await.map_err(storage::failure)?.ok_or_else(|| pods.not_found())?;
        let pod = bound(pods, storage::decode(&entry)?, binding, Timestamp::now())?;
        if dry_run {
            return Ok(());
        }
        match store.put(&key, storage::encode(&pod), Precondition::Revision(entry.mod_revision)).await {
            Ok(_) => return Ok(()),
            Err(Error::Conflict { .. }) => {}
            Err(error) => return Err(storage::failure(error)),
        }
    }
    Err(Status::modified(&pods.group_resource(), pods.name))
}

/// The pod with its node, or why it cannot have it.
fn bound(pods: &Target<'_>, mut pod: Value, binding: &Value, now: Timestamp) -> Result<Value> {
    let conflict = |why: String| Err(Status::conflict(&pods.group_resource(), pods.name, why));
    let node = meta::text_at(binding, &["target", "name"]);
    let target_kind = meta::text_at(binding, &["target", "kind"]);
    if node.is_empty() || !matches!(target_kind, "" | "Node") {
        return Err(Status::new(422, "Invalid", "target.name: Required value: the node that the pod is bound to"));
    }
    let (wanted_uid, uid) = (meta::uid(binding), meta::uid(&pod));
    if !wanted_uid.is_empty() && wanted_uid != uid {
        return conflict(format!("Precondition failed: UID in precondition: {wanted_uid}, UID in object meta: {uid}"));
    }
    if meta::is_terminating(&pod) {
        return conflict(format!("pod {} is being deleted, cannot be assigned to a host", pods.name));
    }
    let current = meta::text_at(&pod, &["spec", "nodeName"]);
    if !current.is_empty() {
        return conflict(format!("pod {} is already assigned to node {current:?}", pods.name));
    }
    if pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
        return conflict(format!("pod {} has non-empty .spec.schedulingGates", pods.name));
    }
    pod["spec"]["nodeName"] = node.into();
    for (key, value) in meta::annotations(binding).into_iter().flatten() {
        meta::set_annotation(&mut pod, key, value.as_str().unwrap_or_default());
    }
    let condition = json!({
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": null,
        "lastTransitionTime": meta::format_time(now),
    });
    if !pod["status"].is_object() {
        pod["status"] = json!({});
    }
    match pod["status"]["conditions"].as_array_mut() {
        Some(conditions) => {
            conditions.retain(|condition| condition["type"] != "PodScheduled");
            conditions.push(condition);
        }
        None => pod["status"]["conditions"] = json!([condition]),
    }
    Ok(pod)
}
