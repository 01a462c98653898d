//! Checking a policy's expressions against the types of the objects that it is for: what is told is a warning in the
//! policy's status, since a policy may know more of an object than its schema.

use std::collections::BTreeSet;
use std::sync::Arc;

use cel::{ObjectType, Type};
use machinery::gvk::{GroupVersion, GroupVersionKind};
use machinery::schema::{self, Definitions, Schema};
use serde_json::{Value, json};

use super::{env, matching::Place, param_kind};
use crate::read;
use crate::resource::Resource;

/// More types of one policy are not looked at.
pub const TYPES_MAX: usize = 10;
/// Fields deeper than this may be anything: types that refer to themselves end there.
const DEPTH_MAX: usize = 24;
/// What is told of one expression is no longer.
const WARNING_BYTES_MAX: usize = 16 << 10;

/// A kind, and the type of its objects.
pub struct Kind {
    /// What it is called.
    pub kind: GroupVersionKind,
    /// Its type.
    pub type_: Type,
}

impl Kind {
    /// The kind of a resource.
    pub fn of(resource: &Resource) -> Self {
        let kind = GroupVersionKind { group_version: resource.group_version.clone(), kind: resource.kind.to_string() };
        let root = resource.definitions().resolve(resource.schema());
        let type_ = match &root.type_ {
            schema::Type::Object { fields, .. } => object(fields, resource.definitions(), &kind.kind, 0),
            _ => Type::Dyn,
        };
        Self { kind, type_ }
    }
}

/// The resources that a policy names, without those that a pattern or a subresource stands for.
pub fn named(policy: &Value) -> Vec<Place> {
    let mut places = Vec::new();
    for rule in read::list(policy, "spec.matchConstraints.resourceRules") {
        let all = |field: &str| -> BTreeSet<String> { read::texts(rule, field).map(str::to_string).collect() };
        let (groups, versions) = (all("apiGroups"), all("apiVersions"));
        if groups.iter().chain(&versions).any(|name| name.contains('*')) {
            continue;
        }
        let resources = all("resources");
        for group in &groups {
            for version in &versions {
                let own = resources.iter().filter(|resource| !resource.contains(['*', '/']));
                places.extend(own.map(|resource| Place {
                    group_version: GroupVersion::new(group.as_str(), version.as_str()),
                    resource: resource.clone(),
                }));
            }
        }
    }
    places
}

/// The kind of a policy's parameters.
pub fn params(policy: &Value) -> Option<GroupVersionKind> {
    let kind = param_kind(read::at(policy, "spec"))?;
    Some(GroupVersionKind { group_version: kind.group_version, kind: kind.kind })
}

/// `status.typeChecking.expressionWarnings` of a ValidatingAdmissionPolicy, for objects of these kinds and parameters of
/// this one.
pub fn warnings(policy: &Value, kinds: &[Kind], params: Option<&Kind>) -> Vec<Value> {
    let mut told = Vec::new();
    for (index, validation) in read::list(policy, "spec.validations").iter().enumerate() {
        for field in ["expression", "messageExpression"] {
            let text = read::text(validation, field);
            if text.is_empty() {
                continue;
            }
            let found: Vec<String> = kinds.iter().filter_map(|kind| warning(policy, text, kind, params)).collect();
            if !found.is_empty() {
                let mut warning = found.join("\n");
                warning.truncate(warning.floor_char_boundary(WARNING_BYTES_MAX));
                told.push(json!({"fieldRef": format!("spec.validations[{index}].{field}"), "warning": warning}));
            }
        }
    }
    told
}

fn warning(policy: &Value, text: &str, kind: &Kind, params: Option<&Kind>) -> Option<String> {
    // Parameters of a kind that is not served may be anything.
    let params =
        params.map(|params| &params.type_).or_else(|| param_kind(read::at(policy, "spec")).map(|_| &Type::Dyn));
    let base = env::typed(&kind.type_, params);
    let mut composed = env::Composed::new(base);
    for variable in read::list(policy, "spec.variables") {
        // What is wrong with a variable makes it anything; it is told when the policy is made.
        let _ = composed.add(read::text(variable, "name"), read::text(variable, "expression"));
    }
    let wrong = composed.env.compile(text).err()?;
    let GroupVersion { group, version } = &kind.kind.group_version;
    Some(format!("{group}/{version}, Kind={}: {wrong}\n", kind.kind.kind))
}

fn object(
    fields: &std::collections::BTreeMap<String, Arc<Schema>>,
    definitions: &Definitions,
    name: &str,
    depth: usize,
) -> Type {
    let own = fields.iter().filter_map(|(field, schema)| {
        let escaped = cel::escape(field)?;
        let type_ = type_of(schema, definitions, &format!("{name}.{field}"), depth + 1);
        Some((escaped, type_))
    });
    Type::Object(Arc::new(ObjectType { name: name.into(), fields: own.collect(), is_open: false }))
}

