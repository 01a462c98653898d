//! What Kubernetes understands of a JSON patch beyond RFC 6902: a value that is left out is null, a field that is missing
//! is null to `test` and `copy` and is made by `replace`, and places in a list count from its end where they are negative.

use json_patch::jsonptr::{Pointer, PointerBuf};
use json_patch::{AddOperation, PatchOperation};
use serde_json::Value;

use crate::patch::Error;

/// The operations of a patch.
pub(super) fn operations(patch: &Value) -> Result<Vec<PatchOperation>, Error> {
    let Value::Array(list) = patch else {
        return Err(Error::Malformed("a JSON patch must be a list of operations".to_string()));
    };
    list.iter().map(operation).collect()
}

fn operation(operation: &Value) -> Result<PatchOperation, Error> {
    let Value::Object(fields) = operation else {
        return Err(Error::Malformed(format!("an operation must be an object, not {operation}")));
    };
    let read = |operation: &Value| serde::Deserialize::deserialize(operation);
    let read = match fields.get("value") {
        Some(_) => read(operation),
        None => {
            let mut fields = fields.clone();
            fields.insert("value".to_string(), Value::Null);
            read(&Value::Object(fields))
        }
    };
    read.map_err(|error: serde_json::Error| Error::Rejected(error.to_string()))
}

/// The operation as RFC 6902 would have it for this document; `None` for one that does nothing.
pub(super) fn meant(mut operation: PatchOperation, document: &Value) -> Option<PatchOperation> {
    count_from_end(&mut operation, document);
    match operation {
        PatchOperation::Test(test) if test.value.is_null() && is_missing_field(&test.path, document) => None,
        PatchOperation::Replace(replace) if is_missing_field(&replace.path, document) => {
            Some(PatchOperation::Add(AddOperation { path: replace.path, value: replace.value }))
        }
        PatchOperation::Copy(copy) if is_missing_field(&copy.from, document) => {
            Some(PatchOperation::Add(AddOperation { path: copy.path, value: Value::Null }))
        }
        other => Some(other),
    }
}

/// The path leads to an object that has no such field.
fn is_missing_field(path: &Pointer, document: &Value) -> bool {
    let Some((parent, field)) = path.split_back() else { return false };
    let parent = parent.resolve(document).ok().and_then(Value::as_object);
    parent.is_some_and(|fields| !fields.contains_key(&*field.decoded()))
}

fn count_from_end(operation: &mut PatchOperation, document: &Value) {
    let settle = |path: &mut PointerBuf, adds: bool| {
        if let Some(settled) = settled(path, document, adds) {
            *path = settled;
        }
    };
    match operation {
        PatchOperation::Add(add) => settle(&mut add.path, true),
        PatchOperation::Remove(remove) => settle(&mut remove.path, false),
        PatchOperation::Replace(replace) => settle(&mut replace.path, false),
        PatchOperation::Test(test) => settle(&mut test.path, false),
        PatchOperation::Move(moved) => {
            settle(&mut moved.from, false);
            settle(&mut moved.path, true);
        }
        PatchOperation::Copy(copy) => {
            settle(&mut copy.from, false);
            settle(&mut copy.path, true);
        }
    }
}

/// The path with places that count from the end of their list, or that have leading zeros, as plain ones; `None` where
/// it has none. In a list that an element is `added` to, -1 is the place behind the last.
fn settled(path: &Pointer, document: &Value, added: bool) -> Option<PointerBuf> {
    let is_plain = |token: &str| {
        let digits = token.strip_prefix('-').unwrap_or(token);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        !is_number || token == "0" || !token.starts_with(['-', '0'])
    };
    if path.tokens().all(|token| is_plain(&token.decoded())) {
        return None;
    }
    let (mut settled, mut at) = (PointerBuf::new(), Some(document));
    let count = path.count();
    for (depth, token) in path.tokens().enumerate() {
        let token = token.decoded();
        let list = at.and_then(Value::as_array).filter(|_| !is_plain(&token));
        let place = list.zip(token.parse::<i64>().ok()).and_then(|(list, place)| {
            let length = list.len() + usize::from(added && depth + 1 == count);
            match usize::try_from(place) {
                Ok(place) => Some(place),
                Err(_) => length.checked_sub(usize::try_from(place.unsigned_abs()).ok()?),
            }
        });
        let token = place.map_or_else(|| token.to_string(), |place| place.to_string());
        at = at.and_then(|value| match value {
            Value::Object(fields) => fields.get(&token),
            Value::Array(list) => list.get(token.parse::<usize>().ok()?),
            _ => None,
        });
        settled.push_back(token);
    }
    Some(settled)
}
