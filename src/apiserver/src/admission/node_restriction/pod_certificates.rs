//! An agent asks for certificates for the pods that run on its node, and for nobody else.

use serde_json::Value;

use super::super::forbidden;
use super::{MIRROR, NodeRestriction};
use crate::live::text;
use crate::plugin::{Admit, Operation};
use crate::status::Result;

impl NodeRestriction {
    pub(super) async fn pod_certificate(&self, request: &Admit<'_>, node: &str, object: Option<&Value>) -> Result<()> {
        let (Operation::Create, "", Some(asked)) = (request.operation, request.subresource, object) else {
            return Err(forbidden(request, object, format!("unexpected operation of node {node:?}")));
        };
        match self.pod_certificate_fault(request.namespace, node, asked).await? {
            Some(why) => Err(forbidden(request, object, why)),
            None => Ok(()),
        }
    }

    /// Everything that the request names is read, since the signer believes it.
    async fn pod_certificate_fault(&self, namespace: &str, node: &str, asked: &Value) -> Result<Option<String>> {
        let of = |field: &str| text(asked, &format!("/spec/{field}"));
        let uid = |found: &Value| text(found, "/metadata/uid").to_string();
        if of("nodeName") != node {
            let named = of("nodeName");
            return Ok(Some(format!(
                "PodCertificateRequest.Spec.NodeName={named:?}, which is not the requesting node {node:?}"
            )));
        }
        let pod_ref = format!("{namespace}/{}", of("podName"));
        let missing = |what: &str, name: &str| {
            Ok(Some(format!("{what} {name:?} named in the PodCertificateRequest does not exist")))
        };
        let Some(own) = self.0.get("", "nodes", "", node).await? else { return missing("node", node) };
        if uid(&own) != of("nodeUID") {
            return Ok(Some(format!(
                "PodCertificateRequest for pod {pod_ref:?} names node UID {:?}, inconsistent with the running node ({:?})",
                of("nodeUID"),
                uid(&own)
            )));
        }
        let Some(pod) = self.0.get("", "pods", namespace, of("podName")).await? else {
            return missing("pod", &pod_ref);
        };
        if uid(&pod) != of("podUID") {
            return Ok(Some(format!(
                "PodCertificateRequest for pod {pod_ref:?} contains pod UID ({:?}) which differs from running pod {:?}",
                of("podUID"),
                uid(&pod)
            )));
        }
        if text(&pod, "/spec/nodeName") != node {
            return Ok(Some(format!(
                "pod {pod_ref:?} is not running on node {node:?} named in the PodCertificateRequest"
            )));
        }
        if pod.pointer(MIRROR).is_some() {
            return Ok(Some(format!("pod {pod_ref:?} is a mirror pod")));
        }
        let (account, running) = (of("serviceAccountName"), text(&pod, "/spec/serviceAccountName"));
        if account != running {
            return Ok(Some(format!(
                "PodCertificateRequest for pod {pod_ref:?} contains serviceAccountName ({account:?}) that differs from \
                 running pod ({running:?})"
            )));
        }
        let Some(found) = self.0.get("", "serviceaccounts", namespace, account).await? else {
            return missing("service account", &format!("{namespace}/{account}"));
        };
        if uid(&found) != of("serviceAccountUID") {
            return Ok(Some(format!(
                "PodCertificateRequest for pod {pod_ref:?} names service account UID {:?}, which differs from the running \
                 service account ({:?})",
                of("serviceAccountUID"),
                uid(&found)
            )));
        }
        Ok(None)
    }
}
