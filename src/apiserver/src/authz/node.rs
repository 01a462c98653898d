//! The Node authorizer: an agent sees and changes what concerns its own node, and reads only the secrets, config
//! maps and claims that pods bound to it refer to. What it may do with any object of a kind stands in `system:node`'s
//! rules; NodeRestriction (admission) narrows writes further by what they contain.

use async_trait::async_trait;

use super::references::{Kind, Reference, References, references};
use super::rule::Rule;
use crate::follow::Followed;
use crate::live::{Live, text};
use crate::plugin::{Authorizer, Decision};
use crate::request::{Attributes, User};

/// The prefix of agents' user names.
const PREFIX: &str = "system:node:";
/// The group of agents.
const GROUP: &str = "system:nodes";
/// Where nodes' heartbeats are.
const LEASES: &str = "kube-node-lease";

/// The name of the node that a user is the agent of.
pub fn node_of(user: &User) -> Option<&str> {
    user.name.strip_prefix(PREFIX).filter(|name| !name.is_empty() && user.in_group(GROUP))
}

/// Decides for agents.
pub struct Nodes {
    /// What the pods of each node refer to.
    pub references: Followed<References>,
    /// For what the index does not hold.
    pub live: Live,
    /// What every agent may do, whatever the object: the rules of the default role `system:node`.
    pub rules: Vec<Rule>,
}

#[async_trait]
impl Authorizer for Nodes {
    async fn authorize(&self, user: &User, attributes: &Attributes) -> Decision {
        let Some(node) = node_of(user) else { return Decision::NoOpinion(String::new()) };
        if !attributes.is_resource {
            return self.by_rules(attributes);
        }
        match (attributes.group.as_str(), attributes.resource.as_str()) {
            ("", "secrets") => self.referred(node, Kind::Secret, attributes).await,
            ("", "configmaps") => self.referred(node, Kind::ConfigMap, attributes).await,
            ("", "persistentvolumeclaims") if attributes.subresource == "status" => {
                self.claim_status(node, attributes).await
            }
            ("", "persistentvolumeclaims") => self.referred(node, Kind::PersistentVolumeClaim, attributes).await,
            ("", "persistentvolumes") => self.volume(node, attributes).await,
            ("", "serviceaccounts") => self.account(node, attributes).await,
            ("storage.k8s.io", "volumeattachments") => self.attachment(node, attributes).await,
            ("certificates.k8s.io", "podcertificaterequests") => self.pod_certificate(node, attributes).await,
            ("coordination.k8s.io", "leases") => own_lease(node, attributes),
            ("storage.k8s.io", "csinodes") => own_named(node, attributes),
            ("", "nodes") => self.node(node, attributes),
            ("", "pods") => self.pod(node, attributes).await,
            _ => self.by_rules(attributes),
        }
    }
}

fn allow() -> Decision {
    Decision::Allow(String::new())
}

fn refuse(why: impl Into<String>) -> Decision {
    Decision::NoOpinion(why.into())
}

fn unrelated(node: &str) -> Decision {
    refuse(format!("no relationship found between node '{node}' and this object"))
}

impl Nodes {
    fn by_rules(&self, attributes: &Attributes) -> Decision {
        match self.rules.iter().any(|rule| rule.allows(attributes)) {
            true => allow(),
            false => refuse(""),
        }
    }

    async fn referred(&self, node: &str, kind: Kind, attributes: &Attributes) -> Decision {
        if !matches!(attributes.verb.as_str(), "get" | "list" | "watch") || !attributes.subresource.is_empty() {
            return refuse("can only read resources of this type");
        }
        if attributes.name.is_empty() || attributes.namespace.is_empty() {
            return refuse("can only read a single object of this type by its name");
        }
        let reference = (kind, attributes.name.clone());
        match self.holds(node, &attributes.namespace, &reference).await {
            true => allow(),
            false => unrelated(node),
        }
    }

    /// Agents tell how far a claim's volume has grown; what else they may not change is NodeRestriction's.
    async fn claim_status(&self, node: &str, attributes: &Attributes) -> Decision {
        if !matches!(attributes.verb.as_str(), "update" | "patch") {
            return refuse("can only update and patch the status of objects of this type");
        }
        let reference = (Kind::PersistentVolumeClaim, attributes.name.clone());
        let named = !attributes.name.is_empty() && !attributes.namespace.is_empty();
        match named && self.holds(node, &attributes.namespace, &reference).await {
            true => allow(),
            false => unrelated(node),
        }
    }

    /// A pod of the node refers to the object. The index may be behind the pod that the agent has just seen, so pods
    /// are read before the answer is no.
    async fn holds(&self, node: &str, namespace: &str, reference: &Reference) -> bool {
        if self.references.read().holds(node, namespace, reference) {
            return true;
        }
        let pods = self.live.list("", "pods", namespace).await.unwrap_or_default();
        pods.iter().any(|pod| text(pod, "/spec/nodeName") == node && references(pod).contains(reference))
    }

    async fn account(&self, node: &str, attributes: &Attributes) -> Decision {
        let asked = (attributes.verb.as_str(), attributes.subresource.as_str());
        if !matches!(asked, ("create", "token") | ("get", "")) {
            return refuse("can only get service accounts and create tokens of them");
        }
        if attributes.name.is_empty() || attributes.namespace.is_empty() {
            return refuse("can only create tokens for individual service accounts");
        }
        let reference = (Kind::ServiceAccount, attributes.name.clone());
        match self.holds(node, &attributes.namespace, &reference).await {
            true => allow(),
            false => unrelated(node),
        }
    }

