//! CertificateSigningRequest, ClusterTrustBundle and PodCertificateRequest.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use machinery::apply::Reset;
use machinery::field::{FieldError, FieldErrors};
use machinery::names;
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::simple::Simple;
use crate::check::At;
use crate::read;
use crate::resource::{Column, Kind};
use crate::strategy;
use crate::table::{NONE, age, age_column, name, name_column, text, text_or};

/// The behaviour of CertificateSigningRequests.
pub struct SigningRequest;

const CSR_COLUMNS: &[Column<'static>] = &[
    name_column(),
    age_column(),
    text("SignerName", "Who is asked to sign."),
    text("Requestor", "Who asks."),
    text("RequestedDuration", "How long the certificate should live."),
    text("Condition", "Where the request stands."),
];

fn csr_cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let duration = match read::at(object, "spec.expirationSeconds").as_i64() {
        Some(seconds) => machinery::table::human_duration(i128::from(seconds) * 1000),
        None => NONE.to_string(),
    };
    vec![
        name(object),
        age(object, now),
        text_or(object, "spec.signerName", NONE).into(),
        read::text(object, "spec.username").into(),
        duration.into(),
        condition(object).into(),
    ]
}

fn condition(object: &Value) -> String {
    let types: Vec<&str> =
        read::list(object, "status.conditions").iter().map(|found| read::text(found, "type")).collect();
    let mut shown = match (types.contains(&"Denied"), types.contains(&"Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_string();
    if types.contains(&"Failed") {
        shown.push_str(",Failed");
    }
    if !read::text(object, "status.certificate").is_empty() {
        shown.push_str(",Issued");
    }
    shown
}

/// The behaviour of ClusterTrustBundles.
pub static CLUSTER_TRUST_BUNDLE: Simple = Simple {
    columns: &[name_column(), text("SignerName", "The signer whose roots these are.")],
    cells: |object, _| vec![name(object), read::text(object, "spec.signerName").into()],
    fields: &["spec.signerName"],
    ..Simple::PLAIN
};

/// The behaviour of PodCertificateRequests.
pub static POD_CERTIFICATE_REQUEST: Simple = Simple {
    columns: &[
        name_column(),
        text("PodName", "The pod that asks."),
        text("ServiceAccountName", "The pod's service account."),
        text("NodeName", "The pod's node."),
        text("SignerName", "Who is asked to sign."),
        text("State", "Where the request stands."),
    ],
    cells: |object, _| {
        let state = ["Issued", "Denied", "Failed"]
            .into_iter()
            .find(|type_| crate::table::has_condition(object, type_))
            .unwrap_or("Pending");
        let of = |field: &str| Value::from(read::text(read::at(object, "spec"), field));
        let columns = ["podName", "serviceAccountName", "nodeName", "signerName"].map(of);
        [vec![name(object)], columns.to_vec(), vec![state.into()]].concat()
    },
    fields: &["spec.signerName", "spec.podName", "spec.nodeName"],
    ..Simple::PLAIN
};

/// What a certificate may be good for, in the order that refusals list it.
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
const EXPIRATION_SECONDS_MIN: i64 = 600;

/// Condition types that only the `approval` subresource may set.
const DECISIONS: [&str; 2] = ["Approved", "Denied"];
/// Condition types that stay once they are there.
const FINAL: [&str; 3] = ["Approved", "Denied", "Failed"];
/// What a condition can be.
const STATUSES: [&str; 3] = ["True", "False", "Unknown"];

impl Kind for SigningRequest {
    fn prepare_update(&self, object: &mut Value, old: &Value) {
        strategy::update(object, old, false);
        strategy::keep(object, old, "spec");
    }

    fn reset_fields(&self, subresource: &str) -> Reset<'static> {
        match subresource {
            "" => Reset::Fields(&[&["spec"], &["status"]]),
            "approval" => Reset::Fields(&[&["spec"], &["status", "certificate"]]),
            "status" => Reset::Fields(&[&["spec"], &["status", "conditions"]]),
            _ => Reset::NONE,
        }
    }

    /// `approval` decides, `status` carries the certificate; neither can do the other's work.
    fn prepare_subresource_update(&self, subresource: &str, object: &mut Value, old: &Value) {
        strategy::status_update(object, old);
        let of = |from: &Value, decision: bool| -> Vec<Value> {
            let all = read::list(from, "status.conditions").iter();
            all.filter(|found| DECISIONS.contains(&read::text(found, "type")) == decision).cloned().collect()
        };
        let may_decide = subresource == "approval";
        let (decided, other) = if may_decide { (&*object, old) } else { (old, &*object) };
        let conditions = [of(decided, true), of(other, false)].concat();
        if may_decide {
            strategy::keep(object, old, "status");
        }
        if !conditions.is_empty() {
            crate::edit::fill(object, "status", serde_json::json!({}));
            crate::edit::set(&mut object["status"], "conditions", conditions);
        } else if let Some(status) = crate::edit::value_at(object, "status") {
            crate::edit::remove(status, "conditions");
        }
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let spec = At::root(object).at("spec");
        request(&spec.at("request"), &mut errors);
        if spec.items("usages").next().is_none() {
            spec.at("usages").required(&mut errors, "usages are required");
        }
        let usages: Vec<At<'_>> = spec.items("usages").collect();
        for (index, usage) in usages.iter().enumerate() {
            if !USAGES.contains(&usage.text()) {
                usage.not_supported(&mut errors, &USAGES);
            } else if usages[..index].iter().any(|earlier| earlier.text() == usage.text()) {
                usage.duplicate(&mut errors);
            }
        }
        signer(&spec.at("signerName"), &mut errors);
        let expiration = spec.at("expirationSeconds");
        if expiration.int().is_some_and(|seconds| seconds < EXPIRATION_SECONDS_MIN) {
            expiration.invalid(&mut errors, "may not specify a duration less than 600 seconds (10 minutes)");
        }
        errors
    }

    fn validate_subresource_update(&self, _subresource: &str, object: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let root = At::root(object);
        certificate(&root.at("status.certificate"), read::text(old, "status.certificate"), &mut errors);
        let conditions: Vec<At<'_>> = root.at("status").items("conditions").collect();
        for decided in read::list(old, "status.conditions").iter().map(|condition| read::text(condition, "type")) {
            let stays = conditions.iter().any(|condition| condition.at("type").text() == decided);
            if FINAL.contains(&decided) && !stays {
                let wrong = format!("updates may not remove a condition of type {decided:?}");
                errors.push(FieldError::forbidden(&root.at("status.conditions").path, wrong));
            }
        }
        for (index, condition) in conditions.iter().enumerate() {
            let type_ = condition.at("type");
            type_.require_text(&mut errors);
            if condition.at("status").require_text(&mut errors).is_some_and(|text| !STATUSES.contains(&text)) {
                condition.at("status").not_supported(&mut errors, &STATUSES);
            }
            if conditions[..index].iter().any(|earlier| earlier.at("type").text() == type_.text()) {
                type_.duplicate(&mut errors);
            }
            if FINAL.contains(&type_.text()) && matches!(condition.at("status").text(), "False" | "Unknown") {
                condition.at("status").not_supported(&mut errors, &["True"]);
            }
        }
        let has = |name: &str| conditions.iter().any(|found| found.at("type").text() == name);
        if has("Approved") && has("Denied") {
            let wrong = "Approved and Denied conditions are mutually exclusive";
            errors.push(FieldError::invalid(&root.at("status.conditions").path, "Denied", wrong));
        }
        errors
    }

    fn columns(&self) -> Vec<Column<'_>> {
        CSR_COLUMNS.to_vec()
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        csr_cells(object, now)
    }

    fn fields(&self) -> &'static [&'static str] {
        &["spec.signerName"]
    }
}

