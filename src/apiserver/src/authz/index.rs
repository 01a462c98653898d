//! Roles and bindings, decoded once and found by subject. Kept up by a watch of the store; never asked of the store.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::rule::Rule;
use crate::follow::Index;
use crate::live::{items, text};
use crate::request::User;

/// The API group of roles and bindings.
pub const GROUP: &str = "rbac.authorization.k8s.io";

/// Whom a binding names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// By user name; service accounts by theirs.
    User(String),
    /// By group.
    Group(String),
}

/// A role by where it is: its namespace (empty for ClusterRoles) and name.
pub type RoleKey = (String, String);

/// A binding that names a subject.
#[derive(Debug, PartialEq, Eq)]
pub struct Binding {
    /// Empty for ClusterRoleBindings.
    pub namespace: String,
    /// metadata.name
    pub name: String,
    /// What it grants.
    pub role: RoleKey,
    /// As written, with the subject it was found by when asked for.
    pub subjects: Vec<(Subject, String)>,
}

/// The index.
#[derive(Debug, Default)]
pub struct Roles {
    roles: HashMap<RoleKey, Arc<[Rule]>>,
    bindings: HashMap<RoleKey, Arc<Binding>>,
    by_subject: HashMap<Subject, HashSet<RoleKey>>,
}

/// A grant of one rule to a user.
pub struct Grant<'a> {
    /// The binding.
    pub binding: &'a Binding,
    /// Which of its subjects is the user, as `Group "system:masters"`.
    pub subject: &'a str,
    /// The role's rules; `None` where the role is missing.
    pub rules: Option<&'a [Rule]>,
}

impl Roles {
    /// The bindings of a user that count in a namespace (empty: at the cluster scope), cluster-wide ones first.
    pub fn grants<'a>(&'a self, user: &'a User, namespace: &'a str) -> impl Iterator<Item = Grant<'a>> {
        let subjects = std::iter::once(Subject::User(user.name.clone()))
            .chain(user.groups.iter().map(|group| Subject::Group(group.clone())));
        let mut found: Vec<(&RoleKey, Subject)> = Vec::new();
        for subject in subjects {
            let keys = self.by_subject.get(&subject).into_iter().flatten();
            found.extend(keys.filter(|key| key.0.is_empty() || key.0 == namespace).map(|key| (key, subject.clone())));
        }
        found.sort_by_key(|(key, _)| *key);
        found.into_iter().filter_map(|(key, subject)| {
            let binding = self.bindings.get(key)?;
            let (_, shown) = binding.subjects.iter().find(|(own, _)| *own == subject)?;
            let rules = self.roles.get(&binding.role).map(|rules| &**rules);
            Some(Grant { binding, subject: shown, rules })
        })
    }

    /// Every rule a user has in a namespace (empty: at the cluster scope).
    pub fn rules_of(&self, user: &User, namespace: &str) -> Vec<Rule> {
        self.grants(user, namespace).filter_map(|grant| grant.rules).flatten().cloned().collect()
    }

    /// The rules of a role; the namespace is empty for ClusterRoles.
    pub fn rules(&self, namespace: &str, name: &str) -> Option<&Arc<[Rule]>> {
        self.roles.get(&(namespace.to_string(), name.to_string()))
    }

    fn unbind(&mut self, key: &RoleKey) {
        let Some(binding) = self.bindings.remove(key) else { return };
        for (subject, _) in &binding.subjects {
            if let Some(keys) = self.by_subject.get_mut(subject) {
                keys.remove(key);
                if keys.is_empty() {
                    self.by_subject.remove(subject);
                }
            }
        }
    }

    fn bind(&mut self, key: RoleKey, object: &Value) {
        let subjects: Vec<(Subject, String)> =
            items(object, "/subjects").iter().filter_map(|subject| read_subject(subject, &key.0)).collect();
        let role_namespace = if text(object, "/roleRef/kind") == "Role" { key.0.clone() } else { String::new() };
        for (subject, _) in &subjects {
            self.by_subject.entry(subject.clone()).or_default().insert(key.clone());
        }
        let binding = Binding {
            namespace: key.0.clone(),
            name: key.1.clone(),
            role: (role_namespace, text(object, "/roleRef/name").to_string()),
            subjects,
        };
        self.bindings.insert(key, Arc::new(binding));
    }
}

