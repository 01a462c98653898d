//! The paths of a resource with their operations, in the form of either version.

use api::definitions::openapi::Dialect;
use api::resource::{Resource, Subresource};
use serde_json::{Map, Value, json};

const PATCH_TYPES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// `/apis/apps/v1`, `/api/v1`.
pub fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

/// The name of a list kind among the definitions: `io.k8s.api.core.v1.PodList`.
pub fn list_name(resource: &Resource) -> String {
    format!("{}List", resource.schema_name)
}

/// Every path of a resource.
pub fn of(resource: &Resource, dialect: Dialect) -> Vec<(String, Value)> {
    let root = root(&resource.group_version.group, &resource.group_version.version);
    let scope = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("{root}{scope}/{}", resource.plural);
    let item = format!("{collection}/{{name}}");
    let maker = Maker { resource, dialect };
    let mut paths = Vec::new();
    if resource.namespaced && resource.has_verb("list") {
        let mut operations = Map::new();
        maker.add(&mut operations, "get", "list", None);
        paths.push((format!("{root}/{}", resource.plural), Value::Object(operations)));
    }
    let mut operations = maker.path_item(resource.namespaced, false);
    for (method, verb) in [("get", "list"), ("post", "create"), ("delete", "deletecollection")] {
        if resource.has_verb(verb) {
            maker.add(&mut operations, method, verb, None);
        }
    }
    paths.push((collection, Value::Object(operations)));
    if resource.has_verb("get") {
        let mut operations = maker.path_item(resource.namespaced, true);
        for (method, verb) in [("get", "get"), ("put", "update"), ("patch", "patch"), ("delete", "delete")] {
            if resource.has_verb(verb) {
                maker.add(&mut operations, method, verb, None);
            }
        }
        paths.push((item.clone(), Value::Object(operations)));
    }
    for subresource in resource.subresources.iter() {
        let mut operations = maker.path_item(resource.namespaced, true);
        for verb in subresource.verbs {
            let method = match *verb {
                "create" => "post",
                "update" => "put",
                other => other,
            };
            maker.add(&mut operations, method, verb, Some(subresource));
        }
        paths.push((format!("{item}/{}", subresource.name), Value::Object(operations)));
    }
    paths
}

struct Maker<'a> {
    resource: &'a Resource,
    dialect: Dialect,
}

impl Maker<'_> {
    fn path_item(&self, namespaced: bool, named: bool) -> Map<String, Value> {
        let mut parameters = Vec::new();
        if named {
            parameters.push(self.parameter("name", "path", "string", &format!("name of the {}", self.resource.kind)));
        }
        if namespaced {
            parameters.push(self.parameter(
                "namespace",
                "path",
                "string",
                "object name and auth scope, such as for teams and projects",
            ));
        }
        let mut item = Map::new();
        if !parameters.is_empty() {
            item.insert("parameters".to_string(), Value::Array(parameters));
        }
        item
    }

    fn parameter(&self, name: &str, place: &str, type_: &str, description: &str) -> Value {
        let mut parameter = json!({"name": name, "in": place, "description": description});
        if place == "path" {
            parameter["required"] = true.into();
        }
        match self.dialect {
            Dialect::V2 => {
                parameter["type"] = type_.into();
                parameter["uniqueItems"] = true.into();
            }
            Dialect::V3 => parameter["schema"] = json!({"type": type_, "uniqueItems": true}),
        }
        parameter
    }

    fn add(&self, operations: &mut Map<String, Value>, method: &str, verb: &str, subresource: Option<&Subresource>) {
        let own = &self.resource.group_version;
        let (group, version) = subresource
            .and_then(|subresource| subresource.group_version)
            .unwrap_or((own.group.as_str(), own.version.as_str()));
        let kind = subresource.map_or(&self.resource.kind, |subresource| &subresource.kind);
        let mut query: Vec<Value> = self.query(verb);
        let mut operation = json!({
            "description": describe(verb, kind),
            "operationId": operation_id(self.resource, verb, subresource, operations.contains_key("parameters")),
            "tags": [tag(&own.group, &own.version)],
            "x-kubernetes-action": action(verb),
            "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
        });
        // Bodies of subresources that are not the object itself have no schema here.
        let schema_name = (*kind == self.resource.kind).then(|| match verb {
            "list" => list_name(self.resource),
            _ => self.resource.schema_name.to_string(),
        });
        self.add_bodies(&mut operation, &mut query, verb, schema_name);
        if !query.is_empty() {
            operation["parameters"] = Value::Array(query);
        }
        operations.insert(method.to_string(), operation);
    }

    fn add_bodies(&self, operation: &mut Value, query: &mut Vec<Value>, verb: &str, schema_name: Option<String>) {
        let prefix = match self.dialect {
            Dialect::V2 => "#/definitions/",
            Dialect::V3 => "#/components/schemas/",
        };
        let schema = schema_name
            .as_ref()
            .map_or_else(|| json!({"type": "object"}), |name| json!({"$ref": format!("{prefix}{name}")}));
        let takes_body = matches!(verb, "create" | "update" | "patch");
        let body_schema = if verb == "patch" { json!({"type": "object"}) } else { schema.clone() };
        let answers = !matches!(verb, "delete" | "deletecollection");
        match self.dialect {
            Dialect::V2 => {
                if takes_body {
                    query.push(json!({"name": "body", "in": "body", "required": true, "schema": body_schema}));
                }
                let mut ok = json!({"description": "OK"});
                if answers {
                    ok["schema"] = schema;
                }
                operation["responses"] = json!({"200": ok});
                operation["produces"] = json!(["application/json", "application/yaml"]);
                operation["consumes"] = if verb == "patch" { json!(PATCH_TYPES) } else { json!(["*/*"]) };
            }
            Dialect::V3 => {
                if takes_body {
                    let types: &[&str] = if verb == "patch" { &PATCH_TYPES } else { &["*/*"] };
                    let content: Map<String, Value> =
                        types.iter().map(|name| (name.to_string(), json!({"schema": body_schema}))).collect();
                    operation["requestBody"] = json!({"required": true, "content": content});
                }
                let mut ok = json!({"description": "OK"});
                if answers {
                    ok["content"] =
                        json!({"application/json": {"schema": schema}, "application/yaml": {"schema": schema}});
                }
                operation["responses"] = json!({"200": ok});
            }
        }
    }

    fn query(&self, verb: &str) -> Vec<Value> {
        let names: &[(&str, &str)] = match verb {
            "list" => &[
                ("allowWatchBookmarks", "boolean"),
                ("continue", "string"),
                ("fieldSelector", "string"),
                ("labelSelector", "string"),
                ("limit", "integer"),
                ("resourceVersion", "string"),
                ("resourceVersionMatch", "string"),
                ("sendInitialEvents", "boolean"),
                ("timeoutSeconds", "integer"),
                ("watch", "boolean"),
            ],
            "create" | "update" => &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")],
            "patch" => {
                &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"), ("force", "boolean")]
            }
            "delete" | "deletecollection" => {
                &[("dryRun", "string"), ("gracePeriodSeconds", "integer"), ("propagationPolicy", "string")]
            }
            _ => &[],
        };
        names.iter().map(|(name, type_)| self.parameter(name, "query", type_, explain(name))).collect()
    }
}

