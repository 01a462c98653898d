//! What FlowSchemas and PriorityLevelConfigurations may be (KEP-1040).

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors};
use machinery::names;
use serde_json::Value;

use crate::check::At;
use crate::read;

const PRECEDENCE_MAX: i64 = 10_000;
const QUEUES_MAX: i64 = 10_000_000;
/// A flow's hash chooses its queues: so many bits it has.
const HASH_BITS: u32 = 60;
/// The two of each kind that are always there: one for requests that never wait, one for all that nothing else takes.
const EXEMPT: &str = "exempt";
const VERBS: [&str; 9] = ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

pub(super) fn validate_schema(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    let precedence = spec.at("matchingPrecedence");
    let number = precedence.int().unwrap_or_default();
    let mut invalid = |wrong: String| errors.push(FieldError::invalid(&precedence.path, number, wrong));
    if number <= 0 {
        invalid("must be a positive value".to_string());
    }
    if number > PRECEDENCE_MAX {
        invalid(format!("must not be greater than {PRECEDENCE_MAX}"));
    }
    if number == 1 && machinery::meta::name(object) != EXEMPT {
        invalid("only the schema named 'exempt' may have matchingPrecedence 1".to_string());
    }
    let level = spec.at("priorityLevelConfiguration.name");
    if level.text().is_empty() {
        level.required(&mut errors, "must reference a priority level");
    }
    level.optional_name(&mut errors, names::dns1123_subdomain);
    spec.items("rules").for_each(|rule| validate_rule(&rule, &mut errors));
    errors
}

fn validate_rule(rule: &At<'_>, errors: &mut FieldErrors) {
    if rule.items("subjects").next().is_none() {
        rule.at("subjects").required(errors, "subjects must contain at least one value");
    }
    rule.items("subjects").for_each(|found| subject(&found, errors));
    let lists = ["resourceRules", "nonResourceRules"];
    if lists.iter().all(|list| read::list(rule.value, list).is_empty()) {
        rule.required(errors, "at least one of resourceRules and nonResourceRules has to be non-empty");
    }
    for found in rule.items("resourceRules") {
        verbs(&found, errors);
        listed(&found, "apiGroups", "resource rules must supply at least one api group", "api groups", errors);
        listed(&found, "resources", "resource rules must supply at least one resource", "resources", errors);
        namespaces(&found, errors);
    }
    for found in rule.items("nonResourceRules") {
        verbs(&found, errors);
        listed(
            &found,
            "nonResourceURLs",
            "nonResourceURLs must contain at least one value",
            "non-resource URLs",
            errors,
        );
        for url in found.items("nonResourceURLs").filter(|url| url.text() != "*") {
            url_path(&url, errors);
        }
    }
}

/// A user, a group or a service account, and no more than one of them.
fn subject(subject: &At<'_>, errors: &mut FieldErrors) {
    const KINDS: [(&str, &str); 3] = [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];
    let kind = subject.at("kind");
    let Some((_, own)) = KINDS.iter().find(|(name, _)| *name == kind.text()) else {
        let supported = ["Group", "ServiceAccount", "User"];
        return errors.push(FieldError::not_supported(&kind.path, kind.text(), &supported));
    };
    let named = subject.at(own);
    if !named.is_set() {
        named.required(errors, &format!("{own} is required when subject kind is '{}'", kind.text()));
    } else {
        let name = named.at("name");
        name.require_text(errors);
        if *own == "serviceAccount" {
            if name.text() != "*" {
                name.optional_name(errors, names::dns1123_subdomain);
            }
            let namespace = named.at("namespace");
            if namespace.text().is_empty() {
                namespace.required(errors, "must specify namespace for service account");
            }
            namespace.optional_name(errors, names::dns1123_label);
        }
    }
    for (name, other) in KINDS.iter().filter(|(_, other)| other != own) {
        if subject.at(other).is_set() {
            let wrong = format!("{other} is forbidden when subject kind is not '{name}'");
            subject.at(other).forbidden(errors, &wrong);
        }
    }
}

/// A list with something in it; `*` stands alone.
fn listed(rule: &At<'_>, field: &str, none: &str, others: &str, errors: &mut FieldErrors) {
    let list = rule.at(field);
    let values: Vec<&str> = read::texts(rule.value, field).collect();
    if values.is_empty() {
        list.required(errors, none);
    } else if values.len() > 1 && values.contains(&"*") {
        list.invalid(errors, format!("if '*' is present, must not specify other {others}"));
    }
}

fn verbs(rule: &At<'_>, errors: &mut FieldErrors) {
    listed(rule, "verbs", "verbs must contain at least one value", "verbs", errors);
    let values: Vec<&str> = read::texts(rule.value, "verbs").collect();
    if !values.contains(&"*") && values.iter().any(|verb| !VERBS.contains(verb)) {
        rule.at("verbs").not_supported(errors, &VERBS);
    }
}

