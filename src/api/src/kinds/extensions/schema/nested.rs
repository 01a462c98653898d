//! The parts of `allOf`, `anyOf`, `oneOf` and `not`, to any depth: they bound values and say nothing of the structure,
//! which the schema around them has to tell whole.

use machinery::field::{FieldError, FieldErrors, Path};
use serde_json::{Value, json};

use super::{DEPTH_MAX, unsupported, values};
use crate::check::At;
use crate::read;

const JUNCTORS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// What the parts of `allOf` and its like may not say, since the schema itself has to.
const STRUCTURE: [(&str, &str); 11] = [
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("externalDocs", "must be undefined to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
];

/// Everything that is wrong with the parts of a schema that are no structure.
pub(super) fn walk(schema: &At<'_>, depth: usize, errors: &mut FieldErrors) {
    junctors(schema, has_both_types(schema.value), true, depth, errors);
}

/// The parts below one schema. `of_types`: its `anyOf` repeats the types of a number or text for readers of plain
/// OpenAPI. `always_holds`: it is no alternative and not negated, so that it can have rules.
fn junctors(schema: &At<'_>, of_types: bool, always_holds: bool, depth: usize, errors: &mut FieldErrors) {
    if depth > DEPTH_MAX {
        schema.forbidden(errors, "schemas may not be nested this deeply");
        return;
    }
    for list in JUNCTORS.into_iter().filter(|list| *list != "anyOf" || !of_types) {
        for (index, found) in schema.items(list).enumerate() {
            // The other way in which types are repeated: in the first part of allOf.
            let of_types = list == "allOf" && index == 0 && has_both_types(found.value);
            part(&found, of_types, always_holds && list == "allOf", depth + 1, errors);
        }
    }
    let not = schema.at("not");
    if not.is_set() {
        part(&not, false, false, depth + 1, errors);
    }
}

fn part(part: &At<'_>, of_types: bool, always_holds: bool, depth: usize, errors: &mut FieldErrors) {
    let rules = part.at("x-kubernetes-validations");
    if !always_holds && !read::same(rules.value, &Value::Null) {
        rules.forbidden(errors, "must be empty to be structural");
    }
    for (field, wrong) in STRUCTURE {
        let found = At { value: part.value.get(field).unwrap_or(&Value::Null), path: part.path.child(field) };
        if !read::same(found.value, &Value::Null) {
            found.forbidden(errors, wrong);
        }
    }
    for flag in ["nullable", "x-kubernetes-preserve-unknown-fields"] {
        if part.value.get(flag) == Some(&Value::Bool(true)) {
            errors.push(FieldError::forbidden(&part.path.child(flag), "must be false to be structural"));
        }
    }
    unsupported(part, errors);
    values(part, errors);
    junctors(part, of_types, always_holds, depth, errors);
    if depth > DEPTH_MAX {
        return;
    }
    if part.at("items").value.is_object() {
        self::part(&part.at("items"), false, always_holds, depth + 1, errors);
    }
    for (name, property) in part.entries("properties") {
        self::part(&property, false, always_holds, depth + 1, errors);
        if name == "metadata" {
            // What is asked of metadata here would be asked of every object's.
            property.forbidden(errors, "must not be specified in a nested context");
        }
    }
}

/// `anyOf` of an integer and a text.
fn has_both_types(schema: &Value) -> bool {
    let any = read::list(schema, "anyOf");
    any.len() == 2 && any[0] == json!({"type": "integer"}) && any[1] == json!({"type": "string"})
}

/// What the parts of the root name is in the structure as well. As in Kubernetes the parts of deeper schemas are not
/// asked.
pub(super) fn completeness(schema: &At<'_>, errors: &mut FieldErrors) {
    complete_junctors(schema, Some(schema.value), &schema.path, 0, errors);
}

fn complete_junctors(part: &At<'_>, structure: Option<&Value>, path: &Path, depth: usize, errors: &mut FieldErrors) {
    let lists = JUNCTORS.into_iter().flat_map(|list| part.items(list));
    for found in lists.chain(Some(part.at("not")).filter(At::is_set)) {
        complete(&found, structure, path, depth + 1, errors);
    }
}

/// `path` is where in the structure the part belongs.
fn complete(part: &At<'_>, structure: Option<&Value>, path: &Path, depth: usize, errors: &mut FieldErrors) {
    if depth > DEPTH_MAX {
        return;
    }
    let Some(structure) = structure.filter(|structure| !structure.is_null()) else {
        errors.push(FieldError::required(path, format!("because it is defined in {}", part.path)));
        return;
    };
    complete_junctors(part, Some(structure), path, depth, errors);
    let items = part.at("items");
    if items.value.is_object() {
        complete(&items, structure.get("items"), &path.child("items"), depth + 1, errors);
    }
    for (name, property) in part.entries("properties") {
        let own = structure.get("properties").and_then(|own| own.get(name));
        complete(&property, own, &path.child("properties").key(name), depth + 1, errors);
    }
}
