//! NodeRestriction: what an agent may write, by what it contains. An agent whose host is taken over must not be able
//! to become another node, to draw pods to itself, or to read what its pods do not need.

use std::collections::BTreeSet;

use async_trait::async_trait;
use machinery::gvk::GroupResource;
use serde_json::Value;

use super::forbidden;
use crate::authz::node::node_of;
use crate::authz::references::{Kind, references};
use crate::live::{Live, items, text};
use crate::plugin::{Admission, Admit, Operation};
use crate::status::{Result, Status};

const MIRROR: &str = "/metadata/annotations/kubernetes.io~1config.mirror";
const RESTRICTED: &str = "node-restriction.kubernetes.io";
/// Labels below kubernetes.io and k8s.io that an agent sets on its own node.
const OWN_LABELS: [&str; 13] = [
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "node.kubernetes.io/windows-build",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/instance-type",
];
const OWN_LABEL_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

/// The plugin.
pub struct NodeRestriction(pub Live);

#[async_trait]
impl Admission for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation != Operation::Connect
    }

    async fn validate(&self, request: &Admit<'_>, object: Option<&Value>) -> Result<()> {
        let Some(node) = node_of(request.user) else { return Ok(()) };
        match (request.group_version.group.as_str(), request.resource, request.subresource) {
            ("", "pods", "") => self.pod(request, node, object).await,
            ("", "pods", "status") => self.pod_status(request, node, object).await,
            ("", "pods", "eviction") => self.eviction(request, node).await,
            ("", "nodes", _) => node_object(request, node, object),
            ("", "serviceaccounts", "token") => self.token(request, node, object).await,
            ("coordination.k8s.io", "leases", _) => lease(request, node, object),
            ("storage.k8s.io", "csinodes", _) => own_name(request, node, object, "CSINode"),
            _ => Ok(()),
        }
    }
}

impl NodeRestriction {
    async fn pod(&self, request: &Admit<'_>, node: &str, object: Option<&Value>) -> Result<()> {
        match (request.operation, object) {
            (Operation::Create, Some(pod)) => self.mirror_pod(request, node, pod).await,
            (Operation::Delete, _) => self.own_pod(request, node, "delete").await,
            _ => Err(forbidden(request, object, format!("unexpected operation of node {node:?}"))),
        }
    }

    /// Agents make pods only to show those that they run from files.
    async fn mirror_pod(&self, request: &Admit<'_>, node: &str, pod: &Value) -> Result<()> {
        let refuse = |why: String| Err(forbidden(request, Some(pod), why));
        if pod.pointer(MIRROR).is_none() {
            return refuse(format!(
                "pod does not have {:?} annotation, node {node:?} can only create mirror pods",
                "kubernetes.io/config.mirror"
            ));
        }
        if text(pod, "/spec/nodeName") != node {
            return refuse(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
        }
        let owners = items(pod, "/metadata/ownerReferences");
        let own = match owners {
            [] => true,
            [owner] => {
                let uid = self.0.get("", "nodes", "", node).await?;
                let uid = uid.as_ref().map(|found| text(found, "/metadata/uid")).unwrap_or_default().to_string();
                text(owner, "/kind") == "Node"
                    && text(owner, "/name") == node
                    && text(owner, "/uid") == uid
                    && owner["controller"] == true
                    && owner["blockOwnerDeletion"] != true
            }
            _ => false,
        };
        if !own {
            return refuse(format!("node {node:?} can only create pods with an owner reference set to itself"));
        }
        let words = [
            (Kind::ServiceAccount, "a service account"),
            (Kind::Secret, "secrets"),
            (Kind::ConfigMap, "configmaps"),
            (Kind::PersistentVolumeClaim, "persistentvolumeclaims"),
        ];
        if let Some((kind, _)) = references(pod).iter().next() {
            let what = words.iter().find(|(own, _)| own == kind).map(|(_, words)| *words).unwrap_or_default();
            return refuse(format!("node {node:?} can not create pods that reference {what}"));
        }
        Ok(())
    }

    async fn own_pod(&self, request: &Admit<'_>, node: &str, verb: &str) -> Result<()> {
        let Some(pod) = self.0.get("", "pods", request.namespace, request.name).await? else { return Ok(()) };
        match text(&pod, "/spec/nodeName") == node {
            true => Ok(()),
            false => {
                let why = format!("node {node:?} can only {verb} pods with spec.nodeName set to itself");
                Err(forbidden(request, None, why))
            }
        }
    }

    async fn pod_status(&self, request: &Admit<'_>, node: &str, object: Option<&Value>) -> Result<()> {
        if request.operation != Operation::Update {
            return Err(forbidden(request, object, format!("unexpected operation of node {node:?}")));
        }
        self.own_pod(request, node, "update pod status for").await?;
        let labels = |pod: Option<&Value>| pod.and_then(|pod| pod.pointer("/metadata/labels")).cloned();
        if labels(request.old) != labels(object) {
            let why = format!("node {node:?} cannot update labels through pod status");
            return Err(forbidden(request, object, why));
        }
        Ok(())
    }

    async fn eviction(&self, request: &Admit<'_>, node: &str) -> Result<()> {
        self.own_pod(request, node, "evict").await
    }

    /// A token only for the account of a pod on the node, and only as long as the pod lives.
    async fn token(&self, request: &Admit<'_>, node: &str, object: Option<&Value>) -> Result<()> {
        let refuse = |why: String| Err(forbidden(request, None, why));
        let bound = object.and_then(|object| object.pointer("/spec/boundObjectRef"));
        let Some(bound) = bound.filter(|bound| text(bound, "/kind") == "Pod" && text(bound, "/apiVersion") == "v1")
        else {
            return refuse("node requested token not bound to a pod".to_string());
        };
        let (name, uid) = (text(bound, "/name"), text(bound, "/uid"));
        if uid.is_empty() {
            return refuse("node requested token with a pod binding without a uid".to_string());
        }
        let pods = GroupResource { group: String::new(), resource: "pods".to_string() };
        let pod = self.0.get("", "pods", request.namespace, name).await?;
        let pod = pod.ok_or_else(|| Status::not_found(&pods, name))?;
        if text(&pod, "/metadata/uid") != uid {
            let found = text(&pod, "/metadata/uid");
            return refuse(format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record ({found})"
            ));
        }
        if text(&pod, "/spec/nodeName") != node {
            return refuse("node requested token bound to a pod scheduled on a different node".to_string());
        }
        Ok(())
    }
}

