//! Who may have which certificate: pure.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use pki::{Profile, Request, San, Usage, parse_request};

use super::serving::{self, Reserved};

const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const NODE_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const NODE_SERVING: &str = "kubernetes.io/kubelet-serving";
const NODES: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";
/// The group of unlimited power, which no signer gives away.
const MASTERS: &str = "system:masters";
/// The shortest life that a request may ask for, as in Kubernetes.
const LEAST_LIFETIME: Duration = Duration::from_secs(600);

/// What to do with a request that is not decided.
#[derive(Debug, PartialEq, Eq)]
pub enum Approval {
    /// A person decides.
    NotOurs,
    /// Not as long as nodes are what they are; a person may still approve it.
    Later(String),
    /// Where whoever asked has one of these permissions.
    Ask(&'static [Permission]),
    /// Why it is approved.
    Approve(&'static str),
}

/// Leave to `create` a subresource of certificatesigningrequests, by which roles say whose requests are approved.
#[derive(Debug, PartialEq, Eq)]
pub struct Permission {
    /// `nodeclient`, `selfnodeclient`.
    pub subresource: &'static str,
    /// Why a request is approved by it.
    pub message: &'static str,
}

const ANY_NODE: Permission = Permission {
    subresource: "nodeclient",
    message: "Auto approving kubelet client certificate after SubjectAccessReview.",
};
const OWN_NODE: Permission = Permission {
    subresource: "selfnodeclient",
    message: "Auto approving self kubelet client certificate after SubjectAccessReview.",
};

/// What to do with a request that is decided.
#[derive(Debug)]
pub enum Signing {
    Nothing,
    /// It was approved and cannot be signed; why.
    Refuse(String),
    /// The request in PEM, and what the certificate is to say.
    Sign(String, Profile),
}

fn conditions(request: &CertificateSigningRequest) -> &[CertificateSigningRequestCondition] {
    request.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

fn has(request: &CertificateSigningRequest, type_: &str) -> bool {
    conditions(request).iter().any(|condition| condition.type_ == type_ && condition.status != "False")
}

/// Whether it was approved or denied, or has failed.
pub fn is_decided(request: &CertificateSigningRequest) -> bool {
    ["Approved", "Denied", "Failed"].iter().any(|type_| has(request, type_))
}

/// A condition that begins now.
pub fn condition(type_: &str, reason: &str, message: &str, now: Timestamp) -> CertificateSigningRequestCondition {
    CertificateSigningRequestCondition {
        type_: type_.to_string(),
        status: "True".to_string(),
        reason: Some(reason.to_string()),
        message: Some(message.to_string()),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// The request's conditions and one more.
pub fn with(
    request: &CertificateSigningRequest,
    condition: CertificateSigningRequestCondition,
) -> Vec<CertificateSigningRequestCondition> {
    conditions(request).iter().cloned().chain([condition]).collect()
}

/// Whether what becomes of the request hangs on what is known of nodes.
pub fn waits_for_nodes(request: &CertificateSigningRequest) -> bool {
    request.spec.signer_name == NODE_SERVING && !is_decided(request)
}

/// Whether a change of a node is one that requests wait for.
pub fn matters(old: &Node, new: &Node) -> bool {
    serving::addresses(old) != serving::addresses(new)
        || serving::is_control_plane(old) != serving::is_control_plane(new)
}

fn parse(request: &CertificateSigningRequest) -> Result<Request, String> {
    let pem = std::str::from_utf8(&request.spec.request.0).map_err(|_| "the request is not text".to_string())?;
    parse_request(pem).map_err(|error| error.to_string())
}

fn usages(request: &CertificateSigningRequest) -> BTreeSet<&str> {
    request.spec.usages.iter().flatten().map(String::as_str).collect()
}

/// Whether the usages are `needed` and nothing but that and what keys are for.
fn usages_are(request: &CertificateSigningRequest, needed: &str) -> bool {
    let usages = usages(request);
    usages.contains(needed)
        && usages.iter().all(|usage| [needed, "digital signature", "key encipherment"].contains(usage))
}

/// Why a request is not what a node's client certificate is; empty where it is.
fn node_client_problem(request: &CertificateSigningRequest, parsed: &Request) -> Option<&'static str> {
    let name = parsed.common_name.strip_prefix(NODE_PREFIX).unwrap_or_default();
    let has_names = !parsed.dns_names.is_empty() || !parsed.ip_addresses.is_empty() || parsed.has_other_names;
    match () {
        () if parsed.organizations != [NODES] => Some("the organization must be system:nodes and nothing else"),
        () if name.is_empty() => Some("the common name must be system:node:NAME"),
        () if has_names => Some("a client certificate has no subject alternative names"),
        () if !usages_are(request, "client auth") => {
            Some("the usages must be client auth, and digital signature and key encipherment at most")
        }
        () => None,
    }
}

fn node_serving_problem(request: &CertificateSigningRequest, parsed: &Request) -> Option<&'static str> {
    let name = parsed.common_name.strip_prefix(NODE_PREFIX).unwrap_or_default();
    let nameless = parsed.dns_names.is_empty() && parsed.ip_addresses.is_empty();
    match () {
        () if parsed.organizations != [NODES] => Some("the organization must be system:nodes and nothing else"),
        () if name.is_empty() => Some("the common name must be system:node:NAME"),
        () if nameless => Some("a serving certificate needs a DNS name or an address"),
        () if parsed.has_other_names => Some("only DNS names and addresses may be asked for"),
        () if !usages_are(request, "server auth") => {
            Some("the usages must be server auth, and digital signature and key encipherment at most")
        }
        () => None,
    }
}

/// Judges a request that is not decided. `nodes` are all that there are.
pub fn approval(request: &CertificateSigningRequest, nodes: &[Arc<Node>], reserved: &Reserved) -> Approval {
    let Ok(parsed) = parse(request) else { return Approval::NotOurs };
    let user = request.spec.username.as_deref().unwrap_or_default();
    let own = user == parsed.common_name;
    let is_node = request.spec.groups.iter().flatten().any(|group| group == NODES);
    match request.spec.signer_name.as_str() {
        NODE_CLIENT if node_client_problem(request, &parsed).is_some() => Approval::NotOurs,
        NODE_CLIENT if own => Approval::Ask(&[OWN_NODE, ANY_NODE]),
        NODE_CLIENT => Approval::Ask(&[ANY_NODE]),
        NODE_SERVING if node_serving_problem(request, &parsed).is_some() => Approval::NotOurs,
        NODE_SERVING if own && is_node => serving_approval(&parsed, nodes, reserved),
        _ => Approval::NotOurs,
    }
}

fn serving_approval(parsed: &Request, nodes: &[Arc<Node>], reserved: &Reserved) -> Approval {
    let name = parsed.common_name.strip_prefix(NODE_PREFIX).unwrap_or_default();
    let Some(node) = nodes.iter().find(|node| node.name_any() == name) else {
        return Approval::Later("the node is not registered".to_string());
    };
    match serving::problem(node, nodes, reserved, &parsed.dns_names, &parsed.ip_addresses) {
        Some(problem) => Approval::Later(problem),
        None => Approval::Approve("A node asks for a serving certificate for its own names and addresses."),
    }
}

/// Judges a request that is decided. What the certificate says is the signer's: of the request only the names that
/// the signer's rules admit are taken.
pub fn signing(request: &CertificateSigningRequest, longest: Duration) -> Signing {
    let signed = request.status.as_ref().and_then(|status| status.certificate.as_ref());
    let waits = has(request, "Approved") && !has(request, "Denied") && !has(request, "Failed");
    let ours = [CLIENT, NODE_CLIENT, NODE_SERVING].contains(&request.spec.signer_name.as_str());
    if !waits || !ours || signed.is_some_and(|certificate| !certificate.0.is_empty()) {
        return Signing::Nothing;
    }
    let parsed = match parse(request) {
        Ok(parsed) => parsed,
        Err(problem) => return Signing::Refuse(problem),
    };
    let problem = match request.spec.signer_name.as_str() {
        NODE_CLIENT => node_client_problem(request, &parsed),
        NODE_SERVING => node_serving_problem(request, &parsed),
        _ => client_problem(request, &parsed),
    };
    if let Some(problem) = problem {
        return Signing::Refuse(problem.to_string());
    }
    let serving = request.spec.signer_name == NODE_SERVING;
    let mut sans: Vec<San> = Vec::new();
    if serving {
        sans.extend(parsed.dns_names.into_iter().map(San::Dns));
        sans.extend(parsed.ip_addresses.into_iter().map(San::Ip));
    }
    let asked = request.spec.expiration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let lifetime = asked.map_or(longest, |seconds| Duration::from_secs(seconds).max(LEAST_LIFETIME).min(longest));
    let profile = Profile {
        common_name: parsed.common_name,
        organizations: parsed.organizations,
        sans,
        usage: if serving { Usage::Server } else { Usage::Client },
        lifetime,
    };
    Signing::Sign(String::from_utf8_lossy(&request.spec.request.0).into_owned(), profile)
}

fn client_problem(request: &CertificateSigningRequest, parsed: &Request) -> Option<&'static str> {
    match () {
        () if parsed.organizations.iter().any(|group| group == MASTERS) => {
            Some("the organization system:masters is not signed for; bind a role instead")
        }
        () if parsed.common_name.is_empty() => Some("the common name must be the user's name"),
        () if !usages_are(request, "client auth") => {
            Some("the usages must be client auth, and digital signature and key encipherment at most")
        }
        () => None,
    }
}
