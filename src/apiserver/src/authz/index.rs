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
    by_user: HashMap<String, HashSet<RoleKey>>,
    by_group: HashMap<String, HashSet<RoleKey>>,
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
        // Every request comes through here: nothing is copied to look it up.
        let own = std::iter::once((&user.name, false)).chain(user.groups.iter().map(|group| (group, true)));
        let mut found: Vec<(&RoleKey, (&String, bool))> = Vec::new();
        for (name, is_group) in own {
            let keys = if is_group { self.by_group.get(name) } else { self.by_user.get(name) };
            let counts = |key: &&RoleKey| key.0.is_empty() || key.0 == namespace;
            found.extend(keys.into_iter().flatten().filter(counts).map(|key| (key, (name, is_group))));
        }
        found.sort_by_key(|(key, _)| *key);
        found.into_iter().filter_map(|(key, (name, is_group))| {
            let binding = self.bindings.get(key)?;
            let is_found_by = |subject: &Subject| match subject {
                Subject::User(own) => !is_group && own == name,
                Subject::Group(own) => is_group && own == name,
            };
            let (_, shown) = binding.subjects.iter().find(|(own, _)| is_found_by(own))?;
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

    fn keys_of<'a>(&mut self, subject: &'a Subject) -> (&mut HashMap<String, HashSet<RoleKey>>, &'a str) {
        match subject {
            Subject::User(name) => (&mut self.by_user, name),
            Subject::Group(name) => (&mut self.by_group, name),
        }
    }

    fn unbind(&mut self, key: &RoleKey) {
        let Some(binding) = self.bindings.remove(key) else { return };
        for (subject, _) in &binding.subjects {
            let (keys, name) = self.keys_of(subject);
            if let Some(found) = keys.get_mut(name) {
                found.remove(key);
                if found.is_empty() {
                    keys.remove(name);
                }
            }
        }
    }

    fn bind(&mut self, key: RoleKey, object: &Value) {
        let subjects: Vec<(Subject, String)> =
            items(object, "/subjects").iter().filter_map(|subject| read_subject(subject, &key.0)).collect();
        let role_namespace = if text(object, "/roleRef/kind") == "Role" { key.0.clone() } else { String::new() };
        for (subject, _) in &subjects {
            let (keys, name) = self.keys_of(subject);
            keys.entry(name.to_string()).or_default().insert(key.clone());
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
