//! What CustomResourceDefinitions may be, but for their schemas.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use machinery::field::{FieldError, FieldErrors, Path};
use machinery::jsonpath::JsonPath;
use machinery::names;
use serde_json::{Value, json};

use super::schema;
use crate::check::At;
use crate::edit::{fill, set};
use crate::kinds::admission::webhooks;
use crate::read;

const SCOPES: [&str; 2] = ["Cluster", "Namespaced"];
const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 8] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
/// How many of its own fields selectors may name.
const SELECTABLE_FIELDS_MAX: usize = 8;
const DEPRECATION_WARNING_CHARS_MAX: usize = 256;
const APPROVAL: &str = "api-approved.kubernetes.io";

/// Says of a new definition in which version its objects are stored.
pub(super) fn tell_stored(object: &mut Value) {
    let versions = object["spec"]["versions"].as_array().into_iter().flatten();
    let stored = versions.filter(|version| version["storage"] == true).map(|version| version["name"].clone());
    let stored: Vec<Value> = stored.take(1).collect();
    set(object, "status", json!({"storedVersions": stored}));
}

/// Names that follow from the kind.
pub(super) fn default(object: &mut Value) {
    let Some(names) = crate::edit::value_at(object, "spec.names") else { return };
    let kind = read::text(names, "kind").to_string();
    if !kind.is_empty() {
        fill(names, "singular", kind.to_lowercase());
        fill(names, "listKind", format!("{kind}List"));
    }
}

/// Everything that is wrong with a definition.
pub(super) fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let root = At::root(object);
    let spec = root.at("spec");
    let (name, group) = (root.at("metadata.name"), spec.at("group"));
    let required = format!("{}.{}", spec.at("names.plural").text(), group.text());
    if !name.text().is_empty() && name.text() != required {
        name.invalid(&mut errors, "must be spec.names.plural+\".\"+spec.group");
    }
    self::group(&group, &mut errors);
    let scope = spec.at("scope");
    if scope.require_text(&mut errors).is_some_and(|text| !SCOPES.contains(&text)) {
        scope.not_supported(&mut errors, &SCOPES);
    }
    versions(&spec, &mut errors);
    self::names(&spec.at("names"), &mut errors);
    conversion(&spec.at("conversion"), &mut errors);
    if spec.at("preserveUnknownFields").is_true() {
        let wrong =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        spec.at("preserveUnknownFields").invalid(&mut errors, wrong);
    }
    approval(&root, group.text(), &mut errors);
    errors
}

/// What is wrong with a definition whose spec was judged before.
pub(super) fn validate_approval(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let root = At::root(object);
    approval(&root, root.at("spec.group").text(), &mut errors);
    errors
}

fn group(group: &At<'_>, errors: &mut FieldErrors) {
    if group.require_text(errors).is_none() {
        return;
    }
    let before = errors.len();
    group.follows(errors, names::dns1123_subdomain);
    if errors.len() == before && !group.text().contains('.') {
        group.invalid(errors, "should be a domain with at least one dot");
    }
}

fn versions(spec: &At<'_>, errors: &mut FieldErrors) {
    let all: Vec<At<'_>> = spec.items("versions").collect();
    for version in &all {
        if !version.at("schema.openAPIV3Schema").is_set() {
            version.at("schema.openAPIV3Schema").required(errors, "");
        }
    }
    let mut seen = HashSet::new();
    let mut is_unique = true;
    for version in &all {
        is_unique &= seen.insert(version.at("name").text());
        version.at("name").follows(errors, names::dns1035_label);
        self::version(version, errors);
    }
    let list = spec.at("versions");
    let mut wrong = |what: &str| errors.push(FieldError::invalid(&list.path, list.value.clone(), what));
    if !is_unique {
        wrong("must contain unique version names");
    }
    if all.iter().filter(|version| version.at("storage").is_true()).count() != 1 {
        wrong("must have exactly one version marked as storage version");
    }
}

/// What is wrong with the rules and defaults of versions whose schemas `old` does not have. Those of schemas that are not
/// structural cannot be judged: those are refused already.
pub(super) fn rules(object: &Value, old: Option<&Value>) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let allowance = cel::Allowance::default();
    let field = "schema.openAPIV3Schema";
    let known: Vec<&Value> = old
        .map(|old| read::list(old, "spec.versions").iter().map(|version| read::at(version, field)).collect())
        .unwrap_or_default();
    let root = At::root(object);
    let spec = root.at("spec");
    let (unchanged, changed): (Vec<At<'_>>, Vec<At<'_>>) =
        spec.items("versions").map(|version| version.at(field)).partition(|found| known.contains(&found.value));
    for found in &unchanged {
        // They were judged before, and take their part of what all versions may take.
        cel::rules::check_schema(found.value, &found.path, &allowance);
    }
    for found in changed.iter().filter(|found| found.is_set()) {
        let mut structural = FieldErrors::new();
        schema::validate(found, &mut structural);
        if structural.is_empty() {
            schema::defaults::validate(found, &mut errors);
            errors.extend(cel::rules::check_schema(found.value, &found.path, &allowance));
        }
    }
    errors
}

