//! delete: at once, after a grace period, or once finalizers are gone. What is to happen is decided by a pure
//! function; the rest carries it out.

use api::resource::Resource;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use machinery::meta;
use serde_json::{Value, json};
use stdx::clock::later;
use store::{Entry, Error, Precondition};

use super::options::{DeleteOptions, Propagation};
use super::target::{Facts, Holds, Target};
use super::{decode, finish};
use crate::accept;
use crate::answer;
use crate::body::{self, Body};
use crate::custom;
use crate::plugin::Operation;
use crate::services;
use crate::status::{self, Result, Status};
use crate::storage;

/// How often a deletion is decided anew because the object changed meanwhile.
const ATTEMPTS: usize = 100;
/// Nobody waits longer, which is 68 years; a time that long after any other can still be written.
const GRACE_MAX_S: i64 = i32::MAX as i64;
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// What a deletion left behind.
#[derive(Debug)]
pub enum Deleted {
    /// The object is gone; its last state.
    Gone(Value),
    /// It waits for its grace period or its finalizers.
    Waiting(Value),
}

/// What is to be done with an object that is to be deleted.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Remove it now.
    Remove,
    /// Write this: it is marked as deleted and waits.
    Mark(Value),
    /// It is marked already and nothing changes.
    Nothing,
}

/// Answers a delete.
///
/// # Errors
/// 404; 409 where a precondition does not hold; and what admission answers.
pub async fn delete(target: &Target<'_>, request: Request<Body>) -> Result<Response<Body>> {
    let options = read_options(target, request).await?;
    let deleted = remove(target, target.name, &options).await?;
    match deleted {
        Deleted::Waiting(object) => finish::object(target, StatusCode::OK, &object),
        Deleted::Gone(object) if returns_object(target.resource) => finish::object(target, StatusCode::OK, &object),
        Deleted::Gone(object) => {
            let details = json!({
                "name": target.name,
                "group": target.resource.group_version.group,
                "kind": target.resource.plural,
                "uid": meta::uid(&object),
            });
            let format = accept::negotiate_format(&target.context.headers, true).unwrap_or(accept::Format::Json);
            answer::value(target.context, StatusCode::OK, format, &status::success(Some(details)))
        }
    }
}

/// Reads the options of a deletion from body and query.
///
/// # Errors
/// 400 and 422.
pub async fn read_options(target: &Target<'_>, request: Request<Body>) -> Result<DeleteOptions> {
    let bytes: Bytes = body::read(request.into_body(), target.state().config.limits.body_bytes).await?;
    let body = match bytes.is_empty() {
        true => None,
        false => Some(decode::body(&target.context.headers, &bytes, bytes.len())?.value),
    };
    DeleteOptions::read(&target.context.query, body)
}

/// Kinds whose last state Kubernetes answers with; of others it is a Status.
fn returns_object(resource: &Resource) -> bool {
    let core = resource.group_version.group.is_empty();
    core && matches!(
        &*resource.plural,
        "pods"
            | "services"
            | "serviceaccounts"
            | "persistentvolumes"
            | "persistentvolumeclaims"
            | "podtemplates"
            | "resourcequotas"
    )
}

/// An extension of requests of this process: a collection goes because of what has been admitted already, as the
/// objects of a definition go with it, and admission is not asked for each of its objects.
#[derive(Debug, Clone, Copy)]
pub struct Admitted;

/// Deletes the object called `name`.
///
/// # Errors
/// See [`delete`].
pub async fn remove(target: &Target<'_>, name: &str, options: &DeleteOptions) -> Result<Deleted> {
    remove_unless(target, name, options, None).await
}

/// Deletes an object for a request that has been admitted as something else, as an eviction is.
///
/// # Errors
/// See [`delete`].
pub async fn remove_admitted(target: &Target<'_>, name: &str, options: &DeleteOptions) -> Result<Deleted> {
    remove_unless(target, name, options, Some(Admitted)).await
}

