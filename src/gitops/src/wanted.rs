//! The objects of a commit, understood: what each is called, which kinds the commit itself defines, what is wrong
//! before the cluster is asked. Pure but for the lookup of kinds that is passed in.

use std::collections::{BTreeMap, HashMap};

use machinery::meta;
use serde_json::Value;

use crate::Problem;
use crate::inventory::{Entry, MAX_OBJECTS};
use crate::object::Key;
use crate::order;
use crate::render::Rendered;

/// An object that shall be there.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Where it comes from.
    pub file: String,
    /// What it is called.
    pub key: Key,
    /// When it is applied.
    pub rank: u8,
    /// As it is to be applied.
    pub object: Value,
    /// The cluster serves its kind already.
    pub is_served: bool,
}

impl Wanted {
    /// As it stands in the inventory.
    pub fn entry(&self, uid: &str) -> Entry {
        Entry {
            api_version: meta::api_version(&self.object).to_owned(),
            kind: self.key.kind.clone(),
            namespace: self.key.namespace.clone(),
            name: self.key.name.clone(),
            uid: uid.to_owned(),
        }
    }

    /// Something that is wrong with it.
    pub fn problem(&self, message: impl Into<String>) -> Problem {
        Problem { file: self.file.clone(), object: self.key.to_string(), message: message.into() }
    }
}

/// Kinds that CustomResourceDefinitions among the objects define, and whether they live in namespaces.
pub fn defined_kinds(rendered: &[Rendered]) -> HashMap<(String, String), bool> {
    let mut kinds = HashMap::new();
    for object in rendered.iter().map(|one| &one.object) {
        if meta::kind(object) != "CustomResourceDefinition" {
            continue;
        }
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (group, kind, namespaced) =
            (text("/spec/group"), text("/spec/names/kind"), text("/spec/scope") != "Cluster");
        for version in object.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten() {
            let version = meta::text_at(version, &["name"]);
            kinds.insert((format!("{group}/{version}"), kind.to_owned()), namespaced);
        }
    }
    kinds
}

/// Kinds of the commit as (apiVersion, kind), each once.
pub fn kinds(rendered: &[Rendered]) -> Vec<(String, String)> {
    let mut kinds: Vec<(String, String)> = rendered
        .iter()
        .map(|one| (meta::api_version(&one.object).to_owned(), meta::kind(&one.object).to_owned()))
        .collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

/// Understands the objects, in the order in which they are applied. `served` tells of each kind that the cluster
/// serves whether it lives in namespaces.
///
/// # Errors
/// Everything that is wrong, with file and object.
pub fn understand(
    rendered: Vec<Rendered>,
    served: &HashMap<(String, String), bool>,
) -> Result<Vec<Wanted>, Vec<Problem>> {
    let defined = defined_kinds(&rendered);
    let mut problems = Vec::new();
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut places: BTreeMap<Key, String> = BTreeMap::new();
    if rendered.len() > MAX_OBJECTS {
        let message = format!("{} objects are more than {MAX_OBJECTS}: follow a smaller folder", rendered.len());
        return Err(vec![Problem { file: String::new(), object: String::new(), message }]);
    }
    for Rendered { file, object } in rendered {
        let kind = (meta::api_version(&object).to_owned(), meta::kind(&object).to_owned());
        let namespaced = served.get(&kind).or_else(|| defined.get(&kind)).copied();
        let key = Key::of(&object, namespaced.unwrap_or(!meta::namespace(&object).is_empty()));
        let one = Wanted { rank: order::rank(&key), is_served: served.contains_key(&kind), file, key, object };
        let problem = if let Some(field) = missing_field(&one.object) {
            Some(format!("it has no {field}"))
        } else if namespaced.is_none() {
            Some(format!("the cluster serves no kind {} in {}: apply its CustomResourceDefinition too", kind.1, kind.0))
        } else {
            let first = places.get(&one.key).map(|first| format!("it is in {first} already"));
            places.entry(one.key.clone()).or_insert_with(|| one.file.clone());
            first
        };
        match problem {
            Some(message) => problems.push(one.problem(message)),
            None => wanted.push(one),
        }
    }
    // Within a rank the order of the files is kept.
    wanted.sort_by_key(|one| one.rank);
    if problems.is_empty() { Ok(wanted) } else { Err(problems) }
}

fn missing_field(object: &Value) -> Option<&'static str> {
    let fields = [
        ("apiVersion", meta::api_version(object)),
        ("kind", meta::kind(object)),
        ("metadata.name", meta::name(object)),
    ];
    fields.into_iter().find(|(_, value)| value.is_empty()).map(|(field, _)| field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn served() -> HashMap<(String, String), bool> {
        let kind = |version: &str, kind: &str| (version.to_owned(), kind.to_owned());
        HashMap::from([
            (kind("v1", "ConfigMap"), true),
            (kind("v1", "Namespace"), false),
            (kind("apiextensions.k8s.io/v1", "CustomResourceDefinition"), false),
        ])
    }

    fn rendered(object: Value) -> Rendered {
        Rendered { file: "a.yaml".into(), object }
    }

    #[test]
    fn problems_name_file_and_object() {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
        let explicit =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "default"}});
        let table = [
            (vec![json!({"kind": "ConfigMap", "metadata": {"name": "m"}})], "it has no apiVersion"),
            (vec![json!({"apiVersion": "v1", "metadata": {"name": "m"}})], "it has no kind"),
            (vec![json!({"apiVersion": "v1", "kind": "ConfigMap"})], "it has no metadata.name"),
            (vec![json!({"apiVersion": "x/v1", "kind": "Y", "metadata": {"name": "m"}})], "serves no kind Y in x/v1"),
            (vec![map, explicit], "a.yaml: ConfigMap default/m: it is in a.yaml already"),
        ];
        for (objects, expected) in table {
            let problems = understand(objects.into_iter().map(rendered).collect(), &served()).unwrap_err();
            assert_eq!(problems.len(), 1);
            let text = problems[0].to_string();
            assert!(text.starts_with("a.yaml: ") && text.contains(expected), "{text}");
        }
    }

    #[test]
    fn a_kind_that_the_commit_defines_is_known_and_comes_after_its_definition() {
        let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "ys.x"},
            "spec": {"group": "x", "scope": "Cluster", "names": {"kind": "Y"}, "versions": [{"name": "v1"}]}});
        let one = json!({"apiVersion": "x/v1", "kind": "Y", "metadata": {"name": "m"}});
        let wanted = understand(vec![rendered(one), rendered(crd)], &served()).unwrap();
        let names: Vec<String> = wanted.iter().map(|one| one.key.to_string()).collect();
        assert_eq!(names, ["CustomResourceDefinition.apiextensions.k8s.io ys.x", "Y.x m"]);
        assert!(!wanted[1].is_served);
    }
}
