//! create: a new object, from the body to the store. Also the way in for server-side apply of what is not there.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use jiff::Timestamp;
use machinery::{meta, names};
use serde_json::Value;
use store::{Error, Precondition};

use super::options::WriteOptions;
use super::target::{Facts, Target};
use super::update::Written;
use super::{decode, finish, managed, owners, prepare};
use crate::body::{self, Body};
use crate::plugin::Operation;
use crate::services;
use crate::status::{Result, Status};
use crate::storage;

/// How often another name is tried where a generated one is taken.
const NAME_ATTEMPTS: usize = 8;

/// Answers a create.
///
/// # Errors
/// 400 for a body that is no such object, 409 where the name is taken, 422 where the object is invalid, and what
/// admission answers.
pub async fn create(target: &Target<'_>, request: Request<Body>) -> Result<Response<Body>> {
    let options = WriteOptions::read(target.context, "CreateOptions")?;
    let bytes: Bytes = body::read(request.into_body(), target.state().config.limits.body_bytes).await?;
    let decoded = decode::body(&target.context.headers, &bytes, bytes.len())?;
    let mut object = decode::object(target, decoded, options.validation)?;
    owners::keep_once(target, &mut object, owners::When::AsSent);
    target.context.audit.about(&object);
    let written = insert(target, object, &options, managed::By::Update).await?;
    finish::written(target, StatusCode::CREATED, &written).await
}

/// Takes a complete object through admission, validation and into the store.
///
/// # Errors
/// See [`create`].
pub async fn insert(
    target: &Target<'_>,
    mut object: Value,
    options: &WriteOptions,
    by: managed::By,
) -> Result<Written> {
    set_place(target, &mut object)?;
    if !meta::resource_version(&object).is_empty() {
        return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let options_value = options.value("CreateOptions");
    let kind = target.kind();
    let given_name = meta::name(&object).to_string();
    let facts = Facts {
        operation: Operation::Create,
        kind: &kind,
        subresource: "",
        name: &given_name,
        old: None,
        options: &options_value,
        dry_run: options.dry_run,
    };
    let uid = uuid::Uuid::new_v4().to_string();
    set_system_fields(&mut object, &uid);
    managed::track(target, None, &mut object, &options.manager, by);
    target.admit(&facts, &mut object).await?;
    owners::keep_once(target, &mut object, owners::When::AfterAdmission);
    // Of what the server says of an object nothing comes from a webhook or a policy either.
    set_system_fields(&mut object, &uid);
    decode::complete(target.resource, &mut object)?;
    target.resource.behaviour.prepare_create(&mut object);
    prepare::fill_status(target.resource, &mut object);
    if !meta::name(&object).is_empty() || meta::generate_name(&object).is_empty() {
        return finish_insert(target, object, &facts, options).await;
    }
    for attempt in 1..=NAME_ATTEMPTS {
        let mut attempted = object.clone();
        name_it(&mut attempted);
        target.resource.behaviour.name_chosen(&mut attempted);
        let written = finish_insert(target, attempted, &facts, options).await;
        match written {
            Err(status) if status.reason() == "AlreadyExists" && attempt < NAME_ATTEMPTS => {}
            written => return written,
        }
    }
    Err(Status::internal("no name was found"))
}

/// The object is where the URL says.
///
/// # Errors
/// 400 where it says otherwise.
pub fn set_place(target: &Target<'_>, object: &mut Value) -> Result<()> {
    match (target.namespace, meta::namespace(object)) {
        ("", "") => {}
        // What old clients send of cluster-scoped objects is passed over.
        ("", _) => {
            meta::metadata_mut(object).remove("namespace");
        }
        (namespace, "") => meta::set_namespace(object, namespace),
        (namespace, own) if namespace == own => {}
        _ => {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    }
    Ok(())
}

/// Fields of metadata that the server alone sets.
fn set_system_fields(object: &mut Value, uid: &str) {
    let metadata = meta::metadata_mut(object);
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "resourceVersion",
        "generation",
    ] {
        metadata.remove(field);
    }
    meta::set_uid(object, uid);
    meta::set_creation_timestamp(object, Timestamp::now());
}

/// Chooses a name that begins as the object wants it.
fn name_it(object: &mut Value) {
    let name = names::generate(meta::generate_name(object), rand::random::<u32>);
    meta::set_name(object, &name);
}

async fn finish_insert(
    target: &Target<'_>,
    mut object: Value,
    facts: &Facts<'_>,
    options: &WriteOptions,
) -> Result<Written> {
    let resource = target.resource;
    // Addresses of services are promised here and given back unless the object is kept.
    let promise = services::before_create(target, &mut object, options.dry_run).await?;
    let name = meta::name(&object).to_string();
    let errors = api::metadata::validate_create(resource, &object);
    if !errors.is_empty() {
        return Err(target.invalid(&name, &errors));
    }
    let finalizers = api::metadata::finalizer_warnings(resource, &object, None);
    let warnings = resource.behaviour.warnings(&object).into_iter().chain(finalizers);
    warnings.for_each(|warning| target.context.warnings.add(warning));
    let facts = Facts { name: &name, ..*facts };
    target.validate_admission(&facts, Some(&object)).await?;
    let holds = target.hold(&facts, &object).await?;
    let (store, key) = (&target.state().store, target.key(&name));
    if options.dry_run {
        return match store.get(&key).await.map_err(storage::failure)? {
            Some(_) => Err(Status::already_exists(&target.group_resource(), &name)),
            None => Ok(Written::Dry(object)),
        };
    }
    match target.put(&key, target.to_bytes(&object).await?, Precondition::Absent, holds).await {
        Ok(entry) => {
            promise.keep();
            Ok(Written::Stored(entry))
        }
        Err(Error::Conflict { .. }) => Err(Status::already_exists(&target.group_resource(), &name)),
        Err(error) => Err(storage::failure(error)),
    }
}