/// Asks admission unless it has been asked.
///
/// # Errors
/// See [`delete`].
pub async fn remove_unless(
    target: &Target<'_>,
    name: &str,
    options: &DeleteOptions,
    admitted: Option<Admitted>,
) -> Result<Deleted> {
    let store = &target.state().store;
    let key = target.key(name);
    let kind = target.kind();
    for _ in 0..ATTEMPTS {
        let not_found = || Status::not_found(&target.group_resource(), name);
        let entry = store.get(&key).await.map_err(storage::failure)?.ok_or_else(not_found)?;
        let object = target.present(&entry).await?;
        check_preconditions(target, &object, name, options)?;
        let facts = Facts {
            operation: Operation::Delete,
            kind: &kind,
            subresource: "",
            name,
            old: Some(&object),
            options: &options.value,
            dry_run: options.dry_run,
        };
        if admitted.is_none() {
            target.validate_admission(&facts, None).await?;
        }
        let step = plan(target.resource, &object, options, Timestamp::now());
        if let Some(deleted) = carry_out(target, &entry, object, step, options.dry_run).await? {
            return Ok(deleted);
        }
    }
    Err(Status::modified(&target.group_resource(), name))
}

/// `None` where somebody else changed the object meanwhile.
async fn carry_out(
    target: &Target<'_>,
    entry: &Entry,
    object: Value,
    step: Step,
    dry_run: bool,
) -> Result<Option<Deleted>> {
    let store = &target.state().store;
    match step {
        Step::Nothing => Ok(Some(Deleted::Waiting(object))),
        Step::Remove if dry_run => Ok(Some(Deleted::Gone(object))),
        Step::Mark(marked) if dry_run => Ok(Some(Deleted::Waiting(marked))),
        Step::Remove => match store.delete(&entry.key, entry.mod_revision).await {
            Ok(_) => {
                services::after_delete(target, &object);
                Ok(Some(Deleted::Gone(object)))
            }
            Err(Error::Conflict { .. }) => Ok(None),
            Err(error) => Err(storage::failure(error)),
        },
        Step::Mark(marked) => {
            let bytes = target.to_bytes(&marked).await?;
            let precondition = Precondition::Revision(entry.mod_revision);
            match target.put(&entry.key, bytes, precondition, Holds::default()).await {
                Ok(stored) => Ok(Some(Deleted::Waiting(target.present(&stored).await?))),
                Err(Error::Conflict { .. }) => Ok(None),
                Err(error) => Err(storage::failure(error)),
            }
        }
    }
}

/// Whether the object is the one that is to be deleted.
///
/// # Errors
/// 409 where it is another, or another version.
pub fn check_preconditions(target: &Target<'_>, object: &Value, name: &str, options: &DeleteOptions) -> Result<()> {
    let refused = |what: &str, wanted: &str, found: &str| {
        let why = format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}");
        Err(Status::conflict(&target.group_resource(), name, why))
    };
    match (&options.uid, &options.resource_version) {
        (Some(uid), _) if uid != meta::uid(object) => refused("UID", uid, meta::uid(object)),
        (_, Some(version)) if version != meta::resource_version(object) => {
            refused("ResourceVersion", version, meta::resource_version(object))
        }
        _ => Ok(()),
    }
}

