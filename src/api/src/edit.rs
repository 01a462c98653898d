//! Filling in fields of objects.

use serde_json::{Map, Value};

/// The object at the field `name`, if it is one.
pub(crate) fn object_at<'a>(object: &'a mut Value, path: &str) -> Option<&'a mut Map<String, Value>> {
    value_at(object, path).and_then(Value::as_object_mut)
}

/// The value at a path of field names joined by dots.
pub(crate) fn value_at<'a>(object: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    path.split('.').try_fold(object, |at, name| at.get_mut(name))
}

/// The elements of the list at `path`; none where there is no list.
pub(crate) fn items_at<'a>(object: &'a mut Value, path: &str) -> std::slice::IterMut<'a, Value> {
    match value_at(object, path).and_then(Value::as_array_mut) {
        Some(list) => list.iter_mut(),
        None => Default::default(),
    }
}

/// Sets the field `name` of `object` where it is missing or `null`.
pub(crate) fn fill(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_object_mut()
        && fields.get(name).is_none_or(Value::is_null)
    {
        fields.insert(name.to_string(), value.into());
    }
}

/// Sets the field `name` of `object`, whatever it was.
pub(crate) fn set(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_string(), value.into());
    }
}

/// Removes the field `name` of `object`.
pub(crate) fn remove(object: &mut Value, name: &str) -> Option<Value> {
    object.as_object_mut()?.remove(name)
}

/// Gives the map at `into` every entry of `from` whose key it lacks.
pub(crate) fn fill_map(object: &mut Value, into: &str, from: &Value) {
    let Some(from) = from.as_object().filter(|from| !from.is_empty()) else { return };
    fill(object, into, Map::new());
    if let Some(target) = object.get_mut(into) {
        for (key, value) in from {
            fill(target, key, value.clone());
        }
    }
}
