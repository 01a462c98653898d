//! OpenAPI version 3: an index, and one document for each group and version.

use std::collections::BTreeMap;

use api::definitions::openapi::{Dialect, PublishedKind, component, list_component};
use api::resource::Resource;
use machinery::schema::Definitions;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::paths;
use crate::served::Served;
use crate::version::GIT_VERSION;

const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// `/openapi/v3`: where the documents are. The hash in an address lets clients keep a document for ever, so it
/// changes with the program; making every document for its hash would cost more than it saves.
pub fn index(served: &Served) -> Value {
    let build = build_hash();
    let mut entries = Map::new();
    for (group, versions) in served.groups() {
        for version in versions {
            let path = paths::root(group, version);
            let path = path.trim_start_matches('/');
            let hash = served.stamp(group, version).unwrap_or_else(|| build.clone());
            let address = format!("/openapi/v3/{path}?hash={hash}");
            entries.insert(path.to_string(), json!({"serverRelativeURL": address}));
        }
    }
    json!({"paths": entries})
}

fn build_hash() -> String {
    let mut hash = Sha256::new();
    hash.update(GIT_VERSION);
    if let Ok(metadata) = std::env::current_exe().and_then(std::fs::metadata) {
        hash.update(metadata.len().to_le_bytes());
        let changed = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        hash.update(changed.unwrap_or_default().as_nanos().to_le_bytes());
    }
    hex::encode_upper(hash.finalize())
}

/// The document of `api/v1` or `apis/apps/v1`; `None` where that is not served.
pub fn document(served: &Served, path: &str) -> Option<Value> {
    let (group, version) = match path.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => (String::new(), version.to_string()),
        ["apis", group, version] => (group.to_string(), version.to_string()),
        _ => return None,
    };
    let resources: Vec<&Resource> = served.of_version(&group, &version).collect();
    if resources.is_empty() {
        return None;
    }
    let all: Map<String, Value> = resources.iter().flat_map(|resource| paths::of(resource, Dialect::V3)).collect();
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": GIT_VERSION},
        "paths": all,
        "components": {"schemas": components(&resources, Dialect::V3)},
    }))
}

/// The schemas of resources and of everything they refer to, and of their lists.
pub fn components(resources: &[&Resource], dialect: Dialect) -> BTreeMap<String, Value> {
    let mut kinds: BTreeMap<&str, Vec<PublishedKind<'_>>> = BTreeMap::new();
    for resource in resources {
        kinds.entry(&resource.schema_name).or_default().push(published(resource, &resource.kind));
    }
    let list_meta = api::definitions::closure(LIST_META);
    let every: Vec<&Definitions> =
        resources.iter().map(|resource| resource.definitions()).chain([&list_meta]).collect();
    let mut components = BTreeMap::new();
    for definitions in every {
        for (name, schema) in &definitions.0 {
            components
                .entry(name.to_string())
                .or_insert_with(|| component(name, schema, kinds.get(&**name).map_or(&[], Vec::as_slice), dialect));
        }
    }
    for (resource, custom) in resources.iter().filter_map(|resource| Some((resource, resource.custom()?))) {
        let own = api::custom::component(&custom.published, published(resource, &resource.kind), dialect);
        components.insert(resource.schema_name.to_string(), own);
    }
    for resource in resources.iter().filter(|resource| resource.has_verb("list")) {
        let kind = format!("{}List", resource.kind);
        let list = list_component(&resource.schema_name, published(resource, &kind), dialect);
        components.insert(paths::list_name(resource), list);
    }
    components
}

fn published<'a>(resource: &'a Resource, kind: &'a str) -> PublishedKind<'a> {
    PublishedKind { group: &resource.group_version.group, version: &resource.group_version.version, kind }
}
