//! What an update may change, and what is wrong with it: metadata here, the rest by the rules of the kind, of the
//! object itself or of the subresource that is written to.

use api::resource::Resource;
use machinery::field::FieldErrors;
use machinery::meta;
use machinery::schema::{self, Type};
use serde_json::{Map, Value};

use super::target::Target;

/// Fields of metadata that an update without them keeps.
const KEPT_METADATA: [&str; 7] = [
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "generateName",
    "selfLink",
];

/// Takes from `old` the metadata that clients leave to the server.
pub fn keep_metadata(object: &mut Value, old: &Value) {
    let metadata = meta::metadata_mut(object);
    // The generation is the server's own.
    metadata.remove("generation");
    for field in KEPT_METADATA {
        if let (false, Some(value)) = (metadata.contains_key(field), old["metadata"].get(field)) {
            metadata.insert(field.to_string(), value.clone());
        }
    }
}

/// Takes from `old` what this update may not change, and sets what follows from it.
pub fn for_update(target: &Target<'_>, object: &mut Value, old: &Value) {
    let behaviour = &target.resource.behaviour;
    match target.subresource_name() {
        "" => behaviour.prepare_update(object, old),
        subresource => behaviour.prepare_subresource_update(subresource, object, old),
    }
    fill_status(target.resource, object);
}

/// A built-in kind that has a status has one from the beginning, with every number and flag in it that has to be there:
/// clients of typed languages look into it without asking, and some refuse an object without them.
pub fn fill_status(resource: &Resource, object: &mut Value) {
    if resource.custom().is_some() || resource.subresource("status").is_none() {
        return;
    }
    let (definitions, Some(fields)) = (resource.definitions(), object.as_object_mut()) else { return };
    let status = fields.entry("status").or_insert_with(|| Value::Object(Map::new()));
    if let Type::Object { fields, .. } = &definitions.resolve(resource.schema()).type_
        && let Some(schema) = fields.get("status")
    {
        schema::default(status, schema, definitions);
    }
}

/// Everything that is wrong with the update.
pub fn check(target: &Target<'_>, object: &Value, old: &Value) -> FieldErrors {
    match target.subresource_name() {
        "" => api::metadata::validate_update(target.resource, object, old),
        subresource => api::metadata::validate_subresource_update(target.resource, subresource, object, old),
    }
}
