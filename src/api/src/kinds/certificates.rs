//! CertificateSigningRequest, ClusterTrustBundle and PodCertificateRequest.

use serde_json::Value;

use super::simple::Simple;
use crate::read;
use crate::table::{NONE, age, age_column, name, name_column, text, text_or};

/// The behaviour of CertificateSigningRequests.
pub static CSR: Simple = Simple {
    columns: &[
        name_column(),
        age_column(),
        text("SignerName", "Who is asked to sign."),
        text("Requestor", "Who asks."),
        text("RequestedDuration", "How long the certificate should live."),
        text("Condition", "Where the request stands."),
    ],
    cells: |object, now| {
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
    },
    fields: &["spec.signerName"],
    ..Simple::PLAIN
};

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
