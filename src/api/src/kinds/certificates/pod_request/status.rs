//! What may become of a request: it is issued, denied or failed, once, and then nothing of it changes any more.

use jiff::{SignedDuration, Timestamp};
use machinery::field::{FieldError, FieldErrors};
use serde_json::{Value, json};
use stdx::pem;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::signature::is_same_key;
use super::decoded;
use crate::check::At;
use crate::{edit, read};

const ISSUED: &str = "Issued";
/// Every type that a condition may have.
pub(super) const KNOWN: [&str; 3] = [ISSUED, "Denied", "Failed"];
/// The times of a certificate that was issued.
const TIMES: [&str; 3] = ["notBefore", "notAfter", "beginRefreshAt"];
const CHAIN_MAX_BYTES: usize = 100 << 10;
/// How far the beginning of a certificate may lie from now.
const SKEW: SignedDuration = SignedDuration::from_mins(5);
/// What has to lie between the ends of a certificate's life and its renewal.
const REFRESH_MARGIN: SignedDuration = SignedDuration::from_mins(10);
const LIFE_MIN: SignedDuration = SignedDuration::from_hours(1);

/// Keeps conditions that were there already as they were, where none of their type comes or goes.
pub(super) fn keep_decision(object: &mut Value, old: &Value) {
    for type_ in KNOWN {
        let of_type = |condition: &&Value| read::text(condition, "type") == type_;
        let before: Vec<Value> = read::list(old, "status.conditions").iter().filter(of_type).cloned().collect();
        let new = edit::items_at(object, "status.conditions").filter(|condition| of_type(&&**condition));
        let new: Vec<&mut Value> = new.collect();
        if new.len() == before.len() {
            new.into_iter().zip(before).for_each(|(new, before)| *new = before);
        }
    }
}

/// What is wrong with a change of the status, but for what depends on the time of day ([`begins_now`]).
pub(super) fn validate(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let root = At::root(object);
    conditions(&root.at("status"), &mut errors);
    if !errors.is_empty() {
        // What the status means is not known then.
        return errors;
    }
    let status = root.at("status");
    let mut refuse = |detail: &str| errors.push(FieldError::invalid(&status.path, "<value omitted>", detail));
    let (before, new) = (read::at(old, "status"), status.value);
    let decided = |status: &Value| KNOWN.into_iter().find(|type_| has_condition(status, type_));
    match (decided(before), decided(new)) {
        (Some(_), _) if !read::same(before, new) => {
            refuse("immutable after PodCertificateRequest is issued, denied, or failed");
        }
        (Some(_), _) => {}
        (None, Some(ISSUED)) => {
            if let Err(fault) = issued(&root) {
                errors.extend(fault);
            }
        }
        (None, Some(_)) if !read::same(new, &json!({"conditions": read::at(new, "conditions")})) => {
            refuse("non-condition status fields must be empty when denying or failing the PodCertificateRequest");
        }
        (None, Some(_)) => {}
        (None, None) if !read::same(before, new) => {
            refuse("status is immutable unless transitioning to \"Issued\", \"Denied\", or \"Failed\"");
        }
        (None, None) => {}
    }
    errors
}

fn has_condition(status: &Value, type_: &str) -> bool {
    let conditions = read::list(status, "conditions").iter();
    conditions
        .filter(|condition| read::text(condition, "type") == type_)
        .any(|found| read::text(found, "status") == "True")
}

fn conditions(status: &At<'_>, errors: &mut FieldErrors) {
    let mut known = 0;
    for condition in status.items("conditions") {
        let (type_, state) = (condition.at("type"), condition.at("status"));
        if !KNOWN.contains(&type_.text()) {
            type_.not_supported(errors, &KNOWN);
            continue;
        }
        known += 1;
        if known > 1 {
            type_.invalid(errors, "There may be at most one condition with type \"Issued\", \"Denied\", or \"Failed\"");
        }
        if state.text() != "True" {
            state.not_supported(errors, &["True"]);
        }
    }
    crate::status::conditions(status, errors);
}

/// A certificate's fault, with the field that has it.
fn fault(at: &At<'_>, detail: impl Into<String>) -> FieldErrors {
    vec![FieldError::invalid(&at.path, at.value.clone(), detail)]
}

