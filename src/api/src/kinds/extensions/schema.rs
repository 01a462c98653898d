//! What the schemas of custom resources may be: structural, so that every field has one type that can be told without
//! an object. What their rules say is `cel::rules`' to judge.

pub(super) mod defaults;
mod nested;

use machinery::field::FieldErrors;
use machinery::re2;
use serde_json::Value;

use crate::check::At;
use crate::read;

/// A schema nested deeper than this is nobody's.
const DEPTH_MAX: usize = 64;
const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
/// What JSON Schema has and structural schemas do not.
const UNSUPPORTED: [&str; 6] = ["$ref", "additionalItems", "definitions", "dependencies", "id", "patternProperties"];
/// Where in a schema a part of it stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Everything that is wrong with the schema of a version.
pub(super) fn validate(schema: &At<'_>, errors: &mut FieldErrors) {
    if !schema.is_set() {
        return;
    }
    if schema.at("nullable").is_true() {
        schema.at("nullable").forbidden(errors, "nullable cannot be true at the root");
    }
    walk(schema, Level::Root, 0, errors);
    nested::completeness(schema, errors);
}

fn walk(schema: &At<'_>, level: Level, depth: usize, errors: &mut FieldErrors) {
    if depth > DEPTH_MAX {
        schema.forbidden(errors, "schemas may not be nested this deeply");
        return;
    }
    unsupported(schema, errors);
    type_of(schema, level, errors);
    lists_and_maps(schema, errors);
    values(schema, errors);
    let items = schema.at("items");
    if items.value.is_object() {
        walk(&items, Level::Item, depth + 1, errors);
    }
    for (_, property) in schema.entries("properties") {
        walk(&property, Level::Field, depth + 1, errors);
    }
    let additional = schema.at("additionalProperties");
    if additional.is_set() {
        if level == Level::Root {
            additional.forbidden(errors, "must not be used at the root");
        }
        if !read::map(schema.value, "properties").is_empty() {
            additional.forbidden(errors, "additionalProperties and properties are mutual exclusive");
        }
        if additional.value.is_object() {
            walk(&additional, Level::Field, depth + 1, errors);
        }
    }
    metadata(schema, level, errors);
    nested::walk(schema, depth, errors);
}

fn unsupported(schema: &At<'_>, errors: &mut FieldErrors) {
    for field in UNSUPPORTED {
        if schema.at(field).is_set() {
            let at = At { value: schema.at(field).value, path: schema.path.child(field) };
            at.forbidden(errors, &format!("{field} is not supported"));
        }
    }
    if schema.at("uniqueItems").is_true() {
        let wrong = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        schema.at("uniqueItems").forbidden(errors, wrong);
    }
    if schema.at("items").value.is_array() {
        schema.at("items").forbidden(errors, "items must be a schema object and not an array");
    }
    if schema.at("additionalProperties").value == &Value::Bool(false) {
        schema.at("additionalProperties").forbidden(errors, "additionalProperties cannot be set to false");
    }
    if schema.at("x-kubernetes-preserve-unknown-fields").value == &Value::Bool(false) {
        schema.at("x-kubernetes-preserve-unknown-fields").invalid(errors, "must be true or undefined");
    }
}

fn type_of(schema: &At<'_>, level: Level, errors: &mut FieldErrors) {
    let type_ = schema.at("type");
    let is = |extension: &str| schema.at(extension).is_true();
    let is_embedded = is("x-kubernetes-embedded-resource");
    match type_.text() {
        "null" => type_.forbidden(errors, "type cannot be set to null, use nullable as an alternative"),
        "" | "array" | "boolean" | "integer" | "number" | "object" | "string" => {}
        _ => type_.not_supported(errors, &TYPES),
    }
    if is_embedded && type_.text() != "object" {
        let wrong = "must be object if x-kubernetes-embedded-resource is true";
        if type_.text().is_empty() { type_.required(errors, wrong) } else { type_.invalid(errors, wrong) }
    } else if type_.text().is_empty()
        && !is("x-kubernetes-int-or-string")
        && !is("x-kubernetes-preserve-unknown-fields")
    {
        let wrong = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        type_.required(errors, wrong);
    }
    if level == Level::Root && !matches!(type_.text(), "" | "object") {
        type_.invalid(errors, "must be object at the root");
    }
    if type_.text() == "array" && !schema.at("items").is_set() {
        schema.at("items").required(errors, "must be specified");
    }
    if is_embedded {
        if schema.at("additionalProperties").is_set() {
            let wrong = "must not be used if x-kubernetes-embedded-resource is set";
            schema.at("additionalProperties").forbidden(errors, wrong);
        }
        if !is("x-kubernetes-preserve-unknown-fields") && read::map(schema.value, "properties").is_empty() {
            let wrong = "must not be empty if x-kubernetes-embedded-resource is true without \
                         x-kubernetes-preserve-unknown-fields";
            schema.at("properties").required(errors, wrong);
        }
    }
    if is("x-kubernetes-int-or-string") {
        for field in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
            if is(field) {
                schema.at(field).invalid(errors, "must be false if x-kubernetes-int-or-string is true");
            }
        }
    }
}

