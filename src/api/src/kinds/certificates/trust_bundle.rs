//! ClusterTrustBundle: roots that whoever may attest for a signer publishes for it (KEP-3257).

use std::collections::BTreeMap;

use machinery::field::{FieldError, FieldErrors};
use machinery::{meta, names};
use serde_json::Value;
use stdx::pem;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::signer;
use crate::check::At;
use crate::kinds::simple::Simple;
use crate::metadata::too_long;
use crate::read;
use crate::table::{name, name_column, text};

/// What all roots of a bundle may take.
const BUNDLE_MAX_BYTES: usize = 1 << 20;
/// What stands in refusals for a bundle, which nobody wants to read there.
const OMITTED: &str = "<value omitted>";

/// The behaviour of ClusterTrustBundles.
pub static CLUSTER_TRUST_BUNDLE: Simple = Simple {
    columns: &[name_column(), text("SignerName", "The signer whose roots these are.")],
    cells: |object, _| vec![name(object), read::text(object, "spec.signerName").into()],
    fields: &["spec.signerName"],
    validate: |object| {
        let mut errors = validate_kept(object);
        trust_bundle(&At::root(object).at("spec.trustBundle"), &mut errors);
        errors
    },
    // A bundle that was taken stays, however certificates are read later.
    validate_kept: Some(validate_kept),
    validate_update: |object, old| {
        let mut errors = FieldErrors::new();
        At::root(object).at("spec.signerName").immutable(&mut errors, read::at(old, "spec.signerName"));
        errors
    },
    ..Simple::PLAIN
};

fn validate_kept(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    let signer_name = spec.at("signerName");
    let (name, generate_name) = (meta::name(object), meta::generate_name(object));
    let chosen = if name.is_empty() { ("generateName", generate_name) } else { ("name", name) };
    if !chosen.1.is_empty() {
        // Letters follow a trailing dash, so the name will not end with it.
        let whole = if name.is_empty() { format!("{}a", chosen.1) } else { chosen.1.to_string() };
        let path = At::root(object).at("metadata").at(chosen.0).path;
        let faults = name_faults(signer_name.text(), &whole);
        errors.extend(faults.into_iter().map(|fault| FieldError::invalid(&path, chosen.1, fault)));
    }
    if !signer_name.text().is_empty() {
        signer::validate(&signer_name, &mut errors);
    }
    errors
}

/// What is wrong with the name of a bundle of a signer (empty: of none): one of a signer begins with the signer's
/// name, with a colon for its slash and one more after it (`kubernetes.io:kubelet-serving:v1`), and no other has a
/// colon.
pub(crate) fn name_faults(signer: &str, name: &str) -> Vec<String> {
    if signer.is_empty() {
        return match name.contains(':') {
            true => vec!["ClusterTrustBundle without signer name must not have \":\" in its name".to_string()],
            false => names::dns1123_subdomain(name),
        };
    }
    let prefix = format!("{}:", signer.replace('/', ":"));
    match name.strip_prefix(&prefix) {
        Some(rest) => names::dns1123_subdomain(rest),
        None => vec![format!("ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}")],
    }
}

/// The signer that a bundle of this name is of; empty where it is of none.
pub(crate) fn signer_of(name: &str) -> String {
    name.rsplit_once(':').map(|(signer, _)| signer.replace(':', "/")).unwrap_or_default()
}

/// Certificates of authorities in PEM, at least one, none twice, and nothing else.
fn trust_bundle(bundle: &At<'_>, errors: &mut FieldErrors) {
    if bundle.text().len() > BUNDLE_MAX_BYTES {
        errors.push(too_long(&bundle.path, BUNDLE_MAX_BYTES));
        return;
    }
    let mut refuse = |wrong: String| errors.push(FieldError::invalid(&bundle.path, OMITTED, wrong));
    let mut places: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    let mut is_whole = true;
    for (index, block) in pem::blocks(bundle.text()).into_iter().enumerate() {
        match entry_fault(&block) {
            Some(fault) => {
                refuse(format!("entry {index} {fault}"));
                is_whole = false;
            }
            None => places.entry(block.data).or_default().push(index),
        }
    }
    if !is_whole {
        return;
    }
    if places.is_empty() {
        refuse("at least one trust anchor must be provided".to_string());
    }
    let mut twice: Vec<&Vec<usize>> = places.values().filter(|indexes| indexes.len() > 1).collect();
    twice.sort();
    for indexes in twice {
        let shown: Vec<String> = indexes.iter().map(ToString::to_string).collect();
        refuse(format!("duplicate trust anchor (indices [{}])", shown.join(" ")));
    }
}

fn entry_fault(block: &pem::Block<'_>) -> Option<String> {
    if block.label != pem::CERTIFICATE {
        return Some(format!("has bad block type: {}", block.label));
    }
    if block.has_headers {
        return Some("has PEM block headers".to_string());
    }
    let Ok((_, certificate)) = X509Certificate::from_der(&block.data) else {
        return Some("does not parse as X.509".to_string());
    };
    match certificate.basic_constraints() {
        Ok(Some(constraints)) if constraints.value.ca => None,
        Ok(_) => Some("does not have the CA bit set".to_string()),
        Err(_) => Some("has invalid basic constraints".to_string()),
    }
}
