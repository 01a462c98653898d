//! Reading bodies: JSON or YAML into values, and values into complete objects of a resource: unknown and duplicate
//! fields dropped, warned of or refused, types checked, defaults filled in.

use api::resource::Resource;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use machinery::gvk::GroupVersionKind;
use machinery::strict::{self, Decoded};
use machinery::{meta, schema};
use serde_json::{Map, Value};

use super::options::FieldValidation;
use super::protobuf;
use super::target::Target;
use crate::body::{JSON, PROTOBUF, YAML};
use crate::status::{Result, Status};

/// The media type of a body, without parameters and in lower case; JSON where none is given.
pub fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match text.split(';').next().unwrap_or_default().trim() {
        "" => JSON.to_string(),
        media_type => media_type.to_ascii_lowercase(),
    }
}

/// Reads a JSON, YAML or protobuf body.
///
/// # Errors
/// 415 for another media type, 400 for what cannot be parsed.
pub fn body(headers: &HeaderMap, bytes: &Bytes, limit_bytes: usize) -> Result<Decoded> {
    let decoded = match media_type(headers).as_str() {
        // kubectl's raw mode and curl without a content type send forms.
        JSON | "application/x-www-form-urlencoded" | "*/*" => strict::decode_json(bytes, limit_bytes),
        YAML | "application/x-yaml" | "text/yaml" => strict::decode_yaml(bytes, limit_bytes),
        PROTOBUF => {
            return Ok(Decoded { value: protobuf::decode(bytes)?, duplicates: Vec::new() });
        }
        _ => return Err(Status::unsupported_media_type(&[JSON, YAML, PROTOBUF])),
    };
    decoded.map_err(|error| Status::bad_request(stdx::error::chain(&error)))
}

/// Makes a complete object of the resource out of a decoded one.
///
/// # Errors
/// 400 for another kind, a wrong type, or (where strict) unknown and duplicate fields.
pub fn object(target: &Target<'_>, decoded: Decoded, validation: FieldValidation) -> Result<Value> {
    let duplicates: Vec<String> = decoded.messages().collect();
    let mut object = decoded.value;
    set_type(target.resource, &mut object)?;
    let unknown = complete(target.resource, &mut object)?;
    let unknown: Vec<String> = unknown.iter().map(|path| strict::unknown_field(path)).collect();
    // What custom objects do not know is found after all of them was read.
    let found = match target.resource.custom() {
        Some(_) => [duplicates, unknown].concat(),
        None => [unknown, duplicates].concat(),
    };
    report(target, &target.resource.kind, found, validation)?;
    Ok(object)
}

/// Warns of, refuses or passes over what was unknown or twice in a body.
///
/// # Errors
/// 400 where strict and something was found.
pub fn report(target: &Target<'_>, kind: &str, found: Vec<String>, validation: FieldValidation) -> Result<()> {
    report_of(target, &target.resource.group_version.version, kind, found, validation)
}

/// The same for a kind that is no resource of its own.
///
/// # Errors
/// 400 where strict and something was found.
pub fn report_of(
    target: &Target<'_>,
    version: &str,
    kind: &str,
    found: Vec<String>,
    validation: FieldValidation,
) -> Result<()> {
    match validation {
        FieldValidation::Strict if !found.is_empty() => Err(Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {}",
            found.join(", ")
        ))),
        FieldValidation::Warn => {
            found.into_iter().for_each(|message| target.context.warnings.add(message));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Sets apiVersion and kind where they are missing.
///
/// # Errors
/// 400 for what is no object or names another kind.
pub fn set_type(resource: &Resource, object: &mut Value) -> Result<()> {
    let api_version = resource.group_version.to_string();
    set_type_to(&api_version, &resource.kind, object)
}

/// The same for a kind that is no resource of its own, such as Scale.
///
/// # Errors
/// 400 for what is no object or names another kind.
pub fn set_type_to(api_version: &str, kind: &str, object: &mut Value) -> Result<()> {
    if !object.is_object() {
        return Err(Status::bad_request("the body of the request is not an object"));
    }
    let (own_version, own_kind) = (meta::api_version(object), meta::kind(object));
    let fits = (own_version.is_empty() || own_version == api_version) && (own_kind.is_empty() || own_kind == kind);
    if !fits {
        return Err(Status::bad_request(format!(
            "{own_kind} in version {own_version:?} cannot be handled as a {kind}: the object provided is not of \
             apiVersion {api_version:?} and kind {kind:?}"
        )));
    }
    object["apiVersion"] = api_version.into();
    object["kind"] = kind.into();
    let found = match &object["metadata"] {
        Value::Object(_) => return Ok(()),
        Value::Null => {
            object["metadata"] = Value::Object(Map::new());
            return Ok(());
        }
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
    };
    let version = api_version.rsplit('/').next().unwrap_or_default();
    Err(Status::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a {kind}: json: cannot unmarshal {found} into Go struct field \
         {kind}.metadata of type v1.ObjectMeta"
    )))
}

/// Drops unknown fields (answering their paths), checks types, and fills in every default.
///
/// # Errors
/// 400 for a value of another type than its field's.
pub fn complete(resource: &Resource, object: &mut Value) -> Result<Vec<String>> {
    if let Some(custom) = resource.custom() {
        return api::custom::complete(custom, object).map_err(|error| wrong_type(resource, &error));
    }
    let (definitions, root) = (resource.definitions(), resource.schema());
    let unknown = schema::prune(object, root, definitions);
    api::normalize::normalize(resource, object);
    check_types(resource, object)?;
    schema::default(object, root, definitions);
    resource.behaviour.default(object);
    Ok(unknown)
}

/// The same for the body of a subresource; a kind that is a resource too is left as it is.
///
/// # Errors
/// 400 for a value of another type than its field's.
pub fn complete_body(kind: &GroupVersionKind, object: &mut Value) -> Result<()> {
    let version = &kind.group_version;
    let Some(body) = api::registry().body(&version.group, &version.version, &kind.kind) else { return Ok(()) };
    let (definitions, root) = (body.definitions(), body.schema());
    schema::prune(object, root, definitions);
    schema::decode(object, root, definitions).map_err(|error| {
        let (kind, version) = (&kind.kind, &version.version);
        Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {error}"))
    })?;
    schema::default(object, root, definitions);
    Ok(())
}

/// Checks that every value has its field's type, and brings quantities and times into canonical form.
///
/// # Errors
/// 400 for a value of another type than its field's.
pub fn check_types(resource: &Resource, object: &mut Value) -> Result<()> {
    let checked = match resource.custom() {
        Some(custom) => api::custom::check_types(custom, object),
        None => schema::decode(object, resource.schema(), resource.definitions()),
    };
    checked.map_err(|error| wrong_type(resource, &error))
}

fn wrong_type(resource: &Resource, error: &schema::DecodeError) -> Status {
    let (kind, version) = (&resource.kind, &resource.group_version.version);
    Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {error}"))
}

/// Drops nulls of a configuration that is applied, and what it has beside its schema.
pub fn prune(resource: &Resource, object: &mut Value) {
    match resource.custom() {
        Some(_) => schema::prune_structural(object, resource.schema(), resource.definitions()),
        None => schema::prune(object, resource.schema(), resource.definitions()),
    };
}