fn namespaces(rule: &At<'_>, errors: &mut FieldErrors) {
    let values: Vec<At<'_>> = rule.items("namespaces").collect();
    if values.is_empty() {
        if !rule.at("clusterScope").is_true() {
            let wrong = "resource rules that are not cluster scoped must supply at least one namespace";
            rule.at("namespaces").required(errors, wrong);
        }
        return;
    }
    if values.iter().any(|value| value.text() == "*") {
        return listed(rule, "namespaces", "", "namespaces", errors);
    }
    for value in values {
        for wrong in names::dns1123_label(value.text()) {
            value.invalid(errors, format!("each member of this list must be '*' or a DNS-1123 label; {wrong}"));
        }
    }
}

fn url_path(url: &At<'_>, errors: &mut FieldErrors) {
    let path = url.text();
    let stars = path.matches('*').count();
    let wrong = match path {
        "" => "must not be empty",
        "/" => return,
        _ if !path.starts_with('/') => "must start with slash",
        _ if path.contains(' ') => "must not contain white-space",
        _ if path.contains("//") => "must not contain double slash",
        _ if stars > 1 || (stars == 1 && !path.ends_with("/*")) => "wildcard can only do suffix matching",
        _ => return,
    };
    url.invalid(errors, wrong);
}

pub(super) fn validate_level(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    let type_ = spec.at("type");
    if (machinery::meta::name(object) == EXEMPT) != (type_.text() == "Exempt") {
        type_.invalid(&mut errors, "type must be 'Exempt' if and only if name is 'exempt'");
    }
    let (limited, exempt) = (spec.at("limited"), spec.at("exempt"));
    match type_.text() {
        "Exempt" => {
            if limited.is_set() {
                limited.forbidden(&mut errors, "must be nil if the type is not Limited");
            }
            shares(&exempt, &mut errors);
        }
        "Limited" => {
            if exempt.is_set() {
                exempt.forbidden(&mut errors, "must be nil if the type is Limited");
            }
            if limited.is_set() {
                validate_limited(&limited, &mut errors);
            } else {
                limited.required(&mut errors, "must not be empty when type is Limited");
            }
        }
        other => errors.push(FieldError::not_supported(&type_.path, other, &["Exempt", "Limited"])),
    }
    errors
}

fn shares(level: &At<'_>, errors: &mut FieldErrors) {
    let nominal = level.at("nominalConcurrencyShares");
    if nominal.int().is_some_and(|shares| shares < 0) {
        nominal.invalid(errors, "must be a non-negative integer");
    }
    let lendable = level.at("lendablePercent");
    if lendable.int().is_some_and(|percent| !(0..=100).contains(&percent)) {
        lendable.invalid(errors, "must be between 0 and 100, inclusive");
    }
}

fn validate_limited(limited: &At<'_>, errors: &mut FieldErrors) {
    shares(limited, errors);
    let borrowing = limited.at("borrowingLimitPercent");
    if borrowing.int().is_some_and(|percent| percent < 0) {
        borrowing.invalid(errors, "if specified, must be a non-negative integer");
    }
    let response = limited.at("limitResponse");
    let (type_, queuing) = (response.at("type"), response.at("queuing"));
    match (type_.text(), queuing.is_set()) {
        ("Reject", true) => {
            queuing.forbidden(errors, "must be nil if limited.limitResponse.type is not Limited");
        }
        ("Reject", false) => {}
        ("Queue", false) => {
            queuing.required(errors, "must not be empty if limited.limitResponse.type is Limited");
        }
        ("Queue", true) => validate_queuing(&queuing, errors),
        (other, _) => errors.push(FieldError::not_supported(&type_.path, other, &["Queue", "Reject"])),
    }
}

fn validate_queuing(queuing: &At<'_>, errors: &mut FieldErrors) {
    let mut positive = |field: &str| {
        let at = queuing.at(field);
        let number = at.int().unwrap_or_default();
        if number <= 0 {
            errors.push(FieldError::invalid(&at.path, number, "must be positive"));
        }
        number
    };
    positive("queueLengthLimit");
    let (queues, hand) = (positive("queues"), positive("handSize"));
    if queues > QUEUES_MAX {
        queuing.at("queues").invalid(errors, format!("must not be greater than {QUEUES_MAX}"));
    }
    let at = queuing.at("handSize");
    if hand <= 0 || queues <= 0 {
        return;
    }
    let bits = entropy_bits(queues, hand);
    if hand > queues {
        at.invalid(errors, format!("should not be greater than queues ({queues})"));
    } else if bits > HASH_BITS {
        let wrong = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS}"
        );
        at.invalid(errors, wrong);
    }
}

/// The bits it takes to deal a hand of queues from all of them.
fn entropy_bits(queues: i64, hand: i64) -> u32 {
    let hands: f64 = (0..hand.min(queues)).map(|dealt| ((queues - dealt) as f64).log2()).sum();
    hands.ceil() as u32
}

pub(super) fn validate_status(object: &Value, _old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut seen = HashSet::new();
    for condition in At::root(object).at("status").items("conditions") {
        let type_ = condition.at("type");
        if !seen.insert(type_.text()) {
            type_.duplicate(&mut errors);
        }
        if type_.text().is_empty() {
            type_.required(&mut errors, "must not be empty");
        }
    }
    errors
}