fn explain(parameter: &str) -> &'static str {
    match parameter {
        "allowWatchBookmarks" => "Events of type BOOKMARK are wanted.",
        "continue" => "The token of the page before, to get the next one.",
        "fieldSelector" => "Only objects whose fields match.",
        "labelSelector" => "Only objects whose labels match.",
        "limit" => "At most this many objects in one answer.",
        "resourceVersion" => "Which state of the store is wanted.",
        "resourceVersionMatch" => "How resourceVersion is meant: Exact or NotOlderThan.",
        "sendInitialEvents" => "The watch begins with the objects there are.",
        "timeoutSeconds" => "The watch ends after this many seconds.",
        "watch" => "Changes are wanted as a stream of events.",
        "dryRun" => "With All, everything is done but keeping the result.",
        "fieldManager" => "The name under which managedFields record this change.",
        "fieldValidation" => "What is done about unknown and duplicate fields: Ignore, Warn or Strict.",
        "force" => "An apply takes fields over from other managers.",
        "gracePeriodSeconds" => "How long the object has to end.",
        "propagationPolicy" => "What becomes of owned objects: Orphan, Background or Foreground.",
        _ => "",
    }
}

fn describe(verb: &str, kind: &str) -> String {
    match verb {
        "list" => format!("list or watch objects of kind {kind}"),
        "create" => format!("create a {kind}"),
        "get" => format!("read the specified {kind}"),
        "update" => format!("replace the specified {kind}"),
        "patch" => format!("partially update the specified {kind}"),
        "delete" => format!("delete a {kind}"),
        _ => format!("delete collection of {kind}"),
    }
}

fn action(verb: &str) -> &str {
    match verb {
        "create" => "post",
        "update" => "put",
        other => other,
    }
}

fn tag(group: &str, version: &str) -> String {
    let group = if group.is_empty() { "core" } else { group.split('.').next().unwrap_or(group) };
    format!("{group}_{version}")
}

/// An identifier that no other operation has: `listCoreV1NamespacedPod`.
fn operation_id(resource: &Resource, verb: &str, subresource: Option<&Subresource>, in_scope: bool) -> String {
    let capital = |text: &str| {
        let mut chars = text.chars();
        chars.next().map(|first| first.to_uppercase().chain(chars).collect::<String>()).unwrap_or_default()
    };
    let group = match resource.group_version.group.as_str() {
        "" => "Core".to_string(),
        group => capital(group.split('.').next().unwrap_or(group)),
    };
    let verb = match verb {
        "get" => "read",
        "update" => "replace",
        "deletecollection" => "deleteCollection",
        other => other,
    };
    let scope = match (resource.namespaced, in_scope || verb != "list") {
        (true, true) => "Namespaced",
        _ => "",
    };
    let all = if resource.namespaced && !in_scope && verb == "list" { "ForAllNamespaces" } else { "" };
    let subresource = subresource.map(|subresource| capital(subresource.name)).unwrap_or_default();
    format!("{verb}{group}{}{scope}{}{subresource}{all}", capital(&resource.group_version.version), resource.kind)
}
