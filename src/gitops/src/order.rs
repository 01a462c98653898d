//! In which order kinds are applied, so that what is needed is there before what needs it. Pruning goes backwards.

use crate::object::Key;

/// The step a kind belongs to; lower ones are applied first.
pub fn rank(key: &Key) -> u8 {
    let cluster_scoped = key.namespace.is_empty();
    match (key.group.as_str(), key.kind.as_str()) {
        ("", "Namespace") => 0,
        ("apiextensions.k8s.io", _) => 1,
        // They stand in the way of everything that is applied after them until their servers run.
        ("admissionregistration.k8s.io" | "apiregistration.k8s.io", _) => 9,
        ("rbac.authorization.k8s.io", "ClusterRole" | "Role") => 4,
        ("rbac.authorization.k8s.io", _) => 5,
        ("", "ServiceAccount" | "Secret" | "ConfigMap" | "LimitRange" | "ResourceQuota" | "PersistentVolumeClaim") => 3,
        ("", "Service" | "Endpoints") | ("discovery.k8s.io", _) => 6,
        ("apps" | "batch", _) | ("", "Pod" | "ReplicationController" | "PodTemplate") => 7,
        _ if cluster_scoped => 2,
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_comes_before_what_needs_it() {
        let order = [
            ("", "Namespace", ""),
            ("apiextensions.k8s.io", "CustomResourceDefinition", ""),
            ("storage.k8s.io", "StorageClass", ""),
            ("", "ConfigMap", "a"),
            ("rbac.authorization.k8s.io", "ClusterRole", ""),
            ("rbac.authorization.k8s.io", "RoleBinding", "a"),
            ("", "Service", "a"),
            ("apps", "Deployment", "a"),
            ("networking.k8s.io", "Ingress", "a"),
            ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", ""),
        ];
        let ranks: Vec<u8> = order
            .map(|(group, kind, namespace)| {
                rank(&Key { group: group.into(), kind: kind.into(), namespace: namespace.into(), name: "x".into() })
            })
            .to_vec();
        assert!(ranks.windows(2).all(|pair| pair[0] < pair[1]), "{ranks:?}");
    }
}
