//! A small Deployment-like schema that the tests of schemas, patches and apply share, with the list kinds and patch
//! strategies of the real one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::{Definitions, ListKind, PatchStrategy, Schema, Type};

pub(crate) fn of(type_: Type) -> Schema {
    Schema { type_, ..Schema::default() }
}

pub(crate) fn reference(name: &str) -> Schema {
    of(Type::Reference(format!("test.apps.v1.{name}").into()))
}

pub(crate) fn text() -> Schema {
    of(Type::String { format: None })
}

pub(crate) fn formatted(format: &str) -> Schema {
    of(Type::String { format: Some(format.into()) })
}

pub(crate) fn int32() -> Schema {
    of(Type::Integer { format: Some("int32".into()) })
}

pub(crate) fn map(values: Schema) -> Schema {
    of(Type::Map { values: Arc::new(values), required: Vec::new(), atomic: false })
}

pub(crate) fn list(items: Schema, kind: ListKind) -> Schema {
    of(Type::List { items: Arc::new(items), kind })
}

/// A list that strategic merge joins by `key` and apply by `keys`.
pub(crate) fn keyed(items: Schema, key: &str, keys: &[&str]) -> Schema {
    let mut schema = list(items, ListKind::Map(keys.iter().map(ToString::to_string).collect()));
    schema.patch = PatchStrategy { merge: true, retain_keys: false, merge_key: Some(key.into()) };
    schema
}

pub(crate) fn object(fields: Vec<(&str, Schema)>, required: &[&str]) -> Schema {
    let fields: BTreeMap<String, Arc<Schema>> =
        fields.into_iter().map(|(name, schema)| (name.to_string(), Arc::new(schema))).collect();
    of(Type::Object { fields, required: required.iter().map(ToString::to_string).collect(), atomic: false })
}

/// The kind's schema and its definitions.
pub(crate) fn deployment() -> (Schema, Definitions) {
    let merged_set = |items: Schema| Schema {
        patch: PatchStrategy { merge: true, ..PatchStrategy::default() },
        ..list(items, ListKind::Set)
    };
    let metadata = object(
        vec![
            ("name", text()),
            ("namespace", text()),
            ("uid", text()),
            ("resourceVersion", text()),
            ("generation", of(Type::Integer { format: Some("int64".into()) })),
            ("creationTimestamp", formatted("date-time")),
            ("labels", map(text())),
            ("annotations", map(text())),
            ("finalizers", merged_set(text())),
            ("managedFields", list(of(Type::Any), ListKind::Atomic)),
            ("ownerReferences", keyed(object(vec![("uid", text()), ("name", text())], &[]), "uid", &["uid"])),
        ],
        &[],
    );
    let mut protocol = text();
    protocol.default = Some(json!("TCP"));
    let port = object(vec![("containerPort", int32()), ("protocol", protocol), ("name", text())], &["containerPort"]);
    let env = object(vec![("name", text()), ("value", text())], &["name"]);
    let container = object(
        vec![
            ("name", text()),
            ("image", text()),
            ("command", list(text(), ListKind::Atomic)),
            ("ports", keyed(reference("Port"), "containerPort", &["containerPort", "protocol"])),
            ("env", keyed(env, "name", &["name"])),
            ("resources", object(vec![("limits", map(formatted("quantity")))], &[])),
        ],
        &["name"],
    );
    let mut replicas = int32();
    replicas.default = Some(json!(1));
    replicas.bounds = BTreeMap::from([("minimum".to_string(), json!(0))]);
    let mut strategy_type = text();
    strategy_type.enum_ = vec![json!("Recreate"), json!("RollingUpdate")];
    let mut strategy = object(
        vec![("type", strategy_type), ("rollingUpdate", object(vec![("maxSurge", of(Type::IntOrString))], &[]))],
        &[],
    );
    strategy.patch.retain_keys = true;
    strategy.always_there = true;
    let mut selector = map(text());
    selector.type_ = Type::Map { values: Arc::new(text()), required: Vec::new(), atomic: true };
    let spec = object(
        vec![
            ("replicas", replicas),
            ("paused", of(Type::Boolean)),
            ("strategy", strategy),
            ("selector", selector),
            ("containers", keyed(reference("Container"), "name", &["name"])),
            ("data", formatted("byte")),
            ("raw", of(Type::Any)),
            ("nullable", Schema { nullable: true, ..text() }),
        ],
        &["selector"],
    );
    let condition = object(vec![("type", text()), ("status", text())], &["type"]);
    let status = object(vec![("replicas", int32()), ("conditions", keyed(condition, "type", &["type"]))], &[]);
    let root = object(
        vec![
            ("apiVersion", text()),
            ("kind", text()),
            ("metadata", reference("ObjectMeta")),
            ("spec", Schema { always_there: true, ..reference("DeploymentSpec") }),
            ("status", Schema { always_there: true, ..reference("DeploymentStatus") }),
        ],
        &[],
    );
    let definitions = [
        ("Deployment", root),
        ("ObjectMeta", metadata),
        ("DeploymentSpec", spec),
        ("DeploymentStatus", status),
        ("Container", container),
        ("Port", port),
    ];
    let definitions =
        definitions.into_iter().map(|(name, schema)| (format!("test.apps.v1.{name}").into(), Arc::new(schema)));
    (reference("Deployment"), Definitions(definitions.collect()))
}
