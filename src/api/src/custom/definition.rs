//! From a CustomResourceDefinition to the resources of its versions.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use cel::rules::Validator;
use machinery::gvk::{GroupVersion, compare_versions};
use machinery::jsonpath::JsonPath;
use machinery::{meta, names};
use serde_json::{Map, Value};

use super::columns::Columns;
use super::{Conversion, Custom, ScalePaths, version as schema};
use crate::read;
use crate::registry::{ALL_VERBS, subresources as known};
use crate::resource::{Behaviour, Resource, Subresource, Text};

/// The names under which the objects of a definition are known: those that were accepted.
fn accepted(definition: &Value) -> &Map<String, Value> {
    read::map(definition, "status.acceptedNames")
}

fn text(names: &Map<String, Value>, field: &str) -> String {
    names.get(field).and_then(Value::as_str).unwrap_or_default().to_string()
}

fn list(names: &Map<String, Value>, field: &str) -> Vec<Text> {
    let values = names.get(field).and_then(Value::as_array).into_iter().flatten();
    values.filter_map(Value::as_str).map(|text| text.to_string().into()).collect()
}

/// The names of resources that a built-in resource or `names` of another definition takes: plural, singular and short
/// names in one set; kind and listKind in the other.
pub fn names_in_use(names: &Value) -> (Vec<String>, Vec<String>) {
    let texts = |fields: &[&str]| -> Vec<String> {
        fields.iter().filter_map(|field| names[*field].as_str()).map(str::to_string).collect()
    };
    let mut resources = texts(&["plural", "singular"]);
    resources.extend(read::texts(names, "shortNames").map(str::to_string));
    (resources, texts(&["kind", "listKind"]))
}

/// The resources of a definition whose names have been accepted, one for each version that is served, the preferred
/// first.
pub fn resources(definition: &Value) -> Vec<Resource> {
    let group = read::text(definition, "spec.group");
    let versions = read::list(definition, "spec.versions");
    let storage = versions.iter().find(|version| read::flag(version, "storage"));
    let stored = storage.map(|version| GroupVersion::new(group, read::text(version, "name")));
    let mut served: Vec<&Value> = versions.iter().filter(|version| read::flag(version, "served")).collect();
    served.sort_by(|a, b| compare_versions(read::text(b, "name"), read::text(a, "name")));
    let Some(stored) = stored else { return Vec::new() };
    let allowance = cel::Allowance::default();
    served.into_iter().map(|version| resource(definition, version, &stored, &allowance)).collect()
}

fn resource(definition: &Value, version: &Value, stored: &GroupVersion, allowance: &cel::Allowance) -> Resource {
    let called = accepted(definition);
    let kind = text(called, "kind");
    let group_version = GroupVersion::new(stored.group.as_str(), read::text(version, "name"));
    let schema_name = schema_name(&group_version, &kind);
    let raw = read::at(version, "schema.openAPIV3Schema");
    let (root, definitions) = schema::of_version(raw, &schema_name);
    let custom = Custom {
        definition_uid: meta::uid(definition).to_string(),
        scale: scale(read::at(version, "subresources.scale")),
        conversion: conversion(definition),
        published: raw.clone(),
        served: group_version.clone(),
        stored: stored.clone(),
        has_status: read::is_set(version, "subresources.status"),
        columns: Columns::read(read::at(version, "additionalPrinterColumns")),
        fields: fields(version),
        root,
        metadata: schema::of_names(raw),
        rules: Validator::of_resource(raw, allowance),
        definitions: Arc::new(definitions.clone()),
    };
    Resource {
        kind: kind.clone().into(),
        plural: text(called, "plural").into(),
        singular: text(called, "singular").into(),
        namespaced: read::text(definition, "spec.scope") == "Namespaced",
        short_names: list(called, "shortNames"),
        categories: list(called, "categories"),
        verbs: ALL_VERBS,
        subresources: Cow::Owned(subresources(&custom, kind)),
        storage: Some(stored.clone()),
        deprecated: deprecation(version, &group_version, &text(called, "kind")),
        schema_name: schema_name.into(),
        update_creates: false,
        update_needs_version: true,
        name_rule: names::dns1123_subdomain,
        behaviour: Behaviour::Custom(Arc::new(custom)),
        definitions: OnceLock::from(definitions),
        group_version,
    }
}

/// `com.example.stable.v1.CronTab` of stable.example.com/v1.
fn schema_name(group_version: &GroupVersion, kind: &str) -> String {
    let mut parts: Vec<&str> = group_version.group.split('.').rev().collect();
    parts.extend([group_version.version.as_str(), kind]);
    parts.join(".")
}

fn subresources(custom: &Custom, kind: String) -> Vec<Subresource> {
    let mut found = Vec::new();
    if custom.scale.is_some() {
        found.push(known::SCALE);
    }
    if custom.has_status {
        found.push(known::status_of(kind));
    }
    found
}

fn deprecation(version: &Value, group_version: &GroupVersion, kind: &str) -> Option<Text> {
    if !read::flag(version, "deprecated") {
        return None;
    }
    Some(match read::text(version, "deprecationWarning") {
        "" => format!("{group_version} {kind} is deprecated").into(),
        own => own.to_string().into(),
    })
}

fn fields(version: &Value) -> Vec<(String, JsonPath)> {
    let paths = read::list(version, "selectableFields").iter().map(|field| read::text(field, "jsonPath"));
    paths.filter_map(|path| Some((path.trim_start_matches('.').to_string(), JsonPath::parse(path).ok()?))).collect()
}

fn scale(scale: &Value) -> Option<ScalePaths> {
    let path = |field: &str| -> Option<Vec<String>> {
        let path = JsonPath::parse_simple(read::text(scale, field)).ok()?;
        let names: Vec<String> = path.names()?.into_iter().map(str::to_string).collect();
        (!names.is_empty()).then_some(names)
    };
    Some(ScalePaths {
        spec: path("specReplicasPath")?,
        status: path("statusReplicasPath")?,
        selector: path("labelSelectorPath"),
    })
}

fn conversion(definition: &Value) -> Option<Conversion> {
    let conversion = read::at(definition, "spec.conversion");
    (read::text(conversion, "strategy") == "Webhook").then(|| Conversion {
        client_config: read::at(conversion, "webhook.clientConfig").clone(),
        review_versions: read::texts(conversion, "webhook.conversionReviewVersions").map(str::to_string).collect(),
    })
}
