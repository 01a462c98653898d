//! The roles and bindings a cluster begins with, read from the tables in `defaults/`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::index::GROUP;
use super::rule::Rule;

const ROLES: &str = include_str!("defaults/cluster_roles.txt");
const BINDINGS: &str = include_str!("defaults/bindings.txt");
/// Roles and bindings with this annotation are put right at every start; `false` leaves them to the administrator.
pub const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
/// The label of everything here.
const LABEL: (&str, &str) = ("kubernetes.io/bootstrapping", "rbac-defaults");

/// An object that should be there.
#[derive(Debug, Clone, PartialEq)]
pub struct Default {
    /// `clusterroles`, `roles`.
    pub resource: &'static str,
    /// Empty for cluster-scoped ones.
    pub namespace: String,
    /// metadata.name
    pub name: String,
    /// The object.
    pub object: Value,
}

/// Everything that should be there, roles before bindings.
///
/// # Errors
/// A line of the tables that cannot be read.
pub fn all() -> Result<Vec<Default>, String> {
    let mut all = cluster_roles()?;
    all.extend(roles());
    all.extend(bindings()?);
    Ok(all)
}

/// The rules of one of the ClusterRoles; none where there is no such role.
pub fn rules_of(name: &str) -> Vec<Rule> {
    let roles = cluster_roles().unwrap_or_default();
    roles.iter().find(|role| role.name == name).map(|role| super::index::read_rules(&role.object)).unwrap_or_default()
}

fn object(kind: &str, namespace: &str, name: &str, labels: &BTreeMap<String, String>) -> Value {
    let mut labels = labels.clone();
    labels.insert(LABEL.0.to_string(), LABEL.1.to_string());
    let mut object = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": kind,
        "metadata": {"name": name, "labels": labels, "annotations": {AUTOUPDATE: "true"}},
    });
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = json!(namespace);
    }
    object
}

/// A ClusterRole while its lines are read.
struct Draft {
    name: String,
    labels: BTreeMap<String, String>,
    gathers: Vec<String>,
    rules: Vec<Rule>,
}

impl Draft {
    fn finish(self) -> Default {
        let mut object = object("ClusterRole", "", &self.name, &self.labels);
        object["rules"] = json!(self.rules);
        if !self.gathers.is_empty() {
            let selectors: Vec<Value> =
                self.gathers.iter().map(|label| json!({"matchLabels": {label: "true"}})).collect();
            object["aggregationRule"] = json!({"clusterRoleSelectors": selectors});
        }
        Default { resource: "clusterroles", namespace: String::new(), name: self.name, object }
    }
}

fn lines(table: &str) -> impl Iterator<Item = &str> {
    table.lines().map(str::trim_end).filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
}

fn cluster_roles() -> Result<Vec<Default>, String> {
    let mut drafts: Vec<Draft> = Vec::new();
    for line in lines(ROLES) {
        let Some(content) = line.strip_prefix("  ") else {
            let name = line.to_string();
            drafts.push(Draft { name, labels: BTreeMap::new(), gathers: Vec::new(), rules: Vec::new() });
            continue;
        };
        let draft = drafts.last_mut().ok_or_else(|| format!("a rule before any role: {line}"))?;
        if let Some(label) = content.strip_prefix("+ ") {
            let (key, value) = label.split_once('=').ok_or_else(|| format!("not a label: {line}"))?;
            draft.labels.insert(key.to_string(), value.to_string());
        } else if let Some(label) = content.strip_prefix("= ") {
            draft.gathers.push(label.to_string());
        } else {
            draft.rules.push(rule(content).ok_or_else(|| format!("not a rule: {line}"))?);
        }
    }
    Ok(drafts.into_iter().map(Draft::finish).collect())
}

fn list(text: &str) -> Vec<String> {
    text.split_whitespace().map(|item| if item == "core" { "" } else { item }.to_string()).collect()
}

fn verbs(text: &str) -> Vec<String> {
    const READ: [&str; 3] = ["get", "list", "watch"];
    const WRITE: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];
    let mut verbs: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let expanded: Vec<&str> = match word {
            "read" => READ.to_vec(),
            "write" => WRITE.to_vec(),
            "edit" => READ.into_iter().chain(WRITE).collect(),
            verb => vec![verb],
        };
        verbs.extend(expanded.into_iter().map(str::to_string));
    }
    verbs
}

fn rule(line: &str) -> Option<Rule> {
    let columns: Vec<&str> = line.split(" | ").collect();
    let rule = match columns.as_slice() {
        [words, urls] => Rule { verbs: verbs(words), non_resource_urls: list(urls), ..Rule::default() },
        [words, groups, resources] => {
            Rule { verbs: verbs(words), api_groups: list(groups), resources: list(resources), ..Rule::default() }
        }
        [words, groups, resources, names] => Rule {
            verbs: verbs(words),
            api_groups: list(groups),
            resources: list(resources),
            resource_names: list(names),
            ..Rule::default()
        },
        _ => return None,
    };
    Some(rule)
}

fn bindings() -> Result<Vec<Default>, String> {
    lines(BINDINGS)
        .map(|line| {
            let columns: Vec<&str> = line.split(" | ").collect();
            let [name, role, subjects] = columns.as_slice() else { return Err(format!("not a binding: {line}")) };
            let role = if *role == "-" { name } else { role };
            let subjects: Option<Vec<Value>> = subjects.split_whitespace().map(subject).collect();
            let mut object = object("ClusterRoleBinding", "", name, &BTreeMap::new());
            object["roleRef"] = json!({"apiGroup": GROUP, "kind": "ClusterRole", "name": role});
            object["subjects"] = json!(subjects.ok_or_else(|| format!("not a subject: {line}"))?);
            let name = name.to_string();
            Ok(Default { resource: "clusterrolebindings", namespace: String::new(), name, object })
        })
        .collect()
}