fn version(version: &At<'_>, errors: &mut FieldErrors) {
    let warning = version.at("deprecationWarning");
    if warning.is_set() {
        if !version.at("deprecated").is_true() {
            warning.invalid(errors, "can only be set for deprecated versions");
        }
        if warning.text().chars().count() > DEPRECATION_WARNING_CHARS_MAX {
            warning.invalid(errors, "must be <= 256 characters long");
        }
        if warning.text().is_empty() {
            warning.invalid(errors, "must not be an empty string");
        }
        if let Some(at) = warning.text().find(char::is_control) {
            let wrong =
                format!("must only contain printable UTF-8 characters; non-printable character found at index {at}");
            warning.invalid(errors, wrong);
        }
    }
    schema::validate(&version.at("schema.openAPIV3Schema"), errors);
    let scale = version.at("subresources.scale");
    if scale.is_set() {
        self::scale(&scale, errors);
    }
    version.items("additionalPrinterColumns").for_each(|column| self::column(&column, errors));
    selectable_fields(version, errors);
}

fn scale(scale: &At<'_>, errors: &mut FieldErrors) {
    for (field, parents, where_) in [
        ("specReplicasPath", &[".spec."][..], ".spec"),
        ("statusReplicasPath", &[".status."], ".status"),
        ("labelSelectorPath", &[".spec.", ".status."], "either .spec or .status"),
    ] {
        let path = scale.at(field);
        match path.text() {
            "" if field == "labelSelectorPath" => {}
            "" => path.required(errors, ""),
            text if !text.starts_with('.') => path.invalid(errors, "must be a simple json path starting with ."),
            text if !parents.iter().any(|parent| text.starts_with(parent)) => {
                path.invalid(errors, format!("should be a json path under {where_}"));
            }
            text => {
                if let Err(wrong) = JsonPath::parse_simple(text) {
                    path.invalid(errors, wrong.to_string());
                }
            }
        }
    }
}

fn column(column: &At<'_>, errors: &mut FieldErrors) {
    column.at("name").require_text(errors);
    let (type_, format, path) = (column.at("type"), column.at("format"), column.at("jsonPath"));
    let types = format!("must be one of {}", COLUMN_TYPES.join(","));
    match type_.text() {
        "" => type_.required(errors, &types),
        text if !COLUMN_TYPES.contains(&text) => type_.invalid(errors, types),
        _ => {}
    }
    if !format.text().is_empty() && !COLUMN_FORMATS.contains(&format.text()) {
        format.invalid(errors, format!("must be one of {}", COLUMN_FORMATS.join(",")));
    }
    // Kubernetes names the field as its first version had it.
    let shown = column.path.child("JSONPath");
    match path.text() {
        "" => errors.push(FieldError::required(&shown, "")),
        text if !text.starts_with('.') => {
            errors.push(FieldError::invalid(&shown, text, "must be a simple json path starting with ."));
        }
        text => {
            if let Err(wrong) = JsonPath::parse(text) {
                let wrong = format!("must be a JSONPath that this server reads: {wrong}");
                errors.push(FieldError::invalid(&shown, text, wrong));
            }
        }
    }
}

fn selectable_fields(version: &At<'_>, errors: &mut FieldErrors) {
    let mut seen = HashSet::new();
    for field in version.items("selectableFields") {
        let path = field.at("jsonPath");
        let Some(text) = path.require_text(errors) else { continue };
        if !text.starts_with('.') {
            path.invalid(errors, "is an invalid path: must be a simple json path starting with .");
        } else if text == ".metadata" || text.starts_with(".metadata.") {
            path.invalid(errors, "must not point to fields in metadata");
        } else if let Err(wrong) = JsonPath::parse_simple(text) {
            path.invalid(errors, format!("is an invalid path: {wrong}"));
        } else if !schema::has_scalar(version.at("schema.openAPIV3Schema").value, text) {
            let wrong = "must point to a field of type string, boolean or integer. Enum string fields and strings with \
                         formats are allowed.";
            path.invalid(errors, wrong);
        }
        if !seen.insert(text) {
            path.duplicate(errors);
        }
    }
    if seen.len() > SELECTABLE_FIELDS_MAX {
        let list = version.at("selectableFields");
        errors.push(crate::kinds::admission::matching::too_many(&list.path, SELECTABLE_FIELDS_MAX));
    }
}