fn read_subject(subject: &Value, binding_namespace: &str) -> Option<(Subject, String)> {
    let name = text(subject, "/name");
    match text(subject, "/kind") {
        "User" => Some((Subject::User(name.to_string()), format!("User {name:?}"))),
        "Group" => Some((Subject::Group(name.to_string()), format!("Group {name:?}"))),
        "ServiceAccount" => {
            let namespace = match text(subject, "/namespace") {
                "" => binding_namespace,
                namespace => namespace,
            };
            let shown = format!("ServiceAccount \"{name}/{namespace}\"");
            Some((Subject::User(format!("system:serviceaccount:{namespace}:{name}")), shown))
        }
        _ => None,
    }
}

/// The rules of a Role or ClusterRole; malformed ones grant nothing.
pub fn read_rules(object: &Value) -> Vec<Rule> {
    object.get("rules").cloned().and_then(|rules| serde_json::from_value(rules).ok()).unwrap_or_default()
}

impl Index for Roles {
    fn prefixes() -> Vec<String> {
        vec![crate::live::prefix(GROUP, "", "")]
    }

    fn set(&mut self, key: &str, object: Option<&Value>) {
        let mut parts = key.rsplitn(2, '/');
        let (Some(name), Some(place)) = (parts.next(), parts.next()) else { return };
        let place = place.trim_start_matches("/registry/").trim_start_matches(GROUP).trim_start_matches('/');
        let (resource, namespace) = place.split_once('/').unwrap_or((place, ""));
        let key = (namespace.to_string(), name.to_string());
        match resource {
            "roles" | "clusterroles" => match object {
                Some(object) => drop(self.roles.insert(key, read_rules(object).into())),
                None => drop(self.roles.remove(&key)),
            },
            "rolebindings" | "clusterrolebindings" => {
                self.unbind(&key);
                if let Some(object) = object {
                    self.bind(key, object);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn index() -> Roles {
        let mut index = Roles::default();
        let mut set = |key: &str, object: Value| index.set(&format!("/registry/{GROUP}/{key}"), Some(&object));
        set("clusterroles/view", json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}));
        set("roles/dev/edit", json!({"rules": [{"verbs": ["*"], "apiGroups": null, "resources": ["pods"]}]}));
        set(
            "clusterrolebindings/all",
            json!({"roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": "Group", "name": "ops"}]}),
        );
        set(
            "rolebindings/dev/one",
            json!({"roleRef": {"kind": "Role", "name": "edit"}, "subjects": [{"kind": "ServiceAccount", "name": "ci"}]}),
        );
        set(
            "rolebindings/dev/two",
            json!({"roleRef": {"kind": "ClusterRole", "name": "gone"}, "subjects": [{"kind": "User", "name": "ann"}]}),
        );
        index
    }

    fn names(index: &Roles, user: &User, namespace: &str) -> Vec<(String, bool)> {
        index.grants(user, namespace).map(|grant| (grant.binding.name.clone(), grant.rules.is_some())).collect()
    }

    #[test]
    fn bindings_count_for_their_subjects_and_namespace() {
        let index = index();
        let ci = User::new("system:serviceaccount:dev:ci", &["ops"]);
        assert_eq!(names(&index, &ci, "dev"), [("all".to_string(), true), ("one".to_string(), true)]);
        assert_eq!(names(&index, &ci, "other"), [("all".to_string(), true)]);
        assert_eq!(names(&index, &ci, ""), [("all".to_string(), true)]);
        let ann = User::new("ann", &[]);
        assert_eq!(names(&index, &ann, "dev"), [("two".to_string(), false)]);
        assert_eq!(index.rules_of(&ci, "dev").len(), 2);
    }

    #[test]
    fn what_is_deleted_or_changed_no_longer_counts() {
        let mut index = index();
        let ops = User::new("x", &["ops"]);
        let key = format!("/registry/{GROUP}/clusterrolebindings/all");
        index.set(
            &key,
            Some(&json!({"roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": "User", "name": "y"}]})),
        );
        assert!(names(&index, &ops, "").is_empty());
        assert_eq!(names(&index, &User::new("y", &[]), ""), [("all".to_string(), true)]);
        index.set(&key, None);
        assert!(names(&index, &User::new("y", &[]), "").is_empty());
        index.set(&format!("/registry/{GROUP}/roles/dev/edit"), None);
        assert_eq!(names(&index, &User::new("system:serviceaccount:dev:ci", &[]), "dev"), [("one".to_string(), false)]);
    }
}