fn type_of(schema: &Schema, definitions: &Definitions, name: &str, depth: usize) -> Type {
    let schema = definitions.resolve(schema);
    if depth > DEPTH_MAX || schema.preserve_unknown {
        return Type::Dyn;
    }
    let inner = |schema: &Schema, step: &str| type_of(schema, definitions, &format!("{name}.{step}"), depth + 1);
    match &schema.type_ {
        schema::Type::Any | schema::Type::IntOrString | schema::Type::Reference(_) => Type::Dyn,
        schema::Type::Object { fields, .. } => object(fields, definitions, name, depth),
        schema::Type::Map { values, .. } => Type::map(Type::String, inner(values, "@elem")),
        schema::Type::List { items, .. } => Type::list(inner(items, "@idx")),
        schema::Type::String { format } => match format.as_deref() {
            Some("byte") => Type::Bytes,
            Some("date" | "date-time") => Type::Timestamp,
            Some("duration") => Type::Duration,
            _ => Type::String,
        },
        schema::Type::Integer { .. } => Type::Int,
        schema::Type::Number { .. } => Type::Double,
        schema::Type::Boolean => Type::Bool,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployments() -> Kind {
        Kind::of(crate::registry().get("apps", "v1", "deployments").expect("a resource"))
    }

    fn told(spec: Value) -> Vec<(String, String)> {
        let policy = json!({"spec": spec});
        let params = Kind::of(crate::registry().get("", "v1", "configmaps").expect("a resource"));
        let params = params_of(&policy).then_some(params);
        let text = |warning: &Value, field: &str| warning[field].as_str().unwrap_or_default().to_string();
        let found = warnings(&policy, &[deployments()], params.as_ref());
        found.iter().map(|warning| (text(warning, "fieldRef"), text(warning, "warning"))).collect()
    }

    fn params_of(policy: &Value) -> bool {
        params(policy).is_some()
    }

    #[test]
    fn expressions_are_held_to_the_types_that_they_are_for() {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap"});
        for (spec, expected) in [
            (json!({"validations": [{"expression": "object.spec.replicas > 1"}]}), vec![]),
            (
                json!({"validations": [{"expression": "object.spec.replicas > '1'"},
                    {"expression": "true", "messageExpression": "object.spec.replica"}]}),
                vec![
                    (
                        "spec.validations[0].expression",
                        "apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '(int, string)'",
                    ),
                    (
                        "spec.validations[1].messageExpression",
                        "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'replica'",
                    ),
                ],
            ),
            (
                json!({"variables": [{"name": "all", "expression": "object.spec.template.spec.containers"}],
                    "validations": [{"expression": "variables.all.all(c, has(c.image) && c.nothing == 1)"}]}),
                vec![(
                    "spec.validations[0].expression",
                    "apps/v1, Kind=Deployment: ERROR: <input>:1:39: undefined field 'nothing'",
                )],
            ),
            (
                json!({"paramKind": map, "validations": [{"expression": "params.data.max == object.metadata.name && params.dat == 1"}]}),
                vec![(
                    "spec.validations[0].expression",
                    "apps/v1, Kind=Deployment: ERROR: <input>:1:50: undefined field 'dat'",
                )],
            ),
            (
                json!({"validations": [{"expression": "object.metadata.creationTimestamp > timestamp('2020-01-01T00:00:00Z')\
                    && object.spec.selector.matchLabels.all(k, v, v != '') && request.name == '' && authorizer.path('/').check('get').allowed()"}]}),
                vec![],
            ),
        ] {
            let told = told(spec.clone());
            assert_eq!(told.len(), expected.len(), "{spec}: {told:?}");
            for ((path, warning), (expected_path, words)) in told.iter().zip(expected) {
                assert_eq!(path, expected_path);
                assert!(warning.starts_with(words), "{warning}");
            }
        }
    }

    #[test]
    fn types_are_those_that_are_named() {
        let rule = |groups: &[&str], versions: &[&str], resources: &[&str]| json!({"apiGroups": groups, "apiVersions": versions, "resources": resources});
        for (rules, expected) in [
            (vec![rule(&["apps"], &["v1"], &["deployments", "deployments/scale", "*"])], vec!["apps/v1 deployments"]),
            (vec![rule(&["*"], &["v1"], &["pods"]), rule(&[""], &["*"], &["pods"])], vec![]),
            (vec![rule(&["b", "a"], &["v1"], &["y", "x"])], vec!["a/v1 x", "a/v1 y", "b/v1 x", "b/v1 y"]),
        ] {
            let policy = json!({"spec": {"matchConstraints": {"resourceRules": rules}}});
            let places: Vec<String> =
                named(&policy).iter().map(|place| format!("{} {}", place.group_version, place.resource)).collect();
            assert_eq!(places, expected);
        }
    }
}
