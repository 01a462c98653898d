//! Roles, bindings and their cluster-wide forms.

use serde_json::Value;

use super::simple::Simple;
use crate::read;
use crate::table::{age, age_column, name, name_column, text, wide};

/// The behaviour of Roles and ClusterRoles.
pub static ROLE: Simple = Simple::CREATED_AT;

/// The behaviour of RoleBindings and ClusterRoleBindings.
pub static BINDING: Simple = Simple {
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