fn lease(request: &Admit<'_>, node: &str, object: Option<&Value>) -> Result<()> {
    if request.namespace != "kube-node-lease" {
        let why = "can only access leases in the \"kube-node-lease\" system namespace";
        return Err(forbidden(request, object, why));
    }
    own_name(request, node, object, "lease")
}

fn own_name(request: &Admit<'_>, node: &str, object: Option<&Value>, kind: &str) -> Result<()> {
    let name = super::name_of(request, object);
    match name == node {
        true => Ok(()),
        false => {
            Err(forbidden(request, object, format!("can only access {kind} with the same name as the requesting node")))
        }
    }
}

fn node_object(request: &Admit<'_>, node: &str, object: Option<&Value>) -> Result<()> {
    let name = super::name_of(request, object);
    let refuse = |why: String| Err(forbidden(request, object, why));
    if name != node {
        return refuse(format!("node {node:?} is not allowed to modify node {name:?}"));
    }
    let Some(object) = object else { return Ok(()) };
    if object.pointer("/spec/configSource").is_some_and(|source| !source.is_null()) {
        return refuse(format!("node {node:?} is not allowed to set spec.configSource"));
    }
    let bad = forbidden_labels(request.old, object);
    if !bad.is_empty() {
        let (labels, verb) =
            (bad.into_iter().collect::<Vec<_>>().join(", "), if request.old.is_some() { "modify" } else { "set" });
        return refuse(format!("node {node:?} is not allowed to {verb} the following labels: {labels}"));
    }
    if let Some(old) = request.old {
        if items(old, "/spec/taints") != items(object, "/spec/taints") {
            return refuse(format!("node {node:?} is not allowed to modify taints"));
        }
        if old.pointer("/metadata/ownerReferences") != object.pointer("/metadata/ownerReferences") {
            return refuse(format!("node {node:?} is not allowed to modify ownerReferences"));
        }
    }
    Ok(())
}

/// The labels an agent changes although they are not its own to set.
fn forbidden_labels(old: Option<&Value>, new: &Value) -> BTreeSet<String> {
    let labels = |node: Option<&Value>| {
        node.and_then(|node| node.pointer("/metadata/labels")).and_then(Value::as_object).cloned().unwrap_or_default()
    };
    let (old, new) = (labels(old), labels(Some(new)));
    let changed = old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key));
    changed.filter(|key| !may_set(key)).cloned().collect()
}

