//! The scale subresource: autoscaling/v1 Scale as a view of `spec.replicas` of a workload.

mod paths;

use std::sync::Arc;

use api::registry;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use jiff::Timestamp;
use machinery::apply::{Operation, Reset, managers_of_scale, managers_of_workload};
use machinery::field::{FieldError, Path};
use machinery::strict::{self, Decoded};
use machinery::{meta, patch as patches, schema, table};
use serde_json::{Value, json};

use super::options::{FieldValidation, WriteOptions};
use super::target::Target;
use super::update::{Changed, View, Written, check_name, check_uid, transact};
use super::{apply, create, decode, managed, patch, shape};
use crate::accept::{self, Form};
use crate::answer;
use crate::body::{self, Body};
use crate::status::{Result, Status};
use crate::storage;
use paths::Paths;

const API_VERSION: &str = "autoscaling/v1";
const KIND: &str = "Scale";
const SUBRESOURCE: &str = "scale";

/// What admission sees of a workload that is scaled.
fn view(paths: &Arc<Paths>) -> View {
    let (of_paths, put_paths) = (paths.clone(), paths.clone());
    View {
        kind: ("autoscaling", "v1", KIND),
        subresource: SUBRESOURCE,
        of: Box::new(move |workload| of(workload, &of_paths)),
        put: Box::new(move |workload, scale| put(workload, scale, &put_paths)),
    }
}

/// Gives a workload the replicas of its Scale.
fn put(workload: &mut Value, scale: &Value, paths: &Paths) -> Result<()> {
    let replicas = replicas(scale, meta::name(workload))?;
    paths.set_replicas(workload, replicas).map_err(Status::bad_request)
}

/// The Scale of a workload.
fn of(object: &Value, paths: &Paths) -> Value {
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(field) {
            metadata[field] = value.clone();
        }
    }
    json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": metadata,
        "spec": {"replicas": paths.replicas(object).unwrap_or(0)},
        "status": {
            "replicas": paths.status_replicas(object),
            "selector": paths.selector(object),
        },
    })
}

/// Answers with the Scale.
///
/// # Errors
/// 404.
pub async fn get(target: &Target<'_>) -> Result<Response<Body>> {
    // Refuse what cannot be written before anything is read.
    accept::negotiate(&target.context.headers, true)?;
    let entry = target.state().store.get(&target.key(target.name)).await.map_err(storage::failure)?;
    let object = target.present(&entry.ok_or_else(|| target.not_found())?).await?;
    let paths = Paths::of(target.resource);
    if target.resource.custom().is_some() && paths.replicas(&object).is_none() {
        return Err(Status::internal(format!("the spec replicas field {:?} does not exist", paths.spec_text())));
    }
    shown(target, &object)
}

/// Answers with the Scale of a workload in the form the client wants.
fn shown(target: &Target<'_>, workload: &Value) -> Result<Response<Body>> {
    let (format, form) = accept::negotiate(&target.context.headers, true)?;
    let scale = of(workload, &Paths::of(target.resource));
    let shaped = match form {
        Form::Object => scale,
        Form::Metadata => table::partial_object_metadata(&scale),
        Form::Table => {
            let include = shape::include(target)?;
            let metadata = json!({"resourceVersion": scale["metadata"]["resourceVersion"]});
            table::table(metadata, columns(), vec![table::row(cells(&scale, Timestamp::now()), scale, include)])
        }
    };
    answer::value(target.context, StatusCode::OK, format, &shaped)
}

fn columns() -> Vec<Value> {
    [
        ("Name", "string", "name", "The name of the workload."),
        ("Desired", "integer", "", "How many pods are wanted."),
        ("Available", "integer", "", "How many pods there are."),
        ("Age", "string", "", "How long ago the workload was created."),
    ]
    .into_iter()
    .map(|(name, type_, format, description)| table::column(name, type_, format, description, 0))
    .collect()
}

fn cells(scale: &Value, now: Timestamp) -> Vec<Value> {
    let (wanted, there) = (scale["spec"]["replicas"].clone(), scale["status"]["replicas"].clone());
    vec![meta::name(scale).into(), wanted, there, table::age(scale, now).into()]
}

