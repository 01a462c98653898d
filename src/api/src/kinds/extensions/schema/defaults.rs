//! Defaults of a schema, which must fit the schema that they stand in: objects that leave a field out would be refused
//! otherwise, or lose what they were given.

use std::sync::LazyLock;

use machinery::field::FieldErrors;
use machinery::schema::structural::read;
use machinery::schema::{self, Definitions, OBJECT_META};
use serde_json::Value;

use super::Level;
use crate::check::At;
use crate::definitions::closure;

static DEFINITIONS: LazyLock<Definitions> = LazyLock::new(|| closure(OBJECT_META));

/// What is wrong with the defaults of a structural schema. Those of metadata are not the definition's to give.
pub(in crate::kinds::extensions) fn validate(schema: &At<'_>, errors: &mut FieldErrors) {
    walk(schema, Level::Root, errors);
}

fn walk(schema: &At<'_>, level: Level, errors: &mut FieldErrors) {
    let default = schema.at("default");
    if default.is_set() {
        fits(schema.value, &default, errors);
    }
    let items = schema.at("items");
    if items.value.is_object() {
        walk(&items, Level::Item, errors);
    }
    let is_object = level == Level::Root || schema.at("x-kubernetes-embedded-resource").is_true();
    for (name, property) in schema.entries("properties") {
        if !(is_object && matches!(name, "apiVersion" | "kind" | "metadata")) {
            walk(&property, Level::Field, errors);
        }
    }
}

fn fits(schema: &Value, default: &At<'_>, errors: &mut FieldErrors) {
    let schema = read(schema, OBJECT_META);
    let mut pruned = default.value.clone();
    schema::prune_structural(&mut pruned, &schema, &DEFINITIONS);
    if pruned != *default.value {
        default.invalid(errors, "must not have unknown fields");
    }
    for mut error in schema::check(default.value, &schema, &DEFINITIONS) {
        error.path = default.path.join(&error.path);
        errors.push(error);
    }
}
