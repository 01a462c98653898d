//! Names of signers: `domain/path`, such as `kubernetes.io/kube-apiserver-client`.

use machinery::field::{FieldError, FieldErrors};
use machinery::names::{self, LABEL_MAX_BYTES, SUBDOMAIN_MAX_BYTES};

use crate::check::At;
use crate::metadata::too_long;

/// A domain, a slash, and a path with room for a namespace, a dot and a name.
const NAME_MAX_BYTES: usize = SUBDOMAIN_MAX_BYTES + 1 + LABEL_MAX_BYTES + 1 + SUBDOMAIN_MAX_BYTES;

/// Whether a signer is Kubernetes' own.
pub(crate) fn is_kubernetes(name: &str) -> bool {
    let domain = name.split('/').next().unwrap_or_default();
    domain == "kubernetes.io" || domain.ends_with(".kubernetes.io")
}

/// What is wrong with the name of a signer.
pub(crate) fn validate(signer: &At<'_>, errors: &mut FieldErrors) {
    let Some(name) = signer.require_text(errors) else { return };
    let parts: Vec<&str> = name.split('/').collect();
    let &[domain, path] = parts.as_slice() else {
        signer.invalid(errors, "must be a fully qualified domain and path of the form 'example.com/signer-name'");
        return;
    };
    if domain.len() > SUBDOMAIN_MAX_BYTES {
        errors.push(too_long(&signer.path, SUBDOMAIN_MAX_BYTES));
    }
    first_fault(signer, domain, names::dns1123_label, errors);
    if !domain.contains('.') {
        let wrong = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(&signer.path, domain, wrong));
    }
    first_fault(signer, path, names::dns1123_subdomain, errors);
    if name.len() > NAME_MAX_BYTES {
        errors.push(too_long(&signer.path, NAME_MAX_BYTES));
    }
}

/// Of the labels between dots the first that is wrong: the others would be told the same.
fn first_fault(signer: &At<'_>, part: &str, rule: fn(&str) -> Vec<String>, errors: &mut FieldErrors) {
    let wrong = part.split('.').map(|label| (label, rule(label))).find(|(_, wrong)| !wrong.is_empty());
    for (label, wrong) in wrong.iter().flat_map(|(label, wrong)| wrong.iter().map(move |wrong| (label, wrong))) {
        let detail = format!("validating label {label:?}: {wrong}");
        errors.push(FieldError::invalid(&signer.path, part, detail));
    }
}
