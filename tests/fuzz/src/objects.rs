//! Objects of the built-in kinds, and what the server makes of them before it keeps them.

use api::resource::Resource;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use machinery::schema;
use serde_json::{Map, Value};

use crate::value;

/// One of the built-in resources.
pub fn resource(u: &mut Unstructured<'_>) -> Result<&'static Resource> {
    u.choose(api::registry().resources())
}

/// An object of a resource, mostly, with its apiVersion, kind and a name.
pub fn object(u: &mut Unstructured<'_>, resource: &Resource) -> Result<Value> {
    let mut object = value(u, resource.schema(), resource.definitions())?;
    if !object.is_object() {
        object = Value::Object(Map::new());
    }
    object["apiVersion"] = resource.group_version.to_string().into();
    object["kind"] = resource.kind.as_ref().into();
    if !object["metadata"].is_object() {
        object["metadata"] = Value::Object(Map::new());
    }
    object["metadata"]["name"] = "x".into();
    Ok(object)
}

/// Makes a complete object of what a client sent, as the server does before admission: unknown fields dropped, types
/// checked, defaults filled in. None where it is refused.
pub fn complete(resource: &Resource, mut object: Value) -> Option<Value> {
    if let Some(custom) = resource.custom() {
        return api::custom::complete(custom, &mut object).ok().map(|_| object);
    }
    schema::prune(&mut object, resource.schema(), resource.definitions());
    api::normalize::normalize(resource, &mut object);
    schema::decode(&mut object, resource.schema(), resource.definitions()).ok()?;
    schema::default(&mut object, resource.schema(), resource.definitions());
    resource.behaviour.default(&mut object);
    Some(object)
}