/// Decides what a deletion does to an object.
pub fn plan(resource: &Resource, object: &Value, options: &DeleteOptions, now: Timestamp) -> Step {
    let mut marked = object.clone();
    let mut finalizers = wanted_finalizers(object, options.propagation);
    if needs_cleanup(resource, object) {
        finalizers.push(custom::FINALIZER.to_string());
    }
    let finalizers_changed = !finalizers.iter().map(String::as_str).eq(meta::finalizers(object));
    if finalizers_changed {
        meta::set_finalizers(&mut marked, finalizers.clone());
    }
    let held = !finalizers.is_empty() || is_held_by_spec(resource, object);
    let grace = grace_seconds(resource, object, options);
    let already = meta::deletion_timestamp(object);
    let current = object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    if grace == 0 && !held {
        return Step::Remove;
    }
    if let Some(when) = already {
        if grace >= current {
            return if finalizers_changed { Step::Mark(marked) } else { Step::Nothing };
        }
        // A shorter grace period counts from when the first one began.
        let began = later(when, SignedDuration::from_secs(current.saturating_neg()));
        set_deletion(&mut marked, later(began, SignedDuration::from_secs(grace)), grace);
        return Step::Mark(marked);
    }
    set_deletion(&mut marked, later(now, SignedDuration::from_secs(grace)), grace);
    if has_no_grace(resource) {
        meta::set(&mut marked, "deletionGracePeriodSeconds", Value::Null);
    }
    if meta::generation(object) > 0 {
        meta::set_generation(&mut marked, meta::generation(object) + 1);
    }
    if resource.plural == "namespaces" {
        marked["status"]["phase"] = "Terminating".into();
    }
    Step::Mark(marked)
}

/// Namespaces and definitions end by rules of their own, which know no grace period, not even one of 0 s.
fn has_no_grace(resource: &Resource) -> bool {
    matches!((&*resource.group_version.group, &*resource.plural), ("", "namespaces") | (custom::GROUP, custom::PLURAL))
}

fn set_deletion(object: &mut Value, when: Timestamp, grace_seconds: i64) {
    meta::set_deletion_timestamp(object, when);
    meta::set(object, "deletionGracePeriodSeconds", grace_seconds);
}

/// The grace period that applies: 0 for kinds that know none.
fn grace_seconds(resource: &Resource, object: &Value, options: &DeleteOptions) -> i64 {
    // Nothing runs yet or any more, so there is nothing to wait for.
    let is_idle = meta::text_at(object, &["spec", "nodeName"]).is_empty()
        || matches!(meta::text_at(object, &["status", "phase"]), "Succeeded" | "Failed");
    match (resource.behaviour.default_grace_period_seconds(object), options.grace_period_seconds) {
        (None | Some(0), _) => 0,
        (Some(_), _) if is_idle => 0,
        (Some(default), None) => default.min(GRACE_MAX_S),
        // What is no period at all means the shortest.
        (Some(_), Some(wanted)) if wanted < 0 => 1,
        (Some(_), Some(wanted)) => wanted.min(GRACE_MAX_S),
    }
}

fn wanted_finalizers(object: &Value, propagation: Option<Propagation>) -> Vec<String> {
    let mut finalizers: Vec<String> = meta::finalizers(object).map(ToString::to_string).collect();
    let Some(propagation) = propagation else { return finalizers };
    let (add, remove): (Option<&str>, &[&str]) = match propagation {
        Propagation::Orphan => (Some(ORPHAN), &[FOREGROUND]),
        Propagation::Foreground => (Some(FOREGROUND), &[ORPHAN]),
        Propagation::Background => (None, &[ORPHAN, FOREGROUND]),
    };
    finalizers.retain(|finalizer| !remove.contains(&finalizer.as_str()));
    if let Some(add) = add
        && !finalizers.iter().any(|finalizer| finalizer == add)
    {
        finalizers.push(add.to_string());
    }
    finalizers
}

/// A definition goes after its objects.
fn needs_cleanup(resource: &Resource, object: &Value) -> bool {
    resource.plural == custom::PLURAL
        && resource.group_version.group == custom::GROUP
        && !meta::is_terminating(object)
        && !meta::finalizers(object).any(|finalizer| finalizer == custom::FINALIZER)
}

/// Namespaces have finalizers in their spec as well.
fn is_held_by_spec(resource: &Resource, object: &Value) -> bool {
    resource.plural == "namespaces"
        && resource.group_version.group.is_empty()
        && object["spec"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty())
}

/// The object is deleted and nothing holds it any more: neither finalizers nor a grace period.
pub fn is_released(resource: &Resource, object: &Value) -> bool {
    meta::is_terminating(object)
        && meta::finalizers(object).next().is_none()
        && object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && !is_held_by_spec(resource, object)
}

#[cfg(test)]
mod tests;
