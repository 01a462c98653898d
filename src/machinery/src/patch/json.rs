//! JSON patch (RFC 6902), with the bounds and messages of the API server.

mod leniency;

use json_patch::{PatchErrorKind, PatchOperation, jsonptr::Pointer};
use serde_json::Value;

use super::Error;
use crate::strict::{MAX_DEPTH, depth};

/// The most operations in one patch.
pub const MAX_OPERATIONS: usize = 10_000;
/// The most bytes that the copy operations of one patch may add together, about.
pub const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;
/// The most bytes that the move operations of one patch may take to a deeper place together, about: each of them is
/// looked through, so this bounds the work. It is more than any object has ten times over.
pub const MAX_MOVED_BYTES: usize = 64 * 1024 * 1024;

/// The most elements of lists that the operations of one patch may push along together, by putting one before them or
/// taking one away: a moment's work, and more than any object needs.
const MAX_SHIFTED_ELEMENTS: usize = 64 * 1024 * 1024;

/// Carries out a list of operations; all of them or none.
pub fn json(object: &mut Value, patch: &Value) -> Result<(), Error> {
    let count = patch.as_array().map_or(0, Vec::len);
    if count > MAX_OPERATIONS {
        return Err(Error::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}"
        )));
    }
    let operations = leniency::operations(patch)?;
    let mut patched = object.clone();
    let mut taken = Taken::default();
    for operation in operations {
        let Some(operation) = leniency::meant(operation, &patched) else { continue };
        let operation = &operation;
        taken.check(operation, &patched)?;
        json_patch::patch_unsafe(&mut patched, std::slice::from_ref(operation))
            .map_err(|error| failure(operation, &error.kind))?;
    }
    *object = patched;
    Ok(())
}

/// What the operations of one patch have taken from one place to another so far.
#[derive(Default)]
struct Taken {
    copied_bytes: usize,
    moved_bytes: usize,
    shifted_elements: usize,
}

impl Taken {
    /// The operation makes the document neither too large nor too deep. What it finds no place for is refused by
    /// whoever carries it out.
    fn check(&mut self, operation: &PatchOperation, document: &Value) -> Result<(), Error> {
        self.shift(operation, document)?;
        match operation {
            PatchOperation::Add(add) => check_depth(&add.path, &add.value),
            PatchOperation::Replace(replace) => check_depth(&replace.path, &replace.value),
            PatchOperation::Copy(copy) => {
                let Ok(source) = copy.from.resolve(document) else { return Ok(()) };
                let bytes = add_up(&mut self.copied_bytes, source);
                if bytes > MAX_COPIED_BYTES {
                    return Err(Error::TooLarge(format!(
                        "Unable to complete the copy, the accumulated size increase of copy is {bytes}, exceeding the \
                         limit {MAX_COPIED_BYTES}"
                    )));
                }
                check_depth(&copy.path, source)
            }
            // At the same level or above nothing becomes deeper than it was.
            PatchOperation::Move(moved) if moved.path.count() > moved.from.count() => {
                let Ok(source) = moved.from.resolve(document) else { return Ok(()) };
                let bytes = add_up(&mut self.moved_bytes, source);
                if bytes > MAX_MOVED_BYTES {
                    return Err(Error::TooLarge(format!(
                        "Unable to complete the move, the accumulated size of what is moved is {bytes}, exceeding the \
                         limit {MAX_MOVED_BYTES}"
                    )));
                }
                check_depth(&moved.path, source)
            }
            PatchOperation::Move(_) | PatchOperation::Remove(_) | PatchOperation::Test(_) => Ok(()),
        }
    }
}

impl Taken {
    /// The operation does not push too many elements along.
    fn shift(&mut self, operation: &PatchOperation, document: &Value) -> Result<(), Error> {
        let (left, entered) = match operation {
            PatchOperation::Add(_) | PatchOperation::Copy(_) => (0, behind(operation.path(), document)),
            PatchOperation::Remove(_) => (behind(operation.path(), document), 0),
            PatchOperation::Move(moved) => (behind(&moved.from, document), behind(&moved.path, document)),
            PatchOperation::Replace(_) | PatchOperation::Test(_) => (0, 0),
        };
        self.shifted_elements = self.shifted_elements.saturating_add(left).saturating_add(entered);
        if self.shifted_elements > MAX_SHIFTED_ELEMENTS {
            return Err(Error::TooLarge(format!(
                "Unable to complete the patch, its operations push more than {MAX_SHIFTED_ELEMENTS} elements of lists \
                 along"
            )));
        }
        Ok(())
    }
}

/// How many elements of a list stand behind a place in it.
fn behind(path: &Pointer, document: &Value) -> usize {
    let Some((list, place)) = path.split_back() else { return 0 };
    let Ok(Value::Array(list)) = list.resolve(document) else { return 0 };
    place.decoded().parse().map_or(0, |place: usize| list.len().saturating_sub(place))
}

fn add_up(total: &mut usize, value: &Value) -> usize {
    *total = total.saturating_add(size(value));
    *total
}

/// A value is not nested deeper at `path` than a body may be.
fn check_depth(path: &Pointer, value: &Value) -> Result<(), Error> {
    match path.count() + depth(value) {
        levels if levels > MAX_DEPTH => Err(Error::Rejected(format!(
            "the value for {path} would be nested {levels} levels deep, exceeding the limit {MAX_DEPTH}"
        ))),
        _ => Ok(()),
    }
}

fn failure(operation: &PatchOperation, kind: &PatchErrorKind) -> Error {
    let text = message(operation, kind);
    match operation {
        PatchOperation::Test(_) => Error::TestFailed(text),
        _ => Error::Rejected(text),
    }
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
