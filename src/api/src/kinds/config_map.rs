//! ConfigMap.

use machinery::field::FieldErrors;
use machinery::names;
use serde_json::Value;

use super::simple::Simple;
use crate::check::At;
use crate::metadata::too_long;
use crate::read;
use crate::table::{age, age_column, column, name, name_column};

/// The behaviour of ConfigMaps.
pub static CONFIG_MAP: Simple = Simple {
    columns: &[name_column(), column("Data", "integer", "How many keys it has."), age_column()],
    cells: |object, now| vec![name(object), count(object).into(), age(object, now)],
    validate,
    validate_update: validate_immutable,
    ..Simple::PLAIN
};

fn count(object: &Value) -> usize {
    read::map(object, "data").len() + read::map(object, "binaryData").len()
}

/// All the data of a ConfigMap or Secret together.
pub(super) const DATA_MAX_BYTES: usize = 1024 * 1024;

fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let root = At::root(object);
    let binary = read::map(object, "binaryData");
    let mut size_bytes = 0;
    for (key, entry) in root.entries("data") {
        errors.extend(key_errors(key, &entry));
        if binary.contains_key(key) {
            let wrong = "duplicate of key present in binaryData";
            errors.push(machinery::field::FieldError::invalid(&entry.path, key, wrong));
        }
        size_bytes += entry.text().len();
    }
    for (key, entry) in root.entries("binaryData") {
        errors.extend(key_errors(key, &entry));
        size_bytes += decoded_bytes(entry.text());
    }
    if size_bytes > DATA_MAX_BYTES {
        errors.push(too_long(&root.at("data").path, DATA_MAX_BYTES));
    }
    errors
}

/// What is wrong with a key of data.
pub(super) fn key_errors(key: &str, entry: &At<'_>) -> FieldErrors {
    let wrong = names::config_map_key(key).into_iter();
    wrong.map(|wrong| machinery::field::FieldError::invalid(&entry.path, key, wrong)).collect()
}

/// How many bytes a base64 text stands for.
pub(super) fn decoded_bytes(base64: &str) -> usize {
    base64.trim_end_matches('=').len() * 3 / 4
}

/// What was declared immutable stays so, with all its data.
pub(super) fn validate_immutable(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if !read::flag(old, "immutable") {
        return errors;
    }
    let wrong = "field is immutable when `immutable` is set";
    let root = At::root(object);
    if !root.at("immutable").is_true() {
        root.at("immutable").forbidden(&mut errors, wrong);
    }
    for field in ["data", "binaryData"] {
        if !read::same(root.at(field).value, read::at(old, field)) {
            root.at(field).forbidden(&mut errors, wrong);
        }
    }
    errors
}
