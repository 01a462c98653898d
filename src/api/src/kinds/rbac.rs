//! Roles, bindings and their cluster-wide forms.

use machinery::field::{FieldError, FieldErrors};
use serde_json::Value;

use super::simple::Simple;
use crate::check::{At, label_selector};
use crate::edit::items_at;
use crate::read;
use crate::table::{age, age_column, name, name_column, text, wide};

const GROUP: &str = "rbac.authorization.k8s.io";

/// The behaviour of Roles.
pub static ROLE: Simple = Simple { validate: |object| validate_rules(object, true), ..Simple::CREATED_AT };

/// The behaviour of ClusterRoles.
pub static CLUSTER_ROLE: Simple = Simple { validate: validate_cluster_role, ..Simple::CREATED_AT };

/// The behaviour of ClusterRoleBindings.
pub static CLUSTER_BINDING: Simple =
    Simple { validate: |object| validate_binding(object, &["ClusterRole"]), ..BINDING_BASE };

/// The behaviour of RoleBindings.
pub static BINDING: Simple =
    Simple { validate: |object| validate_binding(object, &["Role", "ClusterRole"]), ..BINDING_BASE };

/// What both kinds of bindings share.
const BINDING_BASE: Simple = Simple {
    columns: &[
        name_column(),
        text("Role", "The role that is granted."),
        age_column(),
        wide("Users", "The users it is granted to."),
        wide("Groups", "The groups it is granted to."),
        wide("ServiceAccounts", "The service accounts it is granted to."),
    ],
    cells: |object, now| {
        let role = format!("{}/{}", read::text(object, "roleRef.kind"), read::text(object, "roleRef.name"));
        vec![
            name(object),
            role.into(),
            age(object, now),
            subjects(object, "User"),
            subjects(object, "Group"),
            subjects(object, "ServiceAccount"),
        ]
    },
    default: default_binding,
    validate_update: validate_binding_update,
    ..Simple::PLAIN
};

fn subjects(object: &Value, kind: &str) -> Value {
    let of_kind = read::list(object, "subjects").iter().filter(|subject| read::text(subject, "kind") == kind);
    let shown: Vec<String> = of_kind
        .map(|subject| match (kind, read::text(subject, "name")) {
            ("ServiceAccount", name) => format!("{}/{name}", read::text(subject, "namespace")),
            (_, name) => name.to_string(),
        })
        .collect();
    shown.join(", ").into()
}

fn default_binding(object: &mut Value) {
    if let Some(role) = object.get_mut("roleRef")
        && read::text(role, "apiGroup").is_empty()
    {
        crate::edit::set(role, "apiGroup", GROUP);
    }
    for subject in items_at(object, "subjects") {
        if matches!(read::text(subject, "kind"), "User" | "Group") && read::text(subject, "apiGroup").is_empty() {
            crate::edit::set(subject, "apiGroup", GROUP);
        }
    }
}

fn validate_cluster_role(object: &Value) -> FieldErrors {
    let mut errors = validate_rules(object, false);
    let aggregation = At::root(object).at("aggregationRule");
    if aggregation.is_set() && read::list(aggregation.value, "clusterRoleSelectors").is_empty() {
        let wrong = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        aggregation.at("clusterRoleSelectors").required(&mut errors, wrong);
    }
    for selector in At::root(object).at("aggregationRule").items("clusterRoleSelectors") {
        label_selector(&selector, &mut errors);
    }
    errors
}

fn validate_rules(object: &Value, is_namespaced: bool) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for rule in At::root(object).items("rules") {
        let is_empty = |field: &str| read::list(rule.value, field).is_empty();
        if is_empty("verbs") {
            rule.at("verbs").required(&mut errors, "verbs must contain at least one value");
        }
        let urls = rule.at("nonResourceURLs");
        if !is_empty("nonResourceURLs") {
            if is_namespaced {
                urls.invalid(&mut errors, "namespaced rules cannot apply to non-resource URLs");
            }
            if !["apiGroups", "resources", "resourceNames"].into_iter().all(is_empty) {
                urls.invalid(&mut errors, "rules cannot apply to both regular resources and non-resource URLs");
            }
            continue;
        }
        if is_empty("apiGroups") {
            rule.at("apiGroups").required(&mut errors, "resource rules must supply at least one api group");
        }
        if is_empty("resources") {
            rule.at("resources").required(&mut errors, "resource rules must supply at least one resource");
        }
    }
    errors
}

fn validate_binding(object: &Value, role_kinds: &[&str]) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let role = At::root(object).at("roleRef");
    if role.at("apiGroup").text() != GROUP {
        errors.push(FieldError::not_supported(&role.at("apiGroup").path, role.at("apiGroup").text(), &[GROUP]));
    }
    if !role_kinds.contains(&role.at("kind").text()) {
        errors.push(FieldError::not_supported(&role.at("kind").path, role.at("kind").text(), role_kinds));
    }
    role.at("name").require_name(&mut errors, machinery::names::path_segment);
    for subject in At::root(object).items("subjects") {
        validate_subject(&subject, &mut errors);
    }
    errors
}

fn validate_subject(subject: &At<'_>, errors: &mut FieldErrors) {
    subject.at("name").require_text(errors);
    let (kind, group) = (subject.at("kind"), subject.at("apiGroup"));
    match kind.text() {
        "ServiceAccount" => {
            subject.at("name").optional_name(errors, machinery::names::dns1123_subdomain);
            if !group.text().is_empty() {
                group.not_supported(errors, &[""]);
            }
            subject.at("namespace").require_text(errors);
        }
        "User" | "Group" => {
            if group.text() != GROUP {
                group.not_supported(errors, &[GROUP]);
            }
        }
        other => {
            let supported = ["ServiceAccount", "User", "Group"];
            errors.push(FieldError::not_supported(&kind.path, other, &supported));
        }
    }
}

fn validate_binding_update(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let role = At::root(object).at("roleRef");
    if !read::same(role.value, read::at(old, "roleRef")) {
        role.invalid(&mut errors, "cannot change roleRef");
    }
    errors
}