/// Answers an update of the Scale.
///
/// # Errors
/// As for an update of the workload.
pub async fn update(target: &Target<'_>, request: Request<Body>) -> Result<Response<Body>> {
    let options = WriteOptions::read(target.context, "UpdateOptions")?;
    let bytes: Bytes = body::read(request.into_body(), target.state().config.limits.body_bytes).await?;
    let decoded = decode::body(&target.context.headers, &bytes, bytes.len())?;
    let scale = complete(target, decoded, options.validation, false)?;
    let pinned = !matches!(meta::resource_version(&scale), "" | "0");
    change(target, &options, pinned, |current| {
        check_uid(target, current, &scale)?;
        tracked(current, scale.clone(), &options)
    })
    .await
}

/// Answers a patch of the Scale.
///
/// # Errors
/// As for a patch of the workload.
pub async fn patch(target: &Target<'_>, request: Request<Body>) -> Result<Response<Body>> {
    let form = patch::Form::of(&decode::media_type(&target.context.headers))?;
    let options = WriteOptions::read(target.context, "PatchOptions")?;
    let bytes: Bytes = body::read(request.into_body(), target.state().config.limits.body_bytes).await?;
    if form == patch::Form::Apply {
        apply::check_manager(&options)?;
        let patch = complete(target, apply::parse(&bytes)?, options.validation, true)?;
        let pinned = !meta::resource_version(&patch).is_empty();
        return change(target, &options, pinned, |current| applied(current, &patch, &options)).await;
    }
    if options.force.is_some() {
        return Err(Status::bad_request("force may only be set for apply patches"));
    }
    let patch = patch::read(target, form, &bytes, options.validation)?;
    change(target, &options, patch::names_version(form, &patch), |current| {
        let mut scale = current.clone();
        let outcome = match form {
            patch::Form::Json => patches::json(&mut scale, &patch),
            // A Scale has no lists, so all merges are one.
            patch::Form::Merge | patch::Form::Strategic | patch::Form::Apply => patches::merge(&mut scale, &patch),
        };
        outcome.map_err(patch::refusal)?;
        let decoded = Decoded { value: scale, duplicates: Vec::new() };
        tracked(current, complete(target, decoded, options.validation, false)?, &options)
    })
    .await
}

fn body_kind() -> Result<&'static registry::Body> {
    api::registry().body("autoscaling", "v1", KIND).ok_or_else(Status::no_such_resource)
}

/// A Scale of the right kind and name with fields of the right types.
fn complete(target: &Target<'_>, decoded: Decoded, validation: FieldValidation, is_apply: bool) -> Result<Value> {
    let mut found: Vec<String> = decoded.messages().collect();
    let mut scale = decoded.value;
    decode::set_type_to(API_VERSION, KIND, &mut scale)?;
    let body = body_kind()?;
    let unknown = schema::prune(&mut scale, body.schema(), body.definitions());
    found.extend(unknown.iter().map(|path| strict::unknown_field(path)));
    decode::report_of(target, &body.group_version.version, KIND, found, validation)?;
    schema::decode(&mut scale, body.schema(), body.definitions()).map_err(|error| {
        Status::bad_request(format!("{KIND} in version \"v1\" cannot be handled as a {KIND}: {error}"))
    })?;
    // Of an object that is there the name is known: an apply may leave it out.
    if !(is_apply && meta::name(&scale).is_empty()) {
        check_name(target, &scale)?;
    }
    create::set_place(target, &mut scale)?;
    Ok(scale)
}

fn operation(options: &WriteOptions) -> Operation<'_> {
    Operation {
        manager: &options.manager,
        subresource: SUBRESOURCE,
        api_version: API_VERSION,
        now: Timestamp::now(),
        reset: Reset::NONE,
    }
}

/// The new Scale with its managers after an update.
fn tracked(current: &Value, mut scale: Value, options: &WriteOptions) -> Result<Value> {
    let body = body_kind()?;
    machinery::apply::update_managed(Some(current), &mut scale, &operation(options), body.schema(), body.definitions());
    Ok(scale)
}