fn lists_and_maps(schema: &At<'_>, errors: &mut FieldErrors) {
    let (type_, list, keys) =
        (schema.at("type"), schema.at("x-kubernetes-list-type"), schema.at("x-kubernetes-list-map-keys"));
    let map = schema.at("x-kubernetes-map-type");
    for (extension, expected, known) in
        [(&map, "object", &["atomic", "granular"][..]), (&list, "array", &["atomic", "set", "map"])]
    {
        if !extension.is_set() {
            continue;
        }
        let name = if expected == "object" { "x-kubernetes-map-type" } else { "x-kubernetes-list-type" };
        let wrong = format!("must be {expected} if {name} is specified");
        match type_.text() {
            "" => type_.required(errors, &wrong),
            text if text != expected => type_.invalid(errors, wrong),
            _ => {}
        }
        if !known.contains(&extension.text()) {
            extension.not_supported(errors, known);
        }
    }
    let names: Vec<At<'_>> = schema.items("x-kubernetes-list-map-keys").collect();
    if !names.is_empty() && list.text() != "map" {
        let wrong = "must be map if x-kubernetes-list-map-keys is non-empty";
        if list.is_set() { list.invalid(errors, wrong) } else { list.required(errors, wrong) }
    }
    if matches!(list.text(), "map" | "set") && schema.at("items.nullable").is_true() {
        let wrong = format!("cannot be nullable when x-kubernetes-list-type is {}", list.text());
        schema.at("items.nullable").forbidden(errors, &wrong);
    }
    if list.text() == "set" && type_.text() == "array" {
        set(&schema.at("items"), errors);
    }
    if list.text() != "map" {
        return;
    }
    if names.is_empty() {
        keys.required(errors, "must not be empty if x-kubernetes-list-type is map");
    }
    let items = schema.at("items");
    if !items.is_set() {
        items.required(errors, "must have a schema if x-kubernetes-list-type is map");
        return;
    }
    if items.at("type").text() != "object" {
        items.at("type").invalid(errors, "must be object if parent array's x-kubernetes-list-type is map");
    }
    map_keys(&keys, &names, &items, errors);
}

/// The elements of a set are compared as wholes.
fn set(items: &At<'_>, errors: &mut FieldErrors) {
    let wrong = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let (list, map) = (items.at("x-kubernetes-list-type"), items.at("x-kubernetes-map-type"));
    match items.at("type").text() {
        "array" if list.is_set() && list.text() != "atomic" => list.invalid(errors, wrong),
        "object" if map.text() != "atomic" => map.invalid(errors, wrong),
        _ => {}
    }
}

fn map_keys(keys: &At<'_>, names: &[At<'_>], items: &At<'_>, errors: &mut FieldErrors) {
    let required: Vec<&str> = read::texts(items.value, "required").collect();
    for (index, name) in names.iter().enumerate() {
        let property = items.at("properties").key(name.text());
        if !property.is_set() {
            keys.invalid(errors, "entries must all be names of item properties");
            continue;
        }
        if names[..index].iter().any(|earlier| earlier.text() == name.text()) {
            keys.invalid(errors, "must not contain duplicate entries");
        }
        if matches!(property.at("type").text(), "array" | "object") {
            let wrong = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            property.at("type").invalid(errors, wrong);
        }
        if !property.at("default").is_set() && !required.contains(&name.text()) {
            let wrong =
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            property.at("default").required(errors, wrong);
        }
        if property.at("nullable").is_true() {
            let wrong = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            property.at("nullable").forbidden(errors, wrong);
        }
    }
}

fn values(schema: &At<'_>, errors: &mut FieldErrors) {
    let pattern = schema.at("pattern");
    if let Err(error) = re2::kept(pattern.text()) {
        pattern.invalid(errors, format!("must be a valid regular expression, but isn't: {error}"));
    }
}

/// Every object has its metadata, of which a schema may say no more than how names look.
fn metadata(schema: &At<'_>, level: Level, errors: &mut FieldErrors) {
    let is_object = level == Level::Root || schema.at("x-kubernetes-embedded-resource").is_true();
    if !is_object {
        return;
    }
    let properties = schema.at("properties");
    for field in ["kind", "apiVersion"] {
        let property = properties.key(field);
        if property.is_set() && property.at("type").text() != "string" {
            property.at("type").invalid(errors, "must be string");
        }
    }
    let metadata = properties.key("metadata");
    if !metadata.is_set() {
        return;
    }
    if metadata.at("type").text() != "object" {
        metadata.at("type").invalid(errors, "must be object");
    }
    let known =
        read::map(metadata.value, "properties").keys().all(|key| matches!(key.as_str(), "name" | "generateName"));
    let fields = metadata.value.as_object().into_iter().flat_map(|fields| fields.keys());
    let says_more = fields.into_iter().any(|field| !matches!(field.as_str(), "type" | "properties" | "description"));
    if level == Level::Root && (!known || says_more) {
        let wrong = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        metadata.forbidden(errors, wrong);
    }
}

/// Whether a path such as `.spec.color` leads to a scalar.
pub(super) fn has_scalar(schema: &Value, path: &str) -> bool {
    let mut names = path.split('.').skip(1);
    let found = names.try_fold(schema, |at, name| at.get("properties")?.get(name));
    found.is_some_and(|found| matches!(read::text(found, "type"), "string" | "boolean" | "integer"))
}
