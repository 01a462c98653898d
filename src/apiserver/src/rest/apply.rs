//! Server-side apply: a configuration becomes an object with everybody else's fields, or the failure that says whose
//! they are.

use bytes::Bytes;
use http::StatusCode;
use machinery::field::{FieldError, Path};
use machinery::strict::Decoded;
use machinery::{apply as ssa, meta, strict};
use serde_json::Value;

use super::options::{FieldValidation, WriteOptions};
use super::target::Target;
use super::update::{Changed, Written, check_name, transact};
use super::{create, decode, managed};
use crate::handler::authorize::authorize_as;
use crate::status::{Result, Status};

/// How often an object that comes and goes meanwhile is tried.
const ATTEMPTS: usize = 3;

/// Applies a configuration; answers 201 where the object was made by it.
///
/// # Errors
/// 400 and 422 for configurations that make no sense, 409 with the conflicts.
pub async fn apply(target: &Target<'_>, bytes: &Bytes, options: &WriteOptions) -> Result<(StatusCode, Written)> {
    check_manager(options)?;
    let patch = read(target, bytes, options)?;
    let pinned = !meta::resource_version(&patch).is_empty();
    let force = options.force.unwrap_or(false);
    for _ in 0..ATTEMPTS {
        let changed = transact(target, options, |old| {
            let object = merged(target, Some(old), &patch, options, force)?;
            Ok(Changed { object, pinned, by: managed::By::Recorded, view: None })
        })
        .await;
        match changed {
            Err(status) if status.code() == 404 && target.subresource.is_none() => {}
            changed => return changed.map(|written| (StatusCode::OK, written)),
        }
        if !meta::uid(&patch).is_empty() {
            let uid = meta::uid(&patch);
            let why =
                format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
            return Err(Status::conflict(&target.group_resource(), target.name, why));
        }
        check_name(target, &patch)?;
        let object = merged(target, None, &patch, options, force)?;
        authorize_as(target.context, "create").await?;
        match create::insert(target, object, options, managed::By::Recorded).await {
            // Somebody made it meanwhile.
            Err(status) if status.reason() == "AlreadyExists" && !options.dry_run => {}
            created => return created.map(|written| (StatusCode::CREATED, written)),
        }
    }
    Err(Status::modified(&target.group_resource(), target.name))
}

/// Whoever applies says who they are.
///
/// # Errors
/// 422 where they do not.
pub fn check_manager(options: &WriteOptions) -> Result<()> {
    if options.manager_given {
        return Ok(());
    }
    let wrong = FieldError::required(&Path::new("fieldManager"), "is required for apply patch");
    Err(Status::invalid("meta.k8s.io", "PatchOptions", "", &vec![wrong]))
}

/// Reads the body of an apply patch, which says of what kind it is.
///
/// # Errors
/// 400.
pub fn parse(bytes: &Bytes) -> Result<Decoded> {
    // Most clients write JSON, which is YAML too, and is read several times as fast.
    let decoded = strict::decode_json(bytes, bytes.len())
        .or_else(|_| strict::decode_yaml(bytes, bytes.len()))
        .map_err(|error| Status::bad_request(format!("error decoding YAML: {}", stdx::error::chain(&error))))?;
    if meta::api_version(&decoded.value).is_empty() || meta::kind(&decoded.value).is_empty() {
        return Err(Status::bad_request("apiVersion and kind must be set in an apply patch"));
    }
    Ok(decoded)
}

/// The failure of an apply.
pub fn refusal(error: ssa::Error) -> Status {
    match error {
        ssa::Error::Invalid(text) => Status::bad_request(text),
        ssa::Error::Conflicts(conflicts) => {
            let status = Status::new(409, "Conflict", conflicts.to_string());
            conflicts.0.iter().fold(status, |status, conflict| {
                status.with_cause(ssa::Conflict::CAUSE, &conflict.message(), &conflict.path)
            })
        }
    }
}

fn read(target: &Target<'_>, bytes: &Bytes, options: &WriteOptions) -> Result<Value> {
    let decoded = parse(bytes)?;
    let is_doubtful = !decoded.duplicates.is_empty();
    let mut patch = decoded.value;
    let resource = target.resource;
    decode::set_type(resource, &mut patch)?;
    check_typed(target, &patch)?;
    if is_doubtful {
        report_duplicate(target, bytes, options.validation)?;
    }
    decode::prune(resource, &mut patch);
    // Values are compared as they are written: `1000m` is another owner's `1` changed, as in Kubernetes.
    decode::check_types(resource, &mut patch.clone())?;
    // Of an object that is there the name is known.
    if !meta::name(&patch).is_empty() {
        check_name(target, &patch)?;
    }
    if target.namespace.is_empty() || !meta::namespace(&patch).is_empty() {
        create::set_place(target, &mut patch)?;
    }
    Ok(patch)
}

/// Whatever is done about unknown fields elsewhere: nobody could own them. The code is the one that clients know.
fn check_typed(target: &Target<'_>, patch: &Value) -> Result<()> {
    let resource = target.resource;
    let faults = ssa::faults(patch, resource.schema(), resource.definitions());
    let listed = match faults.as_slice() {
        [] => return Ok(()),
        [fault] => fault.clone(),
        faults => format!("errors:\n  {}", faults.join("\n  ")),
    };
    let (group, version) = (&resource.group_version.group, &resource.group_version.version);
    let message = format!(
        "failed to create typed patch object ({}/{}; {group}/{version}, Kind={}): {listed}",
        target.namespace, target.name, resource.kind
    );
    Err(Status::new(500, "", message))
}

/// Refuses or warns of a field that comes twice, with its line.
fn report_duplicate(target: &Target<'_>, bytes: &Bytes, validation: FieldValidation) -> Result<()> {
    let Some((line, key)) = strict::first_duplicate(bytes) else { return Ok(()) };
    let found = format!("line {line}: key {key:?} already set in map");
    match validation {
        FieldValidation::Strict => Err(Status::bad_request(format!(
            "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  {found}"
        ))),
        FieldValidation::Warn => {
            target.context.warnings.add(found);
            Ok(())
        }
        FieldValidation::Ignore => Ok(()),
    }
}

fn merged(
    target: &Target<'_>,
    live: Option<&Value>,
    patch: &Value,
    options: &WriteOptions,
    force: bool,
) -> Result<Value> {
    let resource = target.resource;
    let api_version = resource.group_version.to_string();
    let operation = managed::operation(target, &options.manager, &api_version);
    let applied = ssa::apply(live, patch, &operation, force, resource.schema(), resource.definitions());
    let mut object = applied.map_err(refusal)?;
    decode::complete(resource, &mut object)?;
    create::set_place(target, &mut object)?;
    Ok(object)
}
