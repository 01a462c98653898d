//! JSON patch (RFC 6902), with the bounds and messages of the API server.

use json_patch::{PatchErrorKind, PatchOperation, jsonptr::Pointer};
use serde_json::Value;

use super::Error;

/// The most operations in one patch.
pub const MAX_OPERATIONS: usize = 10_000;
/// The most bytes that the copy operations of one patch may add together, about.
pub const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;

/// Carries out a list of operations; all of them or none.
pub fn json(object: &mut Value, patch: &Value) -> Result<(), Error> {
    let count = patch.as_array().map_or(0, Vec::len);
    if count > MAX_OPERATIONS {
        return Err(Error::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}"
        )));
    }
    let operations: Vec<PatchOperation> =
        serde::Deserialize::deserialize(patch).map_err(|error| Error::Malformed(error.to_string()))?;
    let mut patched = object.clone();
    let mut copied_bytes = 0;
    for operation in &operations {
        if let PatchOperation::Copy(copy) = operation {
            copied_bytes += copy.from.resolve(&patched).map_or(0, size);
            if copied_bytes > MAX_COPIED_BYTES {
                return Err(Error::TooLarge(format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {copied_bytes}, exceeding \
                     the limit {MAX_COPIED_BYTES}"
                )));
            }
        }
        if let PatchOperation::Test(test) = operation
            && test.value.is_null()
            && test.path.resolve(&patched).is_err()
        {
            // Kubernetes takes what is missing for null.
            continue;
        }
        json_patch::patch_unsafe(&mut patched, std::slice::from_ref(operation))
            .map_err(|error| Error::Rejected(message(operation, &error.kind)))?;
    }
    *object = patched;
    Ok(())
}

fn message(operation: &PatchOperation, kind: &PatchErrorKind) -> String {
    let name = match operation {
        PatchOperation::Add(_) => "add",
        PatchOperation::Remove(_) => "remove",
        PatchOperation::Replace(_) => "replace",
        PatchOperation::Move(_) => "move",
        PatchOperation::Copy(_) => "copy",
        PatchOperation::Test(_) => "test",
    };
    let from: Option<&Pointer> = match operation {
        PatchOperation::Move(operation) => Some(&operation.from),
        PatchOperation::Copy(operation) => Some(&operation.from),
        _ => None,
    };
    let path = operation.path();
    match kind {
        PatchErrorKind::TestFailed => format!("testing value {path} failed: test failed"),
        PatchErrorKind::InvalidFromPointer => {
            let from = from.unwrap_or(path);
            format!("{name} operation does not apply: doc is missing from path: {from}: missing value")
        }
        PatchErrorKind::CannotMoveInsideItself => {
            format!("{name} operation does not apply: {path} is inside of what is moved")
        }
        _ => format!("{name} operation does not apply: doc is missing path: {path}: missing value"),
    }
}

/// About how many bytes a value takes as JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(list) => list.iter().map(size).sum::<usize>() + 2,
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + 4 + size(value)).sum::<usize>() + 2,
    }
}
