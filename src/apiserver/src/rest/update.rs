//! update: a change of an object that is there, of the object itself or of a subresource. Patches, server-side
//! apply and scale come through here with an object of their own making.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use machinery::field::{FieldError, Path};
use machinery::gvk::{GroupVersion, GroupVersionKind};
use machinery::meta;
use serde_json::Value;
use store::{Entry, Error, Precondition};

use super::options::WriteOptions;
use super::target::{Facts, Holds, Target};
use super::{create, decode, delete, finish, managed, owners, prepare};
use crate::body::{self, Body};
use crate::handler::authorize::authorize_as;
use crate::plugin::Operation;
use crate::services;
use crate::status::{Result, Status};
use crate::storage;

/// How often a change that pins no version is made again on the newest object.
const ATTEMPTS: usize = 100;

/// What a write left behind.
#[derive(Debug)]
pub enum Written {
    /// The object as it is kept now.
    Stored(Entry),
    /// The object as it would have been kept.
    Dry(Value),
    /// The change removed the last thing that held a deleted object; its last state.
    Gone(Value),
}

/// A change as its maker made it from the current object.
pub struct Changed {
    /// The object that is wanted, complete with type and metadata.
    pub object: Value,
    /// The client names the version it knows: a conflict is the client's to solve.
    pub pinned: bool,
    /// Whose change it is.
    pub by: managed::By,
    /// As what admission sees the object, where that is not the object itself.
    pub view: Option<Arc<View>>,
}

/// Takes the second into the first.
type Put = dyn Fn(&mut Value, &Value) -> Result<()> + Send + Sync;

/// A part of an object that is written as an object of its own: the Scale of a workload.
pub struct View {
    /// Its group, version and kind.
    pub kind: (&'static str, &'static str, &'static str),
    /// The subresource it is written through.
    pub subresource: &'static str,
    /// The part.
    pub of: Box<dyn Fn(&Value) -> Value + Send + Sync>,
    /// Takes the part back into the object.
    pub put: Box<Put>,
}

impl View {
    fn kind(&self) -> GroupVersionKind {
        let (group, version, kind) = self.kind;
        GroupVersionKind { group_version: GroupVersion::new(group, version), kind: kind.to_string() }
    }
}

/// Answers an update.
///
/// # Errors
/// 404; 409 where the client's version is not the newest; 422 where the object is invalid; and what admission
/// answers.
pub async fn update(target: &Target<'_>, request: Request<Body>) -> Result<Response<Body>> {
    let options = WriteOptions::read(target.context, "UpdateOptions")?;
    let bytes: Bytes = body::read(request.into_body(), target.state().config.limits.body_bytes).await?;
    let decoded = decode::body(&target.context.headers, &bytes, bytes.len())?;
    let mut object = decode::object(target, decoded, options.validation)?;
    check_name(target, &object)?;
    create::set_place(target, &mut object)?;
    owners::keep_once(target, &mut object, owners::When::AsSent);
    let pinned = !matches!(meta::resource_version(&object), "" | "0");
    let changed = transact(target, &options, |old| {
        check_uid(target, old, &object)?;
        if !pinned && target.resource.update_needs_version {
            let path = Path::new("metadata").child("resourceVersion");
            let wrong = FieldError::invalid(&path, 0, "must be specified for an update");
            return Err(target.invalid(target.name, &vec![wrong]));
        }
        Ok(Changed { object: object.clone(), pinned, by: managed::By::Update, view: None })
    })
    .await;
    match changed {
        Err(status) if status.code() == 404 && target.resource.update_creates && target.subresource.is_none() => {
            let written = make(target, object, &options).await?;
            finish::written(target, StatusCode::CREATED, &written).await
        }
        changed => finish::written(target, StatusCode::OK, &changed?).await,
    }
}

/// Makes what an update of some kinds does not find, for who may create it.
async fn make(target: &Target<'_>, mut object: Value, options: &WriteOptions) -> Result<Written> {
    if !meta::uid(&object).is_empty() {
        let why = format!("Precondition failed: UID in precondition: {}, UID in object meta: ", meta::uid(&object));
        return Err(Status::conflict(&target.group_resource(), target.name, why));
    }
    authorize_as(target.context, "create").await?;
    meta::metadata_mut(&mut object).remove("resourceVersion");
    create::insert(target, object, options, managed::By::Update).await
}

/// The object has the name of the URL.
///
/// # Errors
/// 400 where it has another or none.
pub fn check_name(target: &Target<'_>, object: &Value) -> Result<()> {
    let wanted = target.name;
    match meta::name(object) {
        "" => Err(Status::bad_request(format!(
            "the name of the object ({wanted} based on URL) was undeterminable: name must be provided"
        ))),
        name if name == wanted => Ok(()),
        name => Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({wanted})"
        ))),
    }
}

/// An object that is put in the place of another is the same one.
///
/// # Errors
/// 409 where it has another uid.
pub fn check_uid(target: &Target<'_>, old: &Value, object: &Value) -> Result<()> {
    let (uid, current) = (meta::uid(object), meta::uid(old));
    if !uid.is_empty() && uid != current {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {current}");
        return Err(Status::conflict(&target.group_resource(), target.name, why));
    }
    Ok(())
}

