use machinery::schema::{ListKind, Schema, Type};
use serde_json::json;

use super::openapi::{Dialect, PublishedKind, component};
use super::*;

const POD: &str = "io.k8s.api.core.v1.Pod";

fn pod() -> Definitions {
    closure(POD)
}

/// Walks from `root` along field names; `[]` steps into list items or map values.
fn at<'a>(definitions: &'a Definitions, root: &str, path: &str) -> &'a Schema {
    let mut schema: &Schema = &definitions.0[root];
    for step in path.split('.') {
        let resolved = definitions.resolve(schema);
        schema = match &resolved.type_ {
            Type::Object { fields, .. } => &fields[step],
            Type::List { items, .. } => items,
            Type::Map { values, .. } => values,
            other => panic!("{step} of {other:?}"),
        };
    }
    schema
}

#[test]
fn the_facts_of_pods_reach_their_schema() {
    let definitions = pod();
    let ports = at(&definitions, POD, "spec.containers.[].ports");
    assert!(
        matches!(&ports.type_, Type::List { kind: ListKind::Map(keys), .. } if keys == &["containerPort", "protocol"])
    );
    assert_eq!(ports.patch.merge_key.as_deref(), Some("containerPort"));
    let volumes = at(&definitions, POD, "spec.volumes");
    assert!(volumes.patch.merge && volumes.patch.retain_keys);
    assert_eq!(at(&definitions, POD, "spec.restartPolicy").default, Some(json!("Always")));
    assert!(matches!(&at(&definitions, POD, "spec.tolerations").type_, Type::List { kind: ListKind::Atomic, .. }));
    assert!(matches!(&at(&definitions, POD, "metadata.finalizers").type_, Type::List { kind: ListKind::Set, .. }));
    assert!(matches!(&at(&definitions, POD, "spec.nodeSelector").type_, Type::Map { atomic: true, .. }));
}

#[test]
fn every_fact_names_a_field_that_exists() {
    let mut all: BTreeMap<Arc<str>, Arc<Schema>> = BTreeMap::new();
    for resource in crate::registry().resources() {
        all.extend(resource.definitions().0.clone());
    }
    for body in crate::registry().bodies() {
        all.extend(body.definitions().0.clone());
    }
    let without = |(type_name, field): &(&str, &str)| {
        let named = [format!("io.k8s.api.{type_name}"), format!("io.k8s.{type_name}")];
        let schema = named.iter().find_map(|name| all.get(name.as_str()));
        !matches!(schema.map(|schema| &schema.type_), Some(Type::Object { fields, .. }) if fields.contains_key(*field))
    };
    assert_eq!(facts::unset_keys().filter(without).collect::<Vec<_>>(), Vec::new());
    for (type_name, field) in facts::keys() {
        let long = [format!("io.k8s.api.{type_name}"), format!("io.k8s.{type_name}")];
        let found = long.iter().find_map(|name| all.get(name.as_str()));
        let Some(schema) = found else { panic!("no served kind has the type {type_name}") };
        if field != "-" {
            let Type::Object { fields, .. } = &schema.type_ else { panic!("{type_name} is no object") };
            let Some(schema) = fields.get(field) else { panic!("{type_name} has no field {field}") };
            let facts = facts::of(type_name, field).expect("listed");
            let is_list = matches!(schema.type_, Type::List { .. });
            assert!(is_list || (facts.map_keys.is_empty() && !facts.set), "{type_name} {field} is no list");
        }
    }
}

#[test]
fn components_read_as_kubernetes_publishes_them() {
    let definitions = pod();
    let kind = PublishedKind { group: "", version: "v1", kind: "Pod" };
    let written = component(POD, &definitions.0[POD], &[kind], Dialect::V3);
    assert_eq!(
        written["properties"]["spec"]["allOf"],
        json!([{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}])
    );
    assert!(written["properties"]["spec"]["description"].as_str().is_some_and(|text| text.contains("pod")));
    assert_eq!(written["x-kubernetes-group-version-kind"], json!([{"group": "", "version": "v1", "kind": "Pod"}]));
    let spec = "io.k8s.api.core.v1.PodSpec";
    let written = component(spec, &definitions.0[spec], &[], Dialect::V2);
    assert_eq!(written["required"], json!(["containers"]));
    let containers = &written["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["items"], json!({"$ref": "#/definitions/io.k8s.api.core.v1.Container"}));
}

#[test]
fn arbitrary_values_have_no_type_and_arbitrary_objects_are_objects() {
    let resource = crate::registry().get("apiextensions.k8s.io", "v1", "customresourcedefinitions").expect("served");
    let definitions = resource.definitions();
    let published = |name: &str| component(name, &definitions.0[name], &[], Dialect::V2);
    let prefix = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1";
    for name in ["JSON", "JSONSchemaPropsOrBool", "JSONSchemaPropsOrArray"] {
        assert!(published(&format!("{prefix}.{name}")).get("type").is_none(), "{name}");
    }
    assert_eq!(published("io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1")["type"], "object");
}

#[test]
fn a_type_is_shared_by_the_kinds_that_use_it() {
    let first = pod();
    let second = closure("io.k8s.api.apps.v1.Deployment");
    let name = "io.k8s.api.core.v1.PodSpec";
    assert!(Arc::ptr_eq(&first.0[name], &second.0[name]));
}