fn may_set(label: &str) -> bool {
    let domain = label.split_once('/').map(|(domain, _)| domain).unwrap_or_default();
    let below = |parent: &str| domain == parent || domain.ends_with(&format!(".{parent}"));
    if below(RESTRICTED) {
        return false;
    }
    let reserved = below("kubernetes.io") || below("k8s.io");
    !reserved || OWN_LABELS.contains(&label) || OWN_LABEL_DOMAINS.iter().any(|own| below(own))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Asked, Cluster, create, run};
    use super::*;
    use crate::request::User;
    use serde_json::json;

    fn by_node(mut asked: Asked, operation: Operation, name: &str, old: Option<Value>) -> Asked {
        asked.user = User::new("system:node:w1", &["system:nodes"]);
        (asked.operation, asked.name, asked.old) = (operation, name.to_string(), old);
        asked
    }

    #[test]
    fn labels_of_the_cluster_are_not_the_agents() {
        for (label, expected) in [
            ("kubernetes.io/hostname", true),
            ("topology.kubernetes.io/zone", true),
            ("node.kubernetes.io/anything", true),
            ("example.com/x", true),
            ("plain", true),
            ("node-role.kubernetes.io/control-plane", false),
            ("node-restriction.kubernetes.io/x", false),
            ("a.node-restriction.kubernetes.io/x", false),
            ("x.k8s.io/y", false),
        ] {
            assert_eq!(may_set(label), expected, "{label}");
        }
    }

    #[tokio::test]
    async fn an_agent_changes_its_own_node_without_taints_and_foreign_labels() {
        let cluster = Cluster::new();
        let plugin = NodeRestriction(cluster.live.clone());
        let node = |name: &str, labels: Value, taints: Value| json!({"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}});
        let old = node("w1", json!({}), json!([]));
        let change = |new: Value| {
            let name = text(&new, "/metadata/name").to_string();
            let asked = by_node(create("", "nodes", ""), Operation::Update, &name, Some(old.clone()));
            (asked, new)
        };
        for (new, message) in [
            (node("w1", json!({"kubernetes.io/os": "linux"}), json!([])), None),
            (
                node("w2", json!({}), json!([])),
                Some("nodes \"w2\" is forbidden: node \"w1\" is not allowed to modify node \"w2\""),
            ),
            (
                node("w1", json!({"node-role.kubernetes.io/x": ""}), json!([])),
                Some(
                    "nodes \"w1\" is forbidden: node \"w1\" is not allowed to modify the following labels: node-role.kubernetes.io/x",
                ),
            ),
            (
                node("w1", json!({}), json!([{"key": "a"}])),
                Some("nodes \"w1\" is forbidden: node \"w1\" is not allowed to modify taints"),
            ),
        ] {
            let (asked, new) = change(new);
            let found = run(&plugin, &asked, Some(new)).await.err();
            assert_eq!(found.as_ref().map(Status::message), message);
        }
    }

    #[tokio::test]
    async fn an_agent_makes_mirror_pods_alone_and_touches_only_its_pods() {
        let cluster = Cluster::new();
        let pod = |name: &str, node: &str| json!({"apiVersion": "v1", "metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}")}, "spec": {"nodeName": node}});
        cluster.put("pods", pod("mine", "w1")).await;
        cluster.put("pods", pod("other", "w2")).await;
        let plugin = NodeRestriction(cluster.live.clone());
        for (name, allowed) in [("mine", true), ("other", false), ("gone", true)] {
            let asked = by_node(create("", "pods", "ns"), Operation::Delete, name, None);
            assert_eq!(run(&plugin, &asked, None).await.is_ok(), allowed, "{name}");
            let mut asked = by_node(create("", "pods", "ns"), Operation::Update, name, None);
            asked.subresource = "status";
            assert_eq!(run(&plugin, &asked, Some(json!({}))).await.is_ok(), allowed, "{name}");
        }
        let mirror = json!({"metadata": {"name": "m", "annotations": {"kubernetes.io/config.mirror": "x"}}, "spec": {"nodeName": "w1"}});
        let asked = || by_node(create("", "pods", "ns"), Operation::Create, "m", None);
        assert!(run(&plugin, &asked(), Some(mirror.clone())).await.is_ok());
        for (pointer, value) in [
            ("/metadata/annotations", json!({})),
            ("/spec/nodeName", json!("w2")),
            ("/spec", json!({"nodeName": "w1", "serviceAccountName": "a"})),
            ("/spec", json!({"nodeName": "w1", "volumes": [{"secret": {"secretName": "s"}}]})),
        ] {
            let mut changed = mirror.clone();
            *changed.pointer_mut(pointer).expect("is there") = value;
            assert!(run(&plugin, &asked(), Some(changed.clone())).await.is_err(), "{changed}");
        }
    }

    #[tokio::test]
    async fn an_agent_gets_tokens_for_pods_on_its_node() {
        let cluster = Cluster::new();
        let pod = json!({"apiVersion": "v1", "metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": {"nodeName": "w1"}});
        let elsewhere = json!({"apiVersion": "v1", "metadata": {"name": "q", "namespace": "ns", "uid": "u"}, "spec": {"nodeName": "w2"}});
        cluster.put("pods", pod).await;
        cluster.put("pods", elsewhere).await;
        let plugin = NodeRestriction(cluster.live.clone());
        for (bound, allowed) in [
            (json!({"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "u"}), true),
            (json!({"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "v"}), false),
            (json!({"kind": "Pod", "apiVersion": "v1", "name": "p"}), false),
            (json!({"kind": "Pod", "apiVersion": "v1", "name": "q", "uid": "u"}), false),
            (json!({"kind": "Pod", "apiVersion": "v1", "name": "gone", "uid": "u"}), false),
            (json!(null), false),
        ] {
            let mut asked = by_node(create("", "serviceaccounts", "ns"), Operation::Create, "default", None);
            asked.subresource = "token";
            let request = json!({"spec": {"boundObjectRef": bound}});
            assert_eq!(run(&plugin, &asked, Some(request)).await.is_ok(), allowed, "{bound}");
        }
    }
}
