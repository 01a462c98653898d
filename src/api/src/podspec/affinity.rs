//! Tolerations, affinity and spreading.

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors};
use machinery::names;

use crate::check::{At, label_selector};
use crate::read;

/// What a pod spec says of where it may run.
pub(crate) fn validate(spec: &At<'_>, errors: &mut FieldErrors) {
    spec.items("tolerations").for_each(|toleration| validate_toleration(&toleration, errors));
    let affinity = spec.at("affinity");
    let node = affinity.at("nodeAffinity");
    let required = node.at("requiredDuringSchedulingIgnoredDuringExecution");
    if required.is_set() {
        validate_node_selector(&required, errors);
    }
    for preferred in node.items("preferredDuringSchedulingIgnoredDuringExecution") {
        weight(&preferred, errors);
        // A preference for what no node can have is without effect and does no harm.
        node_selector_term(&preferred.at("preference"), false, errors);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let affinity = affinity.at(kind);
        for term in affinity.items("requiredDuringSchedulingIgnoredDuringExecution") {
            pod_term(&term, errors);
        }
        for preferred in affinity.items("preferredDuringSchedulingIgnoredDuringExecution") {
            weight(&preferred, errors);
            pod_term(&preferred.at("podAffinityTerm"), errors);
        }
    }
    spreading(spec, errors);
}

fn weight(preferred: &At<'_>, errors: &mut FieldErrors) {
    if !(1..=100).contains(&preferred.at("weight").int().unwrap_or_default()) {
        preferred.at("weight").invalid(errors, "must be in the range 1-100");
    }
}

/// A toleration, of a pod or a runtime class.
pub(crate) fn validate_toleration(toleration: &At<'_>, errors: &mut FieldErrors) {
    let (key, operator, value) = (toleration.at("key"), toleration.at("operator"), toleration.at("value"));
    key.optional_name(errors, names::qualified_name);
    if key.text().is_empty() && operator.text() != "Exists" {
        let wrong = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        errors.push(FieldError::invalid(&operator.path, operator.text(), wrong));
    }
    let effect = toleration.at("effect");
    if toleration.at("tolerationSeconds").is_set() && effect.text() != "NoExecute" {
        let wrong = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.push(FieldError::invalid(&effect.path, effect.text(), wrong));
    }
    match operator.text() {
        "Exists" if !value.text().is_empty() => {
            let wrong = "value must be empty when `operator` is 'Exists'";
            errors.push(FieldError::invalid(&operator.path, value.text(), wrong));
        }
        "" | "Equal" => {
            let wrong = names::label_value(value.text());
            if !wrong.is_empty() {
                errors.push(FieldError::invalid(&operator.path, value.text(), wrong.join(";")));
            }
        }
        "Gt" | "Lt" if value.text().parse::<i64>().is_err() => {
            value.invalid(errors, "value must be a whole number when `operator` is 'Gt' or 'Lt'");
        }
        _ => {}
    }
}

/// A node selector, of a pod or a volume.
pub(crate) fn validate_node_selector(selector: &At<'_>, errors: &mut FieldErrors) {
    if selector.items("nodeSelectorTerms").next().is_none() {
        selector.at("nodeSelectorTerms").required(errors, "must have at least one node selector term");
    }
    selector.items("nodeSelectorTerms").for_each(|term| node_selector_term(&term, true, errors));
}

/// `is_required`: values must be such as labels can have.
fn node_selector_term(term: &At<'_>, is_required: bool, errors: &mut FieldErrors) {
    for requirement in term.items("matchExpressions") {
        requirement_values(&requirement, errors);
        requirement.at("key").follows(errors, names::qualified_name);
        for value in requirement.items("values").filter(|_| is_required) {
            value.follows(errors, names::label_value);
        }
    }
    for requirement in term.items("matchFields") {
        let operator = requirement.at("operator");
        match operator.text() {
            "In" | "NotIn" if requirement.items("values").count() == 1 => {}
            "In" | "NotIn" => {
                let wrong = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                requirement.at("values").required(errors, wrong);
            }
            _ => operator.invalid(errors, "not a valid selector operator"),
        }
        if requirement.at("key").text() == "metadata.name" {
            requirement.items("values").for_each(|value| value.follows(errors, names::dns1123_subdomain));
        } else {
            requirement.at("key").invalid(errors, "not a valid field selector key");
        }
    }
}

