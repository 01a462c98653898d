//! What the values of a `status` have to be, as far as kinds share the rules. What only one kind asks for is in its
//! own file.

use jiff::Timestamp;
use machinery::field::{FieldError, FieldErrors};
use machinery::names;
use serde_json::Value;

use crate::check::{At, NO_ADDRESS, is_address};
use crate::podspec::resources;
use crate::read;

const REASON_BYTES_MAX: usize = 1024;
const MESSAGE_BYTES_MAX: usize = 32 << 10;
/// What conditions can be.
const CONDITION_STATUSES: [&str; 3] = ["True", "False", "Unknown"];

/// Numbers that are not below zero.
pub(crate) fn counts(status: &At<'_>, fields: &[&str], errors: &mut FieldErrors) {
    fields.iter().for_each(|field| status.at(field).non_negative(errors));
}

/// Numbers that are not greater than the one in `limit`, which messages call `shown`.
pub(crate) fn at_most(status: &At<'_>, fields: &[&str], limit: &str, shown: &str, errors: &mut FieldErrors) {
    let most = read::int(status.value, limit);
    for field in fields.iter().map(|field| status.at(field)) {
        if field.int().is_some_and(|number| number > most) {
            field.invalid(errors, format!("cannot be greater than {shown}"));
        }
    }
}

/// The number of hash collisions, which only grows.
pub(crate) fn collisions(status: &At<'_>, old: &Value, errors: &mut FieldErrors) {
    let new = status.at("collisionCount");
    new.non_negative(errors);
    let before = read::at(old, "status.collisionCount").as_i64();
    if before.is_some_and(|before| new.int().is_none_or(|new| new < before)) {
        new.invalid(errors, "cannot be decremented");
    }
}

/// The numbers of workloads whose pods are replicas of one another; `limit` is what messages call the replicas.
pub(crate) fn replicas(status: &At<'_>, parts: &[&str], limit: &str, ready: &str, errors: &mut FieldErrors) {
    counts(status, &["replicas"], errors);
    counts(status, parts, errors);
    counts(status, &["observedGeneration", "terminatingReplicas"], errors);
    at_most(status, parts, "replicas", limit, errors);
    at_most(status, &["availableReplicas"], "readyReplicas", ready, errors);
}

/// Amounts of resources, each with the path `status.FIELD.RESOURCE`.
pub(crate) fn amounts_by_field(status: &At<'_>, field: &str, errors: &mut FieldErrors) {
    for (name, amount) in status.entries(field) {
        let at = At { value: amount.value, path: status.at(field).path.child(name) };
        resources::validate_amount(name, &at, errors);
    }
}

/// Amounts of resources, each with the path `status.FIELD[RESOURCE]`.
pub(crate) fn amounts_by_key(status: &At<'_>, field: &str, errors: &mut FieldErrors) {
    status.entries(field).for_each(|(name, amount)| resources::validate_amount(name, &amount, errors));
}

/// Conditions of the common type (meta/v1 Condition).
pub(crate) fn conditions(status: &At<'_>, errors: &mut FieldErrors) {
    let mut seen = std::collections::HashSet::new();
    for condition in status.items("conditions") {
        let (type_, state) = (condition.at("type"), condition.at("status"));
        type_.follows(errors, names::qualified_name);
        if !seen.insert(type_.text()) {
            type_.duplicate(errors);
        }
        if !CONDITION_STATUSES.contains(&state.text()) {
            errors.push(FieldError::not_supported(&state.path, state.text(), &CONDITION_STATUSES));
        }
        let generation = condition.at("observedGeneration");
        if generation.int().is_some_and(|generation| generation < 0) {
            generation.invalid(errors, "must be greater than or equal to zero");
        }
        if condition.at("lastTransitionTime").text().is_empty() {
            condition.at("lastTransitionTime").required(errors, "must be set");
        }
        reason(&condition.at("reason"), errors);
        let message = condition.at("message");
        if message.text().len() > MESSAGE_BYTES_MAX {
            errors.push(crate::metadata::too_long(&message.path, MESSAGE_BYTES_MAX));
        }
    }
}

fn reason(reason: &At<'_>, errors: &mut FieldErrors) {
    let text = reason.text();
    if text.is_empty() {
        reason.required(errors, "must be set");
        return;
    }
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b',' | b':');
    let begins = text.starts_with(|first: char| first.is_ascii_alphabetic());
    let ends = text.ends_with(|last: char| last.is_ascii_alphanumeric() || last == '_');
    if !begins || !ends || !text.bytes().all(is_inner) {
        let wrong = "a condition reason must start with alphabetic character, optionally followed by a string of \
                     alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. \
                     'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used \
                     for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";
        reason.invalid(errors, wrong);
    }
    if text.len() > REASON_BYTES_MAX {
        errors.push(crate::metadata::too_long(&reason.path, REASON_BYTES_MAX));
    }
}

/// The names and addresses under which a load balancer is reached, of a Service or an Ingress.
pub(crate) fn ingress(balancer: &At<'_>, errors: &mut FieldErrors) {
    for place in balancer.items("ingress") {
        let (ip, host, mode) = (place.at("ip"), place.at("hostname"), place.at("ipMode"));
        if !ip.text().is_empty() && !is_address(ip.text()) {
            ip.invalid(errors, NO_ADDRESS);
        }
        if mode.is_set() {
            if ip.text().is_empty() {
                mode.forbidden(errors, "may not be specified when `ip` is not set");
            } else if !matches!(mode.text(), "VIP" | "Proxy") {
                mode.not_supported(errors, &["Proxy", "VIP"]);
            }
        }
        host.optional_name(errors, names::dns1123_subdomain);
        if is_address(host.text()) {
            host.invalid(errors, "must be a DNS name, not an IP address");
        }
    }
}

/// Whether a condition of this type is true.
pub(crate) fn is_true(status: &Value, type_: &str) -> bool {
    read::list(status, "conditions")
        .iter()
        .any(|condition| read::text(condition, "type") == type_ && read::text(condition, "status") == "True")
}

/// The point in time in a field.
pub(crate) fn time(status: &Value, field: &str) -> Option<Timestamp> {
    read::text(status, field).parse().ok()
}