    async fn volume(&self, node: &str, attributes: &Attributes) -> Decision {
        if attributes.verb != "get" || attributes.name.is_empty() || !attributes.subresource.is_empty() {
            return refuse("can only get individual resources of this type");
        }
        let volume = self.live.get("", "persistentvolumes", "", &attributes.name).await.ok().flatten();
        let claim = volume.as_ref().and_then(|volume| volume.pointer("/spec/claimRef"));
        let Some(claim) = claim else { return unrelated(node) };
        let reference = (Kind::PersistentVolumeClaim, text(claim, "/name").to_string());
        match self.holds(node, text(claim, "/namespace"), &reference).await {
            true => allow(),
            false => unrelated(node),
        }
    }

    async fn attachment(&self, node: &str, attributes: &Attributes) -> Decision {
        if attributes.verb != "get" || attributes.name.is_empty() || !attributes.subresource.is_empty() {
            return refuse("can only get individual resources of this type");
        }
        let found = self.live.get("storage.k8s.io", "volumeattachments", "", &attributes.name).await;
        match found.ok().flatten().is_some_and(|found| text(&found, "/spec/nodeName") == node) {
            true => allow(),
            false => unrelated(node),
        }
    }

    fn node(&self, node: &str, attributes: &Attributes) -> Decision {
        let own = attributes.name == node;
        match (attributes.verb.as_str(), attributes.subresource.as_str()) {
            ("create", "") | ("list" | "watch", "") => self.by_rules(attributes),
            // Proxies, log and stats of a node are the API server's way to agents.
            ("get" | "update" | "patch", "" | "status") if own => allow(),
            // Agents of all nodes read each other: the overlay and the service proxy live in them.
            ("get", "") => allow(),
            _ => refuse(format!("node '{node}' cannot {} node '{}'", attributes.verb, attributes.name)),
        }
    }

    async fn pod(&self, node: &str, attributes: &Attributes) -> Decision {
        let on_node = || field(&attributes.field_selector, "spec.nodeName") == Some(node);
        match (attributes.verb.as_str(), attributes.subresource.as_str()) {
            // Also of a single pod: one of that name may come on another node while the watch lasts.
            ("list" | "watch", "") => match on_node() {
                true => allow(),
                false => refuse("can only list/watch pods with spec.nodeName field selector"),
            },
            ("get", "") => match self.has_pod(node, attributes).await {
                true => allow(),
                false => unrelated(node),
            },
            _ => self.by_rules(attributes),
        }
    }

    /// Agents ask for their pods and follow what becomes of it; for which pods is NodeRestriction's.
    async fn pod_certificate(&self, node: &str, attributes: &Attributes) -> Decision {
        let name = attributes.name.as_str();
        match (attributes.verb.as_str(), attributes.subresource.as_str()) {
            ("create", "") => allow(),
            ("list" | "watch", "") if field(&attributes.field_selector, "spec.nodeName") == Some(node) => allow(),
            ("list" | "watch", "") => {
                refuse("can only list/watch podcertificaterequests with spec.nodeName field selector")
            }
            ("get", "") => {
                let found = self.live.get("certificates.k8s.io", "podcertificaterequests", &attributes.namespace, name);
                match found.await {
                    Ok(Some(found)) if text(&found, "/spec/nodeName") == node => allow(),
                    // That nothing is there is no secret: agents look whether a request of theirs is gone.
                    Ok(None) => allow(),
                    _ => unrelated(node),
                }
            }
            _ => refuse("can only create, get, list and watch podcertificaterequests"),
        }
    }

    async fn has_pod(&self, node: &str, attributes: &Attributes) -> bool {
        let found = self.live.get("", "pods", &attributes.namespace, &attributes.name).await;
        match found {
            Ok(Some(pod)) => text(&pod, "/spec/nodeName") == node,
            // That nothing is there is no secret: agents look whether a pod of theirs is gone.
            Ok(None) => true,
            Err(_) => false,
        }
    }
}

fn own_lease(node: &str, attributes: &Attributes) -> Decision {
    if attributes.namespace != LEASES {
        return refuse(format!("can only access leases in the {LEASES:?} system namespace"));
    }
    own_named(node, attributes)
}

fn own_named(node: &str, attributes: &Attributes) -> Decision {
    match attributes.verb.as_str() {
        "create" if attributes.subresource.is_empty() => allow(),
        "get" | "update" | "patch" | "delete" if attributes.name == node && attributes.subresource.is_empty() => {
            allow()
        }
        "get" | "update" | "patch" | "delete" => {
            refuse("can only access the object with the same name as the requesting node")
        }
        _ => refuse("can only get, create, update, patch, or delete an object of this type"),
    }
}

/// The value that a field selector demands of a field.
fn field<'a>(selector: &'a str, name: &str) -> Option<&'a str> {
    selector.split(',').find_map(|term| {
        let (field, value) = term.split_once('=')?;
        (field.trim() == name).then(|| value.trim_start_matches('=').trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_members_of_the_nodes_group_are_agents() {
        assert_eq!(node_of(&User::new("system:node:w1", &["system:nodes"])), Some("w1"));
        assert_eq!(node_of(&User::new("system:node:w1", &[])), None);
        assert_eq!(node_of(&User::new("system:node:", &["system:nodes"])), None);
        assert_eq!(node_of(&User::new("w1", &["system:nodes"])), None);
    }

    #[test]
    fn field_selectors_name_the_node() {
        assert_eq!(field("spec.nodeName=w1", "spec.nodeName"), Some("w1"));
        assert_eq!(field("status.phase!=Failed,spec.nodeName==w1", "spec.nodeName"), Some("w1"));
        assert_eq!(field("spec.nodeName!=w1", "spec.nodeName"), None);
        assert_eq!(field("", "spec.nodeName"), None);
    }
}
