//! The aggregated form of discovery (KEP-3352): everything in one document.

use api::resource::Resource;
use serde_json::{Value, json};

use crate::served::Served;

/// The document of `/api` (the core group) or `/apis` (all others) in version `v2` or `v2beta1`.
pub fn document(served: &Served, path: &str, version: &str) -> Value {
    let items: Vec<Value> = served
        .groups()
        .into_iter()
        .filter(|(group, _)| group.is_empty() == (path == "/api"))
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions.iter().map(|version| one_version(served, group, version)).collect();
            json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    })
}

fn one_version(served: &Served, group: &str, version: &str) -> Value {
    let mut resources: Vec<(&str, Value)> =
        served.of_version(group, version).map(|resource| (&*resource.plural, entry(resource))).collect();
    resources.sort_by_key(|(name, _)| *name);
    let resources: Vec<Value> = resources.into_iter().map(|(_, entry)| entry).collect();
    json!({"version": version, "freshness": "Current", "resources": resources})
}

fn entry(resource: &Resource) -> Value {
    let own = &resource.group_version;
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": {"group": own.group, "version": own.version, "kind": resource.kind},
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
    let subresources: Vec<Value> = resource
        .subresources
        .iter()
        .map(|subresource| {
            let (group, version) = subresource.group_version.unwrap_or((&own.group, &own.version));
            json!({
                "subresource": subresource.name,
                "responseKind": {"group": group, "version": version, "kind": subresource.kind},
                "verbs": subresource.verbs,
            })
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}