fn requirement_values(requirement: &At<'_>, errors: &mut FieldErrors) {
    let (operator, values) = (requirement.at("operator"), requirement.at("values"));
    match (operator.text(), requirement.items("values").count()) {
        ("In" | "NotIn", 0) => values.required(errors, "must be specified when `operator` is 'In' or 'NotIn'"),
        ("In" | "NotIn", _) | ("Exists" | "DoesNotExist", 0) | ("Gt" | "Lt", 1) => {}
        ("Exists" | "DoesNotExist", _) => {
            values.forbidden(errors, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        ("Gt" | "Lt", _) => {
            values.required(errors, "must be specified single value when `operator` is 'Lt' or 'Gt'");
        }
        _ => operator.invalid(errors, "not a valid selector operator"),
    }
}

fn pod_term(term: &At<'_>, errors: &mut FieldErrors) {
    label_selector(&term.at("labelSelector"), errors);
    label_selector(&term.at("namespaceSelector"), errors);
    term.items("namespaces").for_each(|name| name.follows(errors, names::dns1123_label));
    let key = term.at("topologyKey");
    if key.text().is_empty() {
        key.required(errors, "can not be empty");
    }
    key.follows(errors, names::qualified_name);
    label_keys(term, errors);
}

/// Keys whose values are taken from the pod: they need a selector to be added to, which does not have them yet.
fn label_keys(term: &At<'_>, errors: &mut FieldErrors) {
    let selector = term.at("labelSelector");
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        if term.items(field).next().is_none() {
            continue;
        }
        if !selector.is_set() {
            term.at(field).forbidden(errors, "must not be specified when labelSelector is not set");
            continue;
        }
        term.items(field).for_each(|key| key.follows(errors, names::qualified_name));
    }
    let matched: Vec<&str> = term.items("matchLabelKeys").map(|key| key.text()).collect();
    let mut selected: HashSet<&str> = selector.entries("matchLabels").map(|(key, _)| key).collect();
    for expression in selector.items("matchExpressions") {
        let key = expression.at("key").text();
        // The server itself adds an expression for each key: a second one is somebody else's.
        if let Some(index) = matched.iter().position(|found| *found == key).filter(|_| selected.contains(key)) {
            let path = term.path.index(index);
            errors.push(FieldError::invalid(&path, key, "exists in both matchLabelKeys and labelSelector"));
        }
        selected.insert(key);
    }
    for key in term.items("matchLabelKeys") {
        if term.items("mismatchLabelKeys").any(|other| other.text() == key.text()) {
            key.invalid(errors, "exists in both matchLabelKeys and mismatchLabelKeys");
        }
    }
}

fn spreading(spec: &At<'_>, errors: &mut FieldErrors) {
    let constraints: Vec<At<'_>> = spec.items("topologySpreadConstraints").collect();
    let kind = |constraint: &At<'_>| {
        (
            read::text(constraint.value, "topologyKey").to_string(),
            read::text(constraint.value, "whenUnsatisfiable").to_string(),
        )
    };
    for (index, constraint) in constraints.iter().enumerate() {
        if constraint.at("maxSkew").int().unwrap_or_default() <= 0 {
            let skew = constraint.at("maxSkew");
            errors.push(FieldError::invalid(&skew.path, skew.int().unwrap_or_default(), "must be greater than zero"));
        }
        let (key, when) = (constraint.at("topologyKey"), constraint.at("whenUnsatisfiable"));
        if key.text().is_empty() {
            key.required(errors, "can not be empty");
        }
        if when.text().is_empty() {
            errors.push(FieldError::not_supported(&when.path, "", &["DoNotSchedule", "ScheduleAnyway"]));
        }
        if constraints[index + 1..].iter().any(|later| kind(later) == kind(constraint)) {
            let pair = format!("{{{}, {}}}", key.text(), when.text());
            let path = constraint.path.child("{topologyKey, whenUnsatisfiable}");
            errors.push(FieldError::duplicate(&path, pair));
        }
        let domains = constraint.at("minDomains");
        if domains.int().is_some_and(|count| count <= 0) {
            domains.invalid(errors, "must be greater than zero");
        }
        if domains.is_set() && when.text() != "DoNotSchedule" {
            let wrong = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}", when.text());
            domains.invalid(errors, wrong);
        }
        spread_keys(constraint, errors);
        label_selector(&constraint.at("labelSelector"), errors);
    }
}

fn spread_keys(constraint: &At<'_>, errors: &mut FieldErrors) {
    let selector = constraint.at("labelSelector");
    let keys: Vec<At<'_>> = constraint.items("matchLabelKeys").collect();
    if !keys.is_empty() && !selector.is_set() {
        let wrong = "must not be specified when labelSelector is not set";
        constraint.at("matchLabelKeys").forbidden(errors, wrong);
    }
    for key in keys {
        key.follows(errors, names::qualified_name);
        let is_selected = selector.entries("matchLabels").any(|(label, _)| label == key.text())
            || selector.items("matchExpressions").any(|expression| expression.at("key").text() == key.text());
        if is_selected {
            key.invalid(errors, "exists in both matchLabelKeys and labelSelector");
        }
    }
}
