//! NodeRestriction: what an agent may write, by what it contains. An agent whose host is taken over must not be able
//! to become another node, to draw pods to itself, or to read what its pods do not need.

use std::collections::BTreeSet;

use async_trait::async_trait;
use machinery::gvk::GroupResource;
use serde_json::Value;

use super::forbidden;
use crate::authz::node::node_of;
use crate::authz::references::{Kind, references};
use crate::live::{Live, items, text, texts};
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
            ("", "persistentvolumeclaims", "status") => claim_status(request, node, object),
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
        // The owner takes the mirror along when the node goes, whoever has taken the agent over by then.
        let own = match items(pod, "/metadata/ownerReferences") {
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
        let audiences = object.map(|object| texts(object, "/spec/audiences")).unwrap_or_default();
        let audience = match audiences.as_slice() {
            [] => "",
            [audience] => audience,
            _ => return refuse("node may only request 0 or 1 audiences".to_string()),
        };
        match self.mounts_audience(request.namespace, &pod, audience).await? {
            true => Ok(()),
            false => refuse(format!("audience {audience:?} not found in pod spec volume")),
        }
    }

    /// A volume of the pod has a token for the audience in it; empty is the API server's.
    async fn mounts_audience(&self, namespace: &str, pod: &Value, audience: &str) -> Result<bool> {
        let mut drivers = BTreeSet::new();
        for volume in items(pod, "/spec/volumes") {
            let mut sources = items(volume, "/projected/sources").iter().filter_map(|s| s.get("serviceAccountToken"));
            if sources.any(|source| text(source, "/audience") == audience) {
                return Ok(true);
            }
            drivers.extend(self.driver(namespace, pod, volume).await?);
        }
        for driver in drivers {
            let found = self.0.get("storage.k8s.io", "csidrivers", "", &driver).await?;
            let requests = found.as_ref().map(|found| items(found, "/spec/tokenRequests")).unwrap_or_default();
            if requests.iter().any(|request| text(request, "/audience") == audience) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The CSI driver of a volume, which may want tokens of the pod's account; `None` where no driver has to do with it.
    async fn driver(&self, namespace: &str, pod: &Value, volume: &Value) -> Result<Option<String>> {
        if volume.get("csi").is_some() {
            return Ok(Some(text(volume, "/csi/driver").to_string()));
        }
        let claim = match volume.get("ephemeral") {
            Some(_) => format!("{}-{}", text(pod, "/metadata/name"), text(volume, "/name")),
            None => text(volume, "/persistentVolumeClaim/claimName").to_string(),
        };
        let claim = self.0.get("", "persistentvolumeclaims", namespace, &claim).await?;
        let bound = claim.as_ref().map(|claim| text(claim, "/spec/volumeName")).unwrap_or_default();
        let bound = self.0.get("", "persistentvolumes", "", bound).await?;
        let driver = bound.as_ref().map(|volume| text(volume, "/spec/csi/driver")).unwrap_or_default();
        Ok((!driver.is_empty()).then(|| driver.to_string()))
    }
}

/// What an agent tells of a claim: how large its volume is and how far resizing is.
const CLAIM_STATUS: [&str; 4] = ["capacity", "conditions", "allocatedResources", "allocatedResourceStatuses"];

fn claim_status(request: &Admit<'_>, node: &str, object: Option<&Value>) -> Result<()> {
    if request.operation != Operation::Update {
        return Err(forbidden(request, object, format!("unexpected operation of node {node:?}")));
    }
    let bare = |claim: Option<&Value>| {
        let mut claim = claim.cloned().unwrap_or_default();
        for (at, fields) in [("/metadata", &["resourceVersion", "managedFields"][..]), ("/status", &CLAIM_STATUS)] {
            let part = claim.pointer_mut(at).and_then(Value::as_object_mut);
            part.into_iter().for_each(|part| fields.iter().for_each(|field| drop(part.remove(*field))));
        }
        if claim["status"].as_object().is_some_and(serde_json::Map::is_empty) {
            claim["status"] = Value::Null;
        }
        claim
    };
    if bare(request.old) != bare(object) {
        let why =
            format!("node {node:?} is not allowed to update fields other than status.capacity and status.conditions");
        return Err(forbidden(request, object, why));
    }
    Ok(())
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
        cluster.put("nodes", json!({"apiVersion": "v1", "metadata": {"name": "w1", "uid": "uid-w1"}})).await;
        let owner = |kind: &str, name: &str, uid: &str, controller: bool| json!([{"apiVersion": "v1", "kind": kind, "name": name, "uid": uid, "controller": controller}]);
        let mirror = json!({"metadata": {"name": "m", "annotations": {"kubernetes.io/config.mirror": "x"},
            "ownerReferences": owner("Node", "w1", "uid-w1", true)}, "spec": {"nodeName": "w1"}});
        let asked = || by_node(create("", "pods", "ns"), Operation::Create, "m", None);
        assert!(run(&plugin, &asked(), Some(mirror.clone())).await.is_ok());
        for (pointer, value) in [
            ("/metadata/annotations", json!({})),
            ("/metadata/ownerReferences", json!([])),
            ("/metadata/ownerReferences", owner("Node", "w1", "uid-of-another", true)),
            ("/metadata/ownerReferences", owner("Node", "w2", "uid-w1", true)),
            ("/metadata/ownerReferences", owner("Pod", "w1", "uid-w1", true)),
            ("/metadata/ownerReferences", owner("Node", "w1", "uid-w1", false)),
            ("/spec/nodeName", json!("w2")),
            ("/spec", json!({"nodeName": "w1", "serviceAccountName": "a"})),
            ("/spec", json!({"nodeName": "w1", "volumes": [{"secret": {"secretName": "s"}}]})),
        ] {
            let mut changed = mirror.clone();
            *changed.pointer_mut(pointer).expect("is there") = value;
            assert!(run(&plugin, &asked(), Some(changed.clone())).await.is_err(), "{changed}");
        }
    }

    fn token(bound: &Value, audiences: &[&str]) -> (Asked, Value) {
        let mut asked = by_node(create("", "serviceaccounts", "ns"), Operation::Create, "default", None);
        asked.subresource = "token";
        (asked, json!({"spec": {"boundObjectRef": bound, "audiences": audiences}}))
    }

    fn with_volumes(name: &str, node: &str, volumes: Value) -> Value {
        json!({"apiVersion": "v1", "metadata": {"name": name, "namespace": "ns", "uid": "u"},
            "spec": {"nodeName": node, "volumes": volumes}})
    }

    fn token_volume(audience: &str) -> Value {
        json!({"name": "t", "projected": {"sources": [{"configMap": {"name": "x"}},
            {"serviceAccountToken": {"audience": audience, "path": "token"}}]}})
    }

    #[tokio::test]
    async fn an_agent_gets_tokens_for_pods_on_its_node() {
        let cluster = Cluster::new();
        cluster.put("pods", with_volumes("p", "w1", json!([token_volume("")]))).await;
        cluster.put("pods", with_volumes("q", "w2", json!([token_volume("")]))).await;
        let plugin = NodeRestriction(cluster.live.clone());
        for (bound, allowed) in [
            (json!({"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "u"}), true),
            (json!({"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "v"}), false),
            (json!({"kind": "Pod", "apiVersion": "v1", "name": "p"}), false),
            (json!({"kind": "Pod", "apiVersion": "v1", "name": "q", "uid": "u"}), false),
            (json!({"kind": "Pod", "apiVersion": "v1", "name": "gone", "uid": "u"}), false),
            (json!(null), false),
        ] {
            let (asked, request) = token(&bound, &[]);
            assert_eq!(run(&plugin, &asked, Some(request)).await.is_ok(), allowed, "{bound}");
        }
    }

    #[tokio::test]
    async fn an_agent_gets_tokens_for_the_audiences_that_its_pods_mount() {
        let cluster = Cluster::new();
        let csi = |name: &str| json!({"name": "c", "csi": {"driver": name}});
        let claim = |name: &str| json!({"name": "d", "persistentVolumeClaim": {"claimName": name}});
        for (name, volumes) in [
            ("plain", json!([token_volume("")])),
            ("vault", json!([token_volume("vault"), token_volume("sts")])),
            ("none", json!([{"name": "x", "emptyDir": {}}])),
            ("inline", json!([csi("secrets.example.com")])),
            ("claimed", json!([claim("data")])),
            ("ephemeral", json!([{"name": "data", "ephemeral": {}}])),
        ] {
            cluster.put("pods", with_volumes(name, "w1", volumes)).await;
        }
        for name in ["data", "ephemeral-data"] {
            let claim = json!({"apiVersion": "v1", "metadata": {"name": name, "namespace": "ns"}, "spec": {"volumeName": "pv"}});
            cluster.put("persistentvolumeclaims", claim).await;
        }
        let spec = json!({"csi": {"driver": "secrets.example.com"}});
        cluster.put("persistentvolumes", json!({"apiVersion": "v1", "metadata": {"name": "pv"}, "spec": spec})).await;
        let driver = json!({"apiVersion": "storage.k8s.io/v1", "metadata": {"name": "secrets.example.com"},
            "spec": {"tokenRequests": [{"audience": "driver"}]}});
        cluster.put("csidrivers", driver).await;
        let plugin = NodeRestriction(cluster.live.clone());
        for (pod, audiences, allowed) in [
            ("plain", &[][..], true),
            ("plain", &["vault"], false),
            ("vault", &["vault"], true),
            ("vault", &["sts"], true),
            ("vault", &["vault", "sts"], false),
            ("vault", &[], false),
            ("none", &[], false),
            ("none", &["driver"], false),
            ("inline", &["driver"], true),
            ("inline", &["vault"], false),
            ("claimed", &["driver"], true),
            ("ephemeral", &["driver"], true),
        ] {
            let bound = json!({"kind": "Pod", "apiVersion": "v1", "name": pod, "uid": "u"});
            let (asked, request) = token(&bound, audiences);
            assert_eq!(run(&plugin, &asked, Some(request)).await.is_ok(), allowed, "{pod} {audiences:?}");
        }
    }

    #[tokio::test]
    async fn an_agent_tells_how_large_a_claim_is_and_nothing_else_of_it() {
        let plugin = NodeRestriction(Cluster::new().live.clone());
        let claim = |capacity: &str| {
            json!({"metadata": {"name": "c", "namespace": "ns", "resourceVersion": "1", "labels": {"a": "b"}},
                "spec": {"volumeName": "v"}, "status": {"phase": "Bound", "capacity": {"storage": capacity}}})
        };
        let mut asked = by_node(create("", "persistentvolumeclaims", "ns"), Operation::Update, "c", Some(claim("1Gi")));
        asked.subresource = "status";
        let mut grown = claim("2Gi");
        grown["status"]["conditions"] = json!([{"type": "FileSystemResizePending", "status": "True"}]);
        grown["metadata"]["resourceVersion"] = json!("2");
        assert!(run(&plugin, &asked, Some(grown)).await.is_ok());
        for (pointer, value) in [
            ("/metadata/labels/a", json!("c")),
            ("/status/phase", json!("Lost")),
            ("/spec/volumeName", json!("w")),
            ("/metadata", json!({"name": "c", "namespace": "ns", "labels": {"a": "b"}, "finalizers": ["x/y"]})),
        ] {
            let mut changed = claim("2Gi");
            *changed.pointer_mut(pointer).expect("is there") = value;
            assert!(run(&plugin, &asked, Some(changed)).await.is_err(), "{pointer}");
        }
    }
}
