//! Objects from one version of their resource to another: those of this program and of definitions without a webhook
//! at once, those of a definition with a conversion webhook by asking it ([`review`]).

mod review;
pub mod shared;

use api::custom::Conversion;
use api::resource::Resource;
use machinery::gvk::GroupVersion;
use machinery::meta;
use serde_json::Value;

use crate::status::Result;
use crate::webhook::Caller;

/// The webhook that converts the objects of a resource; `None` where none is needed.
pub fn webhook(resource: &Resource) -> Option<&Conversion> {
    resource.custom()?.conversion.as_ref()
}

/// Stored objects as the resource has them.
///
/// # Errors
/// 500 where the conversion webhook does not do what it should.
pub async fn to_served(caller: &Caller, resource: &Resource, objects: Vec<Value>) -> Result<Vec<Value>> {
    if resource.storage.is_none() {
        return Ok(objects);
    }
    let objects = through(caller, resource, &resource.group_version, objects).await?;
    Ok(objects.into_iter().map(|object| resource.behaviour.to_served(object)).collect())
}

/// The same for one object.
///
/// # Errors
/// See [`to_served`].
pub async fn one_to_served(caller: &Caller, resource: &Resource, object: Value) -> Result<Value> {
    if webhook(resource).is_none() {
        return Ok(if resource.storage.is_some() { resource.behaviour.to_served(object) } else { object });
    }
    Ok(to_served(caller, resource, vec![object]).await?.pop().unwrap_or_default())
}

/// An object of the resource as it is stored.
///
/// # Errors
/// See [`to_served`].
pub async fn to_stored(caller: &Caller, resource: &Resource, object: Value) -> Result<Value> {
    let Some(stored) = &resource.storage else { return Ok(object) };
    let converted = through(caller, resource, stored, vec![object]).await?.pop().unwrap_or_default();
    Ok(resource.behaviour.to_stored(converted))
}

/// An object of one resource as another version of it has it. What is not there is in no version.
///
/// # Errors
/// See [`to_served`].
pub async fn between(caller: &Caller, from: &Resource, to: &Resource, object: &Value) -> Result<Value> {
    if object.is_null() {
        return Ok(Value::Null);
    }
    if let Some(custom) = from.custom() {
        if custom.conversion.is_some() {
            return one_to_served(caller, to, object.clone()).await;
        }
        // Nothing but its name tells one version from the other: what only one of their schemas knows stays.
        let mut object = object.clone();
        object["apiVersion"] = to.group_version.to_string().into();
        return Ok(object);
    }
    let stored = match &from.storage {
        Some(_) => from.behaviour.to_stored(object.clone()),
        None => object.clone(),
    };
    Ok(if to.storage.is_some() { to.behaviour.to_served(stored) } else { stored })
}

/// Has those objects converted that are of another version, where a webhook does it.
async fn through(
    caller: &Caller,
    resource: &Resource,
    version: &GroupVersion,
    mut objects: Vec<Value>,
) -> Result<Vec<Value>> {
    let Some(conversion) = webhook(resource) else { return Ok(objects) };
    let wanted = version.to_string();
    let places: Vec<usize> = (0..objects.len()).filter(|at| meta::api_version(&objects[*at]) != wanted).collect();
    let sent: Vec<Value> = places.iter().map(|at| std::mem::take(&mut objects[*at])).collect();
    // Kept apart: all that it takes to ask a webhook would else be part of every request that reads or writes.
    let made = Box::pin(review::convert(caller, conversion, &wanted, sent)).await?;
    for (at, converted) in places.into_iter().zip(made) {
        objects[at] = converted;
    }
    Ok(objects)
}