fn subject(text: &str) -> Option<Value> {
    let (kind, name) = text.split_once(':')?;
    match kind {
        "user" => Some(json!({"apiGroup": GROUP, "kind": "User", "name": name})),
        "group" => Some(json!({"apiGroup": GROUP, "kind": "Group", "name": name})),
        "account" => Some(json!({"kind": "ServiceAccount", "name": name, "namespace": "kube-system"})),
        _ => None,
    }
}

/// The Roles of kube-system and kube-public with their bindings: what aggregated servers and joining hosts read, and
/// what the cleaner of bootstrap tokens deletes.
fn roles() -> Vec<Default> {
    let read = |resource: &str, names: &[&str], verbs: &[&str]| json!([{"apiGroups": [""], "resources": [resource], "resourceNames": names, "verbs": verbs}]);
    let readers = [
        (
            "kube-system",
            "extension-apiserver-authentication-reader",
            read("configmaps", &["extension-apiserver-authentication"], &["get", "list", "watch"]),
            vec!["user:system:kube-controller-manager", "user:system:kube-scheduler"],
        ),
        (
            "kube-public",
            "rkctl:cluster-info",
            read("configmaps", &["cluster-info"], &["get"]),
            vec!["group:system:bootstrappers"],
        ),
        (
            "kube-system",
            "system:controller:token-cleaner",
            json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch", "delete"]}]),
            vec!["account:token-cleaner"],
        ),
    ];
    let mut all = Vec::new();
    for (namespace, name, rules, subjects) in readers {
        let mut role = object("Role", namespace, name, &BTreeMap::new());
        role["rules"] = rules;
        let mut binding = object("RoleBinding", namespace, name, &BTreeMap::new());
        binding["roleRef"] = json!({"apiGroup": GROUP, "kind": "Role", "name": name});
        binding["subjects"] = subjects.into_iter().filter_map(subject).collect();
        for (resource, object) in [("roles", role), ("rolebindings", binding)] {
            all.push(Default { resource, namespace: namespace.to_string(), name: name.to_string(), object });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::{text, texts};
    use std::collections::HashSet;

    #[test]
    fn the_tables_can_be_read_and_every_binding_has_its_role() {
        let all = all().expect("the tables are sound");
        let names: HashSet<(&str, &str, &str)> =
            all.iter().map(|item| (item.resource, item.namespace.as_str(), item.name.as_str())).collect();
        assert_eq!(names.len(), all.len(), "no name is there twice");
        for item in &all {
            match item.resource {
                "clusterrolebindings" => {
                    let role = text(&item.object, "/roleRef/name");
                    assert!(names.contains(&("clusterroles", "", role)), "{role}");
                }
                "clusterroles" | "roles" => {
                    let rules = super::super::index::read_rules(&item.object);
                    let gathered = item.object.get("aggregationRule").is_some();
                    assert!(gathered || !rules.is_empty(), "{} has no rules", item.name);
                    for rule in rules {
                        assert!(!rule.verbs.is_empty(), "{}", item.name);
                        assert!(rule.resources.is_empty() != rule.non_resource_urls.is_empty(), "{}", item.name);
                    }
                }
                _ => {}
            }
        }
    }

    #[test]
    fn only_administrators_and_the_repository_are_bound_to_everything_and_the_anonymous_to_health_alone() {
        for item in all().expect("sound").iter().filter(|item| item.resource.ends_with("bindings")) {
            let role = text(&item.object, "/roleRef/name");
            for subject in crate::live::items(&item.object, "/subjects") {
                let name = text(subject, "/name");
                let masters = role != "cluster-admin" || name == super::super::MASTERS;
                assert!(masters || item.name == "rkctl:gitops" && name == "system:rkctl-gitops", "{}", item.name);
                assert!(name != "system:unauthenticated" || role == "system:public-info-viewer", "{}", item.name);
                assert_ne!(role, "system:node", "agents are the Node authorizer's");
            }
        }
    }

    #[test]
    fn editors_write_workloads_but_no_roles_and_viewers_read_no_secrets() {
        let mut roles: Vec<Value> = cluster_roles().expect("sound").into_iter().map(|role| role.object).collect();
        for (name, rules) in super::super::aggregate::plan(&roles.clone()) {
            let role = roles.iter_mut().find(|role| text(role, "/metadata/name") == name).expect("is there");
            role["rules"] = json!(rules);
        }
        let may = |role: &str, verb: &str, resource: &str| {
            let role = roles.iter().find(|found| text(found, "/metadata/name") == role).expect("is there");
            crate::live::items(role, "/rules").iter().any(|rule| {
                texts(rule, "/verbs").iter().any(|own| own == verb)
                    && texts(rule, "/resources").iter().any(|own| own == resource)
            })
        };
        assert!(may("view", "get", "pods") && !may("view", "get", "secrets") && !may("view", "create", "pods"));
        assert!(
            may("edit", "create", "deployments") && may("edit", "get", "secrets") && !may("edit", "create", "roles")
        );
        assert!(may("admin", "create", "rolebindings") && may("admin", "get", "configmaps"));
    }
}
