//! patch: JSON, merge, strategic merge and server-side apply. A patch makes an object out of the current one; from
//! there on it is an update.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use machinery::field::{FieldError, Path};
use machinery::{meta, patch, strict};
use serde_json::{Map, Value};

use super::apply;
use super::options::{FieldValidation, WriteOptions};
use super::target::Target;
use super::update::{Changed, Written, check_name, transact};
use super::{create, decode, finish, managed};
use crate::body::{self, Body};
use crate::status::{Result, Status};

/// The kinds of patches by their media types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// RFC 6902.
    Json,
    /// RFC 7396.
    Merge,
    /// Kubernetes' strategic merge patch.
    Strategic,
    /// Server-side apply, YAML or JSON.
    Apply,
}

const MEDIA_TYPES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

impl Form {
    /// The form of a body of that media type.
    ///
    /// # Errors
    /// 415.
    pub fn of(media_type: &str) -> Result<Self> {
        match media_type {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            "application/apply-patch+yaml" | "application/apply-patch+json" => Ok(Self::Apply),
            _ => Err(Status::unsupported_media_type(&MEDIA_TYPES)),
        }
    }
}

/// Answers a patch.
///
/// # Errors
/// 400 for what is no patch, 404, 409, 415, 422; and what admission answers.
pub async fn patch(target: &Target<'_>, request: Request<Body>) -> Result<Response<Body>> {
    let form = Form::of(&decode::media_type(&target.context.headers))?;
    if form == Form::Strategic && target.resource.custom().is_some() {
        // What tells the elements of lists apart is known of built-in kinds only.
        let [json, merge, _, apply] = MEDIA_TYPES;
        return Err(Status::unsupported_media_type(&[json, merge, apply]));
    }
    let options = WriteOptions::read(target.context, "PatchOptions")?;
    let bytes: Bytes = body::read(request.into_body(), target.state().config.limits.body_bytes).await?;
    if form == Form::Apply {
        let (code, written) = apply::apply(target, &bytes, &options).await?;
        return finish::written(target, code, &written).await;
    }
    if options.force.is_some() {
        return Err(Status::bad_request("force may only be set for apply patches"));
    }
    let patch = read(target, form, &bytes, options.validation)?;
    let pins = names_version(form, &patch);
    let written: Written = transact(target, &options, |old| {
        let mut object = patched(target, form, &patch, old)?;
        finish_patched(target, &patch, &mut object, options.validation)?;
        Ok(Changed { object, pinned: pins, by: managed::By::Update, view: None })
    })
    .await?;
    finish::written(target, StatusCode::OK, &written).await
}

/// Reads the body of a patch that is JSON.
///
/// # Errors
/// 400.
pub fn read(target: &Target<'_>, form: Form, bytes: &Bytes, validation: FieldValidation) -> Result<Value> {
    let decoded = strict::decode_json(bytes, bytes.len())
        .map_err(|error| Status::bad_request(format!("error decoding patch: {}", stdx::error::chain(&error))))?;
    let whose = if decoded.value.is_array() { "json patch " } else { "" };
    let found = decoded.messages().map(|message| format!("{whose}{message}")).collect();
    decode::report(target, &target.resource.kind, found, validation)?;
    match decoded.value {
        Value::Null if form == Form::Strategic => Ok(Value::Object(Map::new())),
        value => Ok(value),
    }
}

/// The patch names the version it is for; a conflict is then the client's to solve.
pub fn names_version(form: Form, patch: &Value) -> bool {
    match form {
        Form::Json => patch
            .as_array()
            .into_iter()
            .flatten()
            .any(|step| step["path"] == "/metadata/resourceVersion" && step["op"] != "remove"),
        _ => !meta::resource_version(patch).is_empty(),
    }
}

/// The object as the patch makes it of `old`.
///
/// # Errors
/// 400, 413 and 422 as the patch deserves.
pub fn patched(target: &Target<'_>, form: Form, patch: &Value, old: &Value) -> Result<Value> {
    let resource = target.resource;
    let mut object = old.clone();
    let outcome = match form {
        Form::Json => patch::json(&mut object, patch),
        Form::Strategic => patch::strategic(&mut object, patch, resource.schema(), resource.definitions()),
        Form::Merge | Form::Apply => patch::merge(&mut object, patch),
    };
    outcome.map_err(refusal)?;
    Ok(object)
}

/// The failure of a patch.
pub fn refusal(error: patch::Error) -> Status {
    match error {
        patch::Error::Malformed(_) => Status::bad_request(error.to_string()),
        patch::Error::TooLarge(text) => Status::new(413, "RequestEntityTooLarge", text),
        // Without details, in place of which clients would leave the reason out.
        patch::Error::Rejected(text) | patch::Error::TestFailed(text) => Status::new(422, "Invalid", text),
    }
}

/// The patch makes something of the object that is none of its kind: the patch is what is wrong.
fn unfit(target: &Target<'_>, patch: &Value, status: Status) -> Status {
    let why = status.message();
    // What is said here is written in the audit log, too, which has the contents of no Secret.
    let is_secret = target.resource.plural == "secrets" && target.resource.group_version.group.is_empty();
    let shown = if is_secret { "<secret contents redacted>".to_string() } else { patch.to_string() };
    let wrong = FieldError::invalid(&Path::new("patch"), shown, why);
    Status::invalid("", "", "", &vec![wrong])
}

/// Makes a complete object of what a patch left.
///
/// # Errors
/// 400 for another name, 422 for what is no object of the kind any more.
pub fn finish_patched(
    target: &Target<'_>,
    patch: &Value,
    object: &mut Value,
    validation: FieldValidation,
) -> Result<()> {
    let completed = decode::set_type(target.resource, object).and_then(|()| decode::complete(target.resource, object));
    let unknown = completed.map_err(|status| unfit(target, patch, status))?;
    let found = unknown.iter().map(|path| strict::unknown_field(path)).collect();
    decode::report(target, &target.resource.kind, found, validation)?;
    check_name(target, object)?;
    create::set_place(target, object)
}
