//! The role-based authorizer: the rules of every binding of a user, until one allows.

use async_trait::async_trait;

use super::index::Roles;
use crate::follow::Followed;
use crate::plugin::{Authorizer, Decision};
use crate::request::{Attributes, User};

/// Decides by roles and bindings.
#[derive(Clone)]
pub struct Rbac(pub Followed<Roles>);

#[async_trait]
impl Authorizer for Rbac {
    async fn authorize(&self, user: &User, attributes: &Attributes) -> Decision {
        decide(&self.0.read(), user, attributes)
    }
}

fn decide(roles: &Roles, user: &User, asked: &Attributes) -> Decision {
    let mut missing = Vec::new();
    for grant in roles.grants(user, &asked.namespace) {
        let (role_namespace, role) = &grant.binding.role;
        let Some(rules) = grant.rules else {
            let kind = if role_namespace.is_empty() { "clusterrole" } else { "role" };
            missing.push(format!("{kind}.{} {role:?} not found", super::index::GROUP));
            continue;
        };
        if rules.iter().any(|rule| rule.allows(asked)) {
            let kind = if role_namespace.is_empty() { "ClusterRole" } else { "Role" };
            let binding = match grant.binding.namespace.as_str() {
                "" => format!("ClusterRoleBinding {:?}", grant.binding.name),
                namespace => format!("RoleBinding \"{}/{namespace}\"", grant.binding.name),
            };
            return Decision::Allow(format!("RBAC: allowed by {binding} of {kind} {role:?} to {}", grant.subject));
        }
    }
    match missing.as_slice() {
        [] => Decision::NoOpinion(String::new()),
        [one] => Decision::NoOpinion(format!("RBAC: {one}")),
        many => Decision::NoOpinion(format!("RBAC: [{}]", many.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::Index;
    use serde_json::json;

    fn roles() -> Roles {
        let mut roles = Roles::default();
        let mut set =
            |key: &str, object| roles.set(&format!("/registry/rbac.authorization.k8s.io/{key}"), Some(&object));
        set(
            "clusterroles/view",
            json!({"rules": [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]}),
        );
        set(
            "rolebindings/dev/viewers",
            json!({"roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": "User", "name": "ann"}]}),
        );
        set(
            "clusterrolebindings/broken",
            json!({"roleRef": {"kind": "ClusterRole", "name": "gone"}, "subjects": [{"kind": "User", "name": "bob"}]}),
        );
        roles
    }

    fn list_pods(namespace: &str) -> Attributes {
        Attributes {
            verb: "list".into(),
            resource: "pods".into(),
            namespace: namespace.into(),
            is_resource: true,
            ..Attributes::default()
        }
    }

    #[test]
    fn a_binding_in_a_namespace_grants_a_cluster_role_there_only() {
        let (roles, ann) = (roles(), User::new("ann", &[]));
        let reason = "RBAC: allowed by RoleBinding \"viewers/dev\" of ClusterRole \"view\" to User \"ann\"";
        assert_eq!(decide(&roles, &ann, &list_pods("dev")), Decision::Allow(reason.to_string()));
        for namespace in ["", "prod"] {
            assert_eq!(decide(&roles, &ann, &list_pods(namespace)), Decision::NoOpinion(String::new()));
        }
    }

    #[test]
    fn a_binding_of_a_missing_role_is_told() {
        let decision = decide(&roles(), &User::new("bob", &[]), &list_pods("dev"));
        let reason = "RBAC: clusterrole.rbac.authorization.k8s.io \"gone\" not found";
        assert_eq!(decision, Decision::NoOpinion(reason.to_string()));
    }
}