/// The new Scale with its managers after an apply.
fn applied(current: &Value, patch: &Value, options: &WriteOptions) -> Result<Value> {
    let (body, force) = (body_kind()?, options.force.unwrap_or(false));
    let operation = operation(options);
    machinery::apply::apply(Some(current), patch, &operation, force, body.schema(), body.definitions())
        .map_err(apply::refusal)
}

async fn change(
    target: &Target<'_>,
    options: &WriteOptions,
    pinned: bool,
    make: impl Fn(&Value) -> Result<Value> + Send + Sync,
) -> Result<Response<Body>> {
    // To the workload it is an update of its spec.
    let parent = Target { subresource: None, ..*target };
    let paths = Arc::new(Paths::of(target.resource));
    let view = Arc::new(view(&paths));
    let written = transact(&parent, options, |old| {
        let scale = make(&with_managers(of(old, &paths), old, &paths)?)?;
        let object = scaled(target, old, &scale, &paths, pinned)?;
        Ok(Changed { object, pinned, by: managed::By::Recorded, view: Some(view.clone()) })
    })
    .await?;
    let object = match written {
        Written::Stored(entry) => parent.present(&entry).await?,
        Written::Dry(object) | Written::Gone(object) => object,
    };
    shown(target, &object)
}

/// The Scale with the managers of the workload's replicas.
fn with_managers(mut scale: Value, workload: &Value, paths: &Paths) -> Result<Value> {
    let managers = managers_of_scale(meta::managed_fields(workload), &paths.spec()).map_err(Status::internal)?;
    meta::set(&mut scale, "managedFields", managers);
    Ok(scale)
}

/// The workload with the replicas of the Scale, and their managers.
fn scaled(target: &Target<'_>, old: &Value, scale: &Value, paths: &Paths, pinned: bool) -> Result<Value> {
    let mut object = old.clone();
    paths.set_replicas(&mut object, replicas(scale, target.name)?).map_err(Status::bad_request)?;
    let (before, version) = (meta::managed_fields(old), target.resource.group_version.to_string());
    if !before.is_empty() {
        let managers = managers_of_workload(before, meta::managed_fields(scale), &paths.spec(), &version);
        meta::set(&mut object, "managedFields", managers.map_err(Status::internal)?);
    }
    if pinned {
        meta::set_resource_version(&mut object, meta::resource_version(scale));
    }
    if !meta::uid(scale).is_empty() {
        meta::set_uid(&mut object, meta::uid(scale));
    }
    Ok(object)
}

fn replicas(scale: &Value, name: &str) -> Result<i64> {
    let path = Path::new("spec").child("replicas");
    let wrong = |value: &Value, why: &str| {
        Err(Status::invalid("autoscaling", KIND, name, &vec![FieldError::invalid(&path, value.clone(), why)]))
    };
    match &scale["spec"]["replicas"] {
        Value::Null => Ok(0),
        value => match value.as_i64() {
            Some(replicas) if i32::try_from(replicas).is_ok() && replicas >= 0 => Ok(replicas),
            Some(_) => wrong(value, "must be greater than or equal to 0"),
            None => wrong(value, "must be a number"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_shows_replicas_and_the_selector_as_text() {
        let workload = json!({
            "metadata": {"name": "d", "namespace": "n", "resourceVersion": "7", "labels": {"a": "b"}},
            "spec": {"replicas": 3, "selector": {
                "matchLabels": {"b": "2", "a": "1"},
                "matchExpressions": [{"key": "t", "operator": "In", "values": ["x", "y"]}],
            }},
            "status": {"replicas": 2},
        });
        let scale = of(&workload, &Paths::built_in());
        assert_eq!(scale["spec"]["replicas"], 3);
        assert_eq!(scale["status"], json!({"replicas": 2, "selector": "a=1,b=2,t in (x,y)"}));
        assert_eq!(scale["metadata"], json!({"name": "d", "namespace": "n", "resourceVersion": "7"}));
    }
}