fn issued(root: &At<'_>) -> Result<(), FieldErrors> {
    let chain = root.at("status.certificateChain");
    if chain.text().len() > CHAIN_MAX_BYTES {
        return Err(vec![crate::metadata::too_long(&chain.path, CHAIN_MAX_BYTES)]);
    }
    let wrong = |detail: &str| vec![FieldError::invalid(&chain.path, "<certificate chain>", detail)];
    let blocks = pem::blocks(chain.text());
    let Some((first, rest)) = blocks.split_first() else {
        return Err(wrong("issued certificate chain must contain at least one certificate"));
    };
    if blocks.iter().any(|block| block.label != pem::CERTIFICATE) {
        return Err(wrong("issued certificate chain must consist entirely of CERTIFICATE PEM blocks"));
    }
    let Ok(([], leaf)) = X509Certificate::from_der(&first.data) else {
        return Err(wrong("leaf certificate does not parse as valid X.509"));
    };
    names(&chain, &leaf)?;
    let request = decoded(root.at("spec.stubPKCS10Request").text());
    let asked = X509CertificationRequest::from_der(&request).map(|(_, request)| request);
    let asked = asked.map_err(|_| fault(&root.at("spec.stubPKCS10Request"), "must be a valid PKCS#10 request"))?;
    if !is_same_key(&asked.certification_request_info.subject_pki, leaf.public_key()) {
        return Err(wrong("leaf certificate was not issued to the requested public key"));
    }
    times(root, &leaf)?;
    match rest.iter().all(|block| matches!(X509Certificate::from_der(&block.data), Ok(([], _)))) {
        true => Ok(()),
        false => Err(wrong("intermediate certificate does not parse as valid X.509")),
    }
}

/// Names that some libraries refuse whole certificates for.
fn names(chain: &At<'_>, leaf: &X509Certificate<'_>) -> Result<(), FieldErrors> {
    let mut errors = FieldErrors::new();
    let names = leaf.subject_alternative_name().ok().flatten();
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        let (shown, detail) = match name {
            GeneralName::DNSName("") => ("", "leaf certificate should not contain empty DNSName"),
            GeneralName::DNSName(dns) if dns.contains("..") => {
                (*dns, "leaf certificate's DNSName should not contain '..'")
            }
            GeneralName::DNSName(dns) if dns.starts_with('.') || dns.ends_with('.') => {
                (*dns, "leaf certificate's DNSName should not start or end with '.'")
            }
            GeneralName::RFC822Name(address) if !is_mail_address(address) => {
                (*address, "leaf certificate should not contain invalid EmailAddress")
            }
            _ => continue,
        };
        errors.push(FieldError::invalid(&chain.path, shown, detail));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// `somebody@somewhere`, without what would have to be quoted (RFC 5322).
fn is_mail_address(text: &str) -> bool {
    let is_plain = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| !c.is_whitespace() && !c.is_control() && !"()<>[]:;,@\\\"".contains(c))
            && part.split('.').all(|word| !word.is_empty())
    };
    text.rsplit_once('@').is_some_and(|(user, domain)| is_plain(user) && is_plain(domain))
}

fn time(at: &At<'_>) -> Option<Timestamp> {
    at.text().parse().ok()
}

fn times(root: &At<'_>, leaf: &X509Certificate<'_>) -> Result<(), FieldErrors> {
    let at = |field: &str| root.at("status").at(field);
    let mut missing = FieldErrors::new();
    for field in TIMES.into_iter().filter(|field| time(&at(field)).is_none()) {
        let detail = match field {
            "beginRefreshAt" => "must be present and in the range [notbefore+10min, notafter-10min]",
            _ => "must be present and consistent with the issued certificate",
        };
        at(field).required(&mut missing, detail);
    }
    let [Some(begin), Some(end), Some(refresh)] = TIMES.map(|field| time(&at(field))) else { return Err(missing) };
    let validity = leaf.validity();
    for (field, told, is, name) in [
        ("notBefore", begin, validity.not_before.timestamp(), "NotBefore"),
        ("notAfter", end, validity.not_after.timestamp(), "NotAfter"),
    ] {
        if told.as_second() != is || told.subsec_nanosecond() != 0 {
            return Err(fault(&at(field), format!("must be set to the {name} time encoded in the leaf certificate")));
        }
    }
    let life = end.duration_since(begin);
    let chain = root.at("status.certificateChain");
    let shown = format!("{life:#}");
    if life < LIFE_MIN {
        let detail = "leaf certificate lifetime must be >= 1 hour";
        return Err(vec![FieldError::invalid(&chain.path, shown, detail)]);
    }
    let longest_s = root.at("spec.maxExpirationSeconds").int().unwrap_or_default();
    if life > SignedDuration::from_secs(longest_s) {
        let detail = format!("leaf certificate lifetime must be <= spec.maxExpirationSeconds ({longest_s})");
        return Err(vec![FieldError::invalid(&chain.path, shown, detail)]);
    }
    if refresh.duration_since(begin) < REFRESH_MARGIN {
        return Err(fault(&at("beginRefreshAt"), "must be at least 10 minutes after status.notBefore"));
    }
    if end.duration_since(refresh) < REFRESH_MARGIN {
        return Err(fault(&at("beginRefreshAt"), "must be at least 10 minutes before status.notAfter"));
    }
    Ok(())
}

/// What is wrong with the beginning of a certificate that is issued `now`.
pub fn begins_now(object: &Value, now: Timestamp) -> FieldErrors {
    let begin = At::root(object).at("status.notBefore");
    match time(&begin) {
        Some(told) if told.duration_since(now).abs() >= SKEW => {
            fault(&begin, "must be set to within 5 minutes of kube-apiserver's current time")
        }
        _ => FieldErrors::new(),
    }
}