fn names(called: &At<'_>, errors: &mut FieldErrors) {
    for field in ["plural", "singular", "kind", "listKind"] {
        called.at(field).require_text(errors);
    }
    for field in ["plural", "singular"] {
        called.at(field).optional_name(errors, names::dns1035_label);
    }
    for field in ["kind", "listKind"] {
        let name = called.at(field);
        for wrong in names::dns1035_label(&name.text().to_lowercase()).into_iter().filter(|_| !name.text().is_empty()) {
            name.invalid(errors, format!("may have mixed case, but should otherwise match: {wrong}"));
        }
    }
    called.items("shortNames").for_each(|name| name.follows(errors, names::dns1035_label));
    let list = called.at("listKind");
    if !list.text().is_empty() && list.text() == called.at("kind").text() {
        list.invalid(errors, "kind and listKind may not be the same");
    }
    called.items("categories").for_each(|name| name.follows(errors, names::dns1035_label));
}

/// Paths are those of Kubernetes' messages, which know the conversion as its first version had it.
fn conversion(conversion: &At<'_>, errors: &mut FieldErrors) {
    if !conversion.is_set() {
        return;
    }
    conversion.at("strategy").require_text(errors);
    let webhook = conversion.at("webhook");
    let client = At { path: conversion.path.child("webhookClientConfig"), ..webhook.at("clientConfig") };
    if conversion.at("strategy").text() == "Webhook" {
        match client.is_set() {
            true => webhooks::client(&client, errors),
            false => client.required(errors, "required when strategy is set to Webhook"),
        }
        let versions = At { path: conversion.path.clone(), value: webhook.value };
        webhooks::review_versions(&versions, "conversionReviewVersions", errors);
    } else if webhook.is_set() {
        client.forbidden(errors, "should not be set when strategy is not set to Webhook");
    }
}

/// What is wrong with the authorities of a conversion webhook, unless `old` has the same: objects could not be read.
pub(super) fn authorities(object: &Value, old: Option<&Value>) -> FieldErrors {
    let field = "spec.conversion.webhook.clientConfig.caBundle";
    let (bundle, path) =
        (At::root(object).at(field), Path::new("spec").child("conversion").child("webhookClientConfig"));
    if bundle.text().is_empty() || old.is_some_and(|old| read::at(old, field) == bundle.value) {
        return FieldErrors::new();
    }
    let pem = STANDARD.decode(bundle.text()).unwrap_or_default();
    match String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
        true => FieldErrors::new(),
        false => {
            let wrong = "unable to load root certificates: unable to parse bytes as PEM block";
            vec![FieldError::invalid(&path.child("caBundle"), bundle.text(), wrong)]
        }
    }
}

/// Groups of the community's own need to say who approved them.
fn approval(root: &At<'_>, group: &str, errors: &mut FieldErrors) {
    let is_protected =
        ["k8s.io", "kubernetes.io"].iter().any(|domain| group == *domain || group.ends_with(&format!(".{domain}")));
    if !is_protected {
        return;
    }
    let annotation = root.at("metadata.annotations").key(APPROVAL);
    let text = annotation.text();
    match text {
        "" => annotation.required(
            errors,
            "protected groups must have approval annotation \"api-approved.kubernetes.io\", see \
             https://github.com/kubernetes/enhancements/pull/1111",
        ),
        _ if text.starts_with("unapproved") || text.starts_with("https://") || text.starts_with("http://") => {}
        _ => annotation.invalid(
            errors,
            "protected groups must have approval annotation \"api-approved.kubernetes.io\" with either a URL or a \
             reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111",
        ),
    }
}

/// What may not change of a definition.
pub(super) fn validate_update(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    let mut frozen = vec!["group", "names.plural"];
    if crate::status::is_true(read::at(old, "status"), "Established") {
        frozen.extend(["scope", "names.kind"]);
    }
    let before = read::at(old, "spec");
    frozen.into_iter().for_each(|field| spec.at(field).immutable(&mut errors, read::at(before, field)));
    stored_versions(&spec, old, &mut errors);
    errors
}

/// Versions in which objects may be stored are still versions: of others nobody could read them.
fn stored_versions(spec: &At<'_>, old: &Value, errors: &mut FieldErrors) {
    let mut stored: Vec<&str> = read::texts(read::at(old, "status"), "storedVersions").collect();
    // The status is written after the first object may have been.
    let before = read::list(old, "spec.versions").iter().filter(|version| read::flag(version, "storage"));
    for name in before.map(|version| read::text(version, "name")) {
        if !stored.contains(&name) {
            stored.push(name);
        }
    }
    let path = Path::new("status").child("storedVersions");
    for (index, name) in stored.into_iter().enumerate() {
        if !spec.items("versions").any(|version| version.at("name").text() == name) {
            errors.push(FieldError::invalid(&path.index(index), name, "must appear in spec.versions"));
        }
    }
}
