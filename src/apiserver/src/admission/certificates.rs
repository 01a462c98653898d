//! Certificate signing requests: who asks is written down by the server and never by the client
//! (CertificateSigningRequest's own rule), approving and signing need permission for the signer (CertificateApproval,
//! CertificateSigning), and nobody asks for an administrator's group (CertificateSubjectRestriction).

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use machinery::meta;
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::forbidden;
use super::signers::{GROUP, Signers};
use crate::authn::reviews::user_info;
use crate::authz::MASTERS;
use crate::live::{items, text};
use crate::plugin::{Admission, Admit, Operation};
use crate::status::Result;

const RESOURCE: &str = "certificatesigningrequests";
/// The signer whose certificates make users.
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

/// The fields of the specification that say who asks.
const REQUESTER: [&str; 4] = ["username", "uid", "groups", "extra"];

/// The plugin.
pub struct Certificates(pub Signers);

#[async_trait]
impl Admission for Certificates {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn admit(&self, request: &Admit<'_>, object: &mut Value) -> Result<()> {
        if !concerns(request) || !object["spec"].is_object() {
            return Ok(());
        }
        if request.operation == Operation::Update {
            if matches!(request.subresource, "approval" | "status") {
                stamp(object, request.old, &meta::format_time(Timestamp::now()));
            }
            return Ok(());
        }
        let info = user_info(request.user);
        for field in REQUESTER {
            match info.get(field) {
                Some(value) => object["spec"][field] = value.clone(),
                None => drop(object["spec"].as_object_mut().map(|spec| spec.remove(field))),
            }
        }
        Ok(())
    }

