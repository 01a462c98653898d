//! Which secrets, config maps, claims and service accounts the pods of each node refer to. Kept up by a watch.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use crate::follow::Index;
use crate::live::{items, prefix, text};

/// What a pod may refer to by name in its own namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Volumes, environment, image pull secrets.
    Secret,
    /// Volumes and environment.
    ConfigMap,
    /// Volumes.
    PersistentVolumeClaim,
    /// spec.serviceAccountName
    ServiceAccount,
}

/// An object that a pod refers to.
pub type Reference = (Kind, String);

/// Everything a pod refers to.
pub fn references(pod: &Value) -> BTreeSet<Reference> {
    let mut found = BTreeSet::new();
    let mut add = |kind, name: &str| {
        if !name.is_empty() {
            found.insert((kind, name.to_string()));
        }
    };
    add(Kind::ServiceAccount, text(pod, "/spec/serviceAccountName"));
    for secret in items(pod, "/spec/imagePullSecrets") {
        add(Kind::Secret, text(secret, "/name"));
    }
    for list in ["/spec/containers", "/spec/initContainers", "/spec/ephemeralContainers"] {
        for container in items(pod, list) {
            for source in items(container, "/envFrom") {
                add(Kind::ConfigMap, text(source, "/configMapRef/name"));
                add(Kind::Secret, text(source, "/secretRef/name"));
            }
            for variable in items(container, "/env") {
                add(Kind::ConfigMap, text(variable, "/valueFrom/configMapKeyRef/name"));
                add(Kind::Secret, text(variable, "/valueFrom/secretKeyRef/name"));
            }
        }
    }
    for volume in items(pod, "/spec/volumes") {
        add(Kind::ConfigMap, text(volume, "/configMap/name"));
        add(Kind::Secret, text(volume, "/secret/secretName"));
        add(Kind::PersistentVolumeClaim, text(volume, "/persistentVolumeClaim/claimName"));
        if volume.get("ephemeral").is_some() {
            let claim = format!("{}-{}", text(pod, "/metadata/name"), text(volume, "/name"));
            add(Kind::PersistentVolumeClaim, &claim);
        }
        for source in items(volume, "/projected/sources") {
            add(Kind::ConfigMap, text(source, "/configMap/name"));
            add(Kind::Secret, text(source, "/secret/name"));
        }
        let drivers = [
            "azureFile/secretName",
            "cephfs/secretRef/name",
            "cinder/secretRef/name",
            "csi/nodePublishSecretRef/name",
            "flexVolume/secretRef/name",
            "iscsi/secretRef/name",
            "rbd/secretRef/name",
            "scaleIO/secretRef/name",
            "storageos/secretRef/name",
        ];
        for driver in drivers {
            add(Kind::Secret, text(volume, &format!("/{driver}")));
        }
    }
    found
}

/// The index: how many pods of a node refer to an object.
#[derive(Debug, Default)]
pub struct References {
    pods: HashMap<String, Placed>,
    counts: HashMap<(String, Reference), HashMap<String, usize>>,
}

#[derive(Debug)]
struct Placed {
    node: String,
    namespace: String,
    references: BTreeSet<Reference>,
}

impl References {
    /// A pod of the node refers to the object.
    pub fn holds(&self, node: &str, namespace: &str, reference: &Reference) -> bool {
        // The key is built anew: lookups by borrowed tuples are not worth a type of their own.
        let key = (namespace.to_string(), reference.clone());
        self.counts.get(&key).is_some_and(|nodes| nodes.contains_key(node))
    }

    fn take(&mut self, key: &str) {
        let Some(placed) = self.pods.remove(key) else { return };
        for reference in placed.references {
            let at = (placed.namespace.clone(), reference);
            let Some(nodes) = self.counts.get_mut(&at) else { continue };
            if let Some(count) = nodes.get_mut(&placed.node) {
                *count -= 1;
                if *count == 0 {
                    nodes.remove(&placed.node);
                }
            }
            if nodes.is_empty() {
                self.counts.remove(&at);
            }
        }
    }
}

impl Index for References {
    fn prefixes() -> Vec<String> {
        vec![prefix("", "pods", "")]
    }

    fn set(&mut self, key: &str, object: Option<&Value>) {
        self.take(key);
        let Some(pod) = object else { return };
        let node = text(pod, "/spec/nodeName");
        if node.is_empty() {
            return;
        }
        let namespace = text(pod, "/metadata/namespace");
        let references = references(pod);
        for reference in &references {
            let nodes = self.counts.entry((namespace.to_string(), reference.clone())).or_default();
            *nodes.entry(node.to_string()).or_default() += 1;
        }
        let placed = Placed { node: node.to_string(), namespace: namespace.to_string(), references };
        self.pods.insert(key.to_string(), placed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(node: &str) -> Value {
        json!({"metadata": {"namespace": "ns", "name": "p"}, "spec": {
            "nodeName": node,
            "serviceAccountName": "sa",
            "imagePullSecrets": [{"name": "pull"}],
            "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "env"}}}],
                            "envFrom": [{"configMapRef": {"name": "from"}}]}],
            "initContainers": [{"envFrom": [{"secretRef": {"name": "init"}}]}],
            "volumes": [{"secret": {"secretName": "vol"}}, {"persistentVolumeClaim": {"claimName": "claim"}},
                        {"name": "scratch", "ephemeral": {}},
                        {"projected": {"sources": [{"configMap": {"name": "root"}}, {"secret": {"name": "proj"}}]}}]
        }})
    }

    #[test]
    fn every_way_a_pod_refers_to_an_object_is_found() {
        let found = references(&pod("w1"));
        let names =
            |kind| found.iter().filter(|(own, _)| *own == kind).map(|(_, name)| name.as_str()).collect::<Vec<_>>();
        assert_eq!(names(Kind::Secret), ["env", "init", "proj", "pull", "vol"]);
        assert_eq!(names(Kind::ConfigMap), ["from", "root"]);
        assert_eq!(names(Kind::PersistentVolumeClaim), ["claim", "p-scratch"]);
        assert_eq!(names(Kind::ServiceAccount), ["sa"]);
    }

    #[test]
    fn references_last_as_long_as_a_pod_of_the_node_has_them() {
        let mut index = References::default();
        let secret = (Kind::Secret, "vol".to_string());
        index.set("a", Some(&pod("")));
        assert!(!index.holds("w1", "ns", &secret));
        index.set("a", Some(&pod("w1")));
        index.set("b", Some(&pod("w1")));
        assert!(index.holds("w1", "ns", &secret) && !index.holds("w2", "ns", &secret));
        assert!(!index.holds("w1", "other", &secret));
        index.set("a", None);
        assert!(index.holds("w1", "ns", &secret));
        index.set("b", None);
        assert!(!index.holds("w1", "ns", &secret));
        assert!(index.counts.is_empty() && index.pods.is_empty());
    }
}
