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

mod pod_certificates;

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
            ("certificates.k8s.io", "podcertificaterequests", _) => self.pod_certificate(request, node, object).await,
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
        let sources = items(pod, "/spec/volumes").iter().flat_map(|volume| items(volume, "/projected/sources"));
        for source in sources {
            for (kind, what) in [("clusterTrustBundle", "clustertrustbundles"), ("podCertificate", "podcertificates")] {
                if source.get(kind).is_some() {
                    return refuse(format!("node {node:?} can not create pods that reference {what}"));
                }
            }
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
mod tests;