    async fn validate(&self, request: &Admit<'_>, object: Option<&Value>) -> Result<()> {
        let Some(object) = object.filter(|_| concerns(request)) else { return Ok(()) };
        // A change is judged by the signer that is kept.
        let signer = text(request.old.unwrap_or(object), "/spec/signerName");
        match (request.operation, request.subresource) {
            (Operation::Create, "") => requester(request, object).and_then(|()| subject(request, object)),
            (Operation::Update, "approval") => self.may(request, object, "approve", signer).await,
            (Operation::Update, "status") => {
                let certificate = |object: &Value| text(object, "/status/certificate").to_string();
                let signed = request.old.is_none_or(|old| certificate(old) != certificate(object));
                if signed { self.may(request, object, "sign", signer).await } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }
}

fn concerns(request: &Admit<'_>) -> bool {
    request.group_version.group == GROUP && request.resource == RESOURCE
}

impl Certificates {
    async fn may(&self, request: &Admit<'_>, object: &Value, verb: &str, signer: &str) -> Result<()> {
        if self.0.allows(request.user, verb, signer).await {
            return Ok(());
        }
        let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
        Err(forbidden(request, Some(object), why))
    }
}

/// Writes down when a condition was set, and since when it has its status, where the client does not.
fn stamp(object: &mut Value, old: Option<&Value>, now: &str) {
    let before = old.map(|old| items(old, "/status/conditions")).unwrap_or_default();
    for condition in object["status"]["conditions"].as_array_mut().into_iter().flatten() {
        let since = before.iter().find(|old| old["type"] == condition["type"] && old["status"] == condition["status"]);
        let since = since.map(|old| text(old, "/lastTransitionTime")).filter(|since| !since.is_empty());
        for (field, time) in [("lastUpdateTime", now), ("lastTransitionTime", since.unwrap_or(now))] {
            if !condition[field].is_string() {
                condition[field] = time.into();
            }
        }
    }
}

/// Approvers go by who asks, so that what is said of them is what the server has said.
fn requester(request: &Admit<'_>, object: &Value) -> Result<()> {
    let info = user_info(request.user);
    match REQUESTER.iter().find(|field| object["spec"].get(**field) != info.get(**field)) {
        None => Ok(()),
        Some(field) => {
            let why = format!("spec.{field} says who asks, which is not for a webhook or a policy to change");
            Err(forbidden(request, Some(object), why))
        }
    }
}

fn subject(request: &Admit<'_>, object: &Value) -> Result<()> {
    if text(object, "/spec/signerName") != CLIENT_SIGNER {
        return Ok(());
    }
    // What cannot be read is refused by validation and signed by nobody.
    let pem = BASE64_STANDARD.decode(text(object, "/spec/request")).unwrap_or_default();
    let der = x509_parser::pem::parse_x509_pem(&pem).map(|(_, pem)| pem.contents).unwrap_or_default();
    let Ok((_, parsed)) = X509CertificationRequest::from_der(&der) else { return Ok(()) };
    let mut organizations = parsed.certification_request_info.subject.iter_organization();
    if organizations.any(|name| name.as_str().is_ok_and(|name| name == MASTERS)) {
        let why = format!("use of {CLIENT_SIGNER} signer with system:masters group is not allowed");
        return Err(forbidden(request, Some(object), why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::signers::testing::{Only, all};
    use super::super::testing::{create, run};
    use super::*;
    use serde_json::json;

    fn request_for(organization: &str) -> String {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, organization);
        let key = rcgen::KeyPair::generate().expect("a key");
        BASE64_STANDARD.encode(params.serialize_request(&key).expect("a request").pem().expect("PEM"))
    }

    #[tokio::test]
    async fn the_server_writes_down_who_asks() {
        let plugin = Certificates(all());
        let object = json!({"metadata": {"name": "c"}, "spec": {"username": "forged", "uid": "forged", "groups": ["system:masters"]}});
        let admitted = run(&plugin, &create(GROUP, RESOURCE, ""), Some(object)).await.expect("admitted");
        assert_eq!(admitted["spec"]["username"], "ann");
        assert_eq!(admitted["spec"]["groups"], json!(["system:authenticated"]));
        assert!(admitted["spec"].get("uid").is_none());
    }

    #[test]
    fn conditions_say_since_when() {
        let old = json!({"status": {"conditions": [{"type": "A", "status": "True", "lastTransitionTime": "then"}]}});
        let mut new = json!({"status": {"conditions": [{"type": "A", "status": "True", "lastUpdateTime": "own"},
            {"type": "B", "status": "True"}]}});
        stamp(&mut new, Some(&old), "now");
        let conditions = &new["status"]["conditions"];
        let times = |at: usize| (&conditions[at]["lastUpdateTime"], &conditions[at]["lastTransitionTime"]);
        assert_eq!(times(0), (&json!("own"), &json!("then")));
        assert_eq!(times(1), (&json!("now"), &json!("now")));
    }

    #[tokio::test]
    async fn nobody_asks_for_the_administrators_group() {
        let plugin = Certificates(all());
        for (organization, signer, allowed) in [
            ("system:masters", CLIENT_SIGNER, false),
            ("developers", CLIENT_SIGNER, true),
            ("system:masters", "example.com/own", true),
        ] {
            let spec = json!({"signerName": signer, "request": request_for(organization)});
            let object = json!({"metadata": {"name": "c"}, "spec": spec});
            let found = run(&plugin, &create(GROUP, RESOURCE, ""), Some(object)).await;
            assert_eq!(found.is_ok(), allowed, "{organization} {signer}");
        }
    }

    #[tokio::test]
    async fn approving_and_signing_need_permission_for_the_signer() {
        let kept = json!({"metadata": {"name": "c"}, "spec": {"signerName": "example.com/a"}});
        let mut signed = kept.clone();
        signed["status"] = json!({"certificate": "x"});
        for (allowed, subresource, object, expected) in [
            (Only("approve", "example.com/a"), "approval", &kept, true),
            (Only("approve", "example.com/*"), "approval", &kept, true),
            (Only("sign", "example.com/a"), "approval", &kept, false),
            (Only("sign", "example.com/a"), "status", &signed, true),
            (Only("approve", "example.com/a"), "status", &signed, false),
            (Only("approve", "example.com/a"), "status", &kept, true),
        ] {
            let mut asked = create(GROUP, RESOURCE, "");
            (asked.operation, asked.subresource, asked.old) = (Operation::Update, subresource, Some(kept.clone()));
            let found = run(&Certificates(allowed.signers()), &asked, Some(object.clone())).await;
            assert_eq!(found.is_ok(), expected, "{subresource}");
        }
    }
}