/// Reads the object, has it changed, and writes it back unless somebody else was faster; then again.
///
/// # Errors
/// See [`update`].
pub async fn transact(
    target: &Target<'_>,
    options: &WriteOptions,
    change: impl Fn(&Value) -> Result<Changed> + Send + Sync,
) -> Result<Written> {
    let store = &target.state().store;
    let key = target.key(target.name);
    // A patch is an update to admission.
    let options_value = options.value("UpdateOptions");
    for _ in 0..ATTEMPTS {
        let entry = store.get(&key).await.map_err(storage::failure)?.ok_or_else(|| target.not_found())?;
        let old = target.present(&entry).await?;
        let changed = change(&old)?;
        let pinned = changed.pinned;
        match step(target, options, &options_value, &entry, &old, changed).await? {
            Some(written) => return Ok(written),
            None if pinned => return Err(Status::modified(&target.group_resource(), target.name)),
            None => {}
        }
    }
    Err(Status::modified(&target.group_resource(), target.name))
}

/// One attempt; `None` where somebody else was faster.
async fn step(
    target: &Target<'_>,
    options: &WriteOptions,
    options_value: &Value,
    entry: &Entry,
    old: &Value,
    changed: Changed,
) -> Result<Option<Written>> {
    let Changed { mut object, pinned, by, view } = changed;
    check_version(target, old, &object, pinned)?;
    prepare::keep_metadata(&mut object, old);
    managed::track(target, Some(old), &mut object, &options.manager, by);
    let kind = view.as_ref().map_or_else(|| target.kind(), |view| view.kind());
    let view = view.as_deref();
    let old_view = view.map(|view| (view.of)(old));
    let facts = Facts {
        operation: Operation::Update,
        kind: &kind,
        subresource: view.map_or(target.subresource_name(), |view| view.subresource),
        name: target.name,
        old: Some(old_view.as_ref().unwrap_or(old)),
        options: options_value,
        dry_run: options.dry_run,
    };
    match view {
        None => target.admit(&facts, &mut object).await?,
        Some(view) => {
            let mut part = (view.of)(&object);
            target.admit(&facts, &mut part).await?;
            (view.put)(&mut object, &part)?;
        }
    }
    owners::keep_once(target, &mut object, owners::When::AfterAdmission);
    decode::complete(target.resource, &mut object)?;
    prepare::for_update(target, &mut object, old);
    let promise = services::before_update(target, &mut object, old, options.dry_run).await?;
    let errors = prepare::check(target, &object, old);
    if !errors.is_empty() {
        return Err(target.invalid(target.name, &errors));
    }
    let finalizers = api::metadata::finalizer_warnings(target.resource, &object, Some(old));
    let warnings = target.resource.behaviour.warnings(&object).into_iter().chain(finalizers);
    warnings.for_each(|warning| target.context.warnings.add(warning));
    let part = view.map(|view| (view.of)(&object));
    target.validate_admission(&facts, Some(part.as_ref().unwrap_or(&object))).await?;
    if delete::is_released(target.resource, &object) {
        return release(target, options, entry, object, promise).await;
    }
    let holds = match view {
        // What is held is held for objects, and of these nothing but the part has changed.
        Some(_) => Holds::default(),
        None => target.hold(&facts, &object).await?,
    };
    if options.dry_run {
        meta::set_resource_version(&mut object, meta::resource_version(old));
        return Ok(Some(Written::Dry(object)));
    }
    let bytes = target.to_bytes(&object).await?;
    if bytes == entry.value || storage::is_stored_alike(&bytes, &entry.value) && managed::changes_nothing(&object, old)
    {
        // Nothing changed: no new revision, no event.
        return Ok(Some(Written::Stored(entry.clone())));
    }
    match target.put(&entry.key, bytes, Precondition::Revision(entry.mod_revision), holds).await {
        Ok(stored) => {
            promise.keep();
            Ok(Some(Written::Stored(stored)))
        }
        Err(Error::Conflict { .. }) => Ok(None),
        Err(error) => Err(storage::failure(error)),
    }
}

fn check_version(target: &Target<'_>, old: &Value, object: &Value, pinned: bool) -> Result<()> {
    let version = meta::resource_version(object);
    if pinned && version != meta::resource_version(old) {
        return Err(Status::modified(&target.group_resource(), target.name));
    }
    Ok(())
}

/// Nothing holds the deleted object any more: it goes instead of being written.
async fn release(
    target: &Target<'_>,
    options: &WriteOptions,
    entry: &Entry,
    object: Value,
    promise: services::Promise,
) -> Result<Option<Written>> {
    if options.dry_run {
        return Ok(Some(Written::Gone(object)));
    }
    match target.state().store.delete(&entry.key, entry.mod_revision).await {
        Ok(_) => {
            promise.keep();
            services::after_delete(target, &object);
            Ok(Some(Written::Gone(object)))
        }
        Err(Error::Conflict { .. }) => Ok(None),
        Err(error) => Err(storage::failure(error)),
    }
}
