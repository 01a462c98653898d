//! Tolerations, affinity and spreading.

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors};
use machinery::names;

use crate::check::{At, label_selector};

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
        node_selector_term(&preferred.at("preference"), errors);
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
            errors.push(FieldError::invalid(&operator.path, toleration.value.clone(), wrong));
        }
        "" | "Equal" => value.optional_name(errors, names::label_value),
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
    selector.items("nodeSelectorTerms").for_each(|term| node_selector_term(&term, errors));
}

fn node_selector_term(term: &At<'_>, errors: &mut FieldErrors) {
    for requirement in term.items("matchExpressions") {
        requirement_values(&requirement, errors);
        requirement.at("key").follows(errors, names::qualified_name);
        for value in requirement.items("values") {
            value.follows(errors, names::label_value);
        }
    }
    for requirement in term.items("matchFields") {
        requirement_values(&requirement, errors);
        if requirement.at("key").text() != "metadata.name" {
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
    } else {
        key.follows(errors, names::qualified_name);
    }
}

fn spreading(spec: &At<'_>, errors: &mut FieldErrors) {
    let mut seen = HashSet::new();
    for constraint in spec.items("topologySpreadConstraints") {
        if constraint.at("maxSkew").int().unwrap_or_default() <= 0 {
            constraint.at("maxSkew").invalid(errors, "must be greater than zero");
        }
        let key = constraint.at("topologyKey");
        if key.text().is_empty() {
            key.required(errors, "can not be empty");
        } else {
            key.follows(errors, names::qualified_name);
        }
        let when = constraint.at("whenUnsatisfiable");
        if when.text().is_empty() {
            when.not_supported(errors, &["DoNotSchedule", "ScheduleAnyway"]);
        }
        if !seen.insert((key.text(), when.text())) {
            let pair = format!("{{{}, {}}}", key.text(), when.text());
            let path = constraint.path.child("{topologyKey, whenUnsatisfiable}");
            errors.push(FieldError::duplicate(&path, pair));
        }
        let domains = constraint.at("minDomains");
        if domains.int().is_some_and(|count| count <= 0) {
            domains.invalid(errors, "must be greater than zero");
        } else if domains.is_set() && when.text() != "DoNotSchedule" {
            let wrong = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}", when.text());
            domains.invalid(errors, wrong);
        }
        label_selector(&constraint.at("labelSelector"), errors);
    }
}