/// The certificate, which is made once: PEM and nothing else.
fn certificate(certificate: &At<'_>, old: &str, errors: &mut FieldErrors) {
    if certificate.text() == old {
        return;
    }
    if !old.is_empty() {
        certificate.forbidden(errors, "updates may not modify existing certificate content");
    }
    let bytes = STANDARD.decode(certificate.text()).unwrap_or_default();
    if !bytes.is_empty()
        && let Err(wrong) = certificate_chain(&bytes)
    {
        errors.push(FieldError::invalid(&certificate.path, "<certificate data>", wrong));
    }
}

fn certificate_chain(bytes: &[u8]) -> Result<(), String> {
    let mut blocks = 0;
    for block in x509_parser::pem::Pem::iter_from_buffer(bytes) {
        // What follows the last block is nobody's.
        let Ok(block) = block else { break };
        if block.label != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        }
        x509_parser::parse_x509_certificate(&block.contents).map_err(|error| error.to_string())?;
        blocks += 1;
    }
    if blocks == 0 {
        return Err("must contain at least one CERTIFICATE PEM block".to_string());
    }
    // Base64 has no colons: whatever has one within a block is a header.
    let text = String::from_utf8_lossy(bytes);
    let has_headers = text.split("-----BEGIN CERTIFICATE-----").skip(1).any(|block| {
        let inner = block.split("-----END").next().unwrap_or_default();
        inner.contains(':')
    });
    if has_headers { Err("no PEM block headers are permitted".to_string()) } else { Ok(()) }
}

fn request(request: &At<'_>, errors: &mut FieldErrors) {
    let text = STANDARD.decode(request.text()).unwrap_or_default();
    let wrong = match x509_parser::pem::parse_x509_pem(&text) {
        Ok((_, pem)) if pem.label != "CERTIFICATE REQUEST" => "PEM block type must be CERTIFICATE REQUEST".to_string(),
        Ok((_, pem)) => match X509CertificationRequest::from_der(&pem.contents) {
            Ok(_) => return,
            Err(error) => error.to_string(),
        },
        Err(_) => "PEM block type must be CERTIFICATE REQUEST".to_string(),
    };
    request.invalid(errors, wrong);
}

/// `domain/path`, such as `kubernetes.io/kube-apiserver-client`.
fn signer(signer: &At<'_>, errors: &mut FieldErrors) {
    let Some(name) = signer.require_text(errors) else { return };
    let Some((domain, path)) = name.split_once('/') else {
        signer.invalid(errors, "must be a fully qualified domain and path of the form 'example.com/signer-name'");
        return;
    };
    for wrong in names::dns1123_subdomain(domain).into_iter().chain(names::dns1123_subdomain(path)) {
        signer.invalid(errors, wrong);
    }
    if !domain.contains('.') {
        signer.invalid(errors, "should be a domain with at least two segments separated by dots");
    }
}

/// `NAME`, or the signer with colons for slashes and a name after one more: `kubernetes.io:kubelet-serving:v1`.
pub fn trust_bundle_name(name: &str) -> Vec<String> {
    name.split(':').flat_map(names::dns1123_subdomain).collect()
}
