//! What webhooks and policies have in common: the requests they are for, and the conditions of their being asked.

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors, Path, Reason};
use machinery::names;

use crate::check::At;

/// What requests can do.
const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
/// How many conditions one webhook or policy may have.
const CONDITIONS_MAX: usize = 64;

/// A rule: operations, groups, versions and resources, none of them empty.
pub(super) fn rule(rule: &At<'_>, errors: &mut FieldErrors) {
    all_or_some(rule, "operations", "operations", errors);
    for operation in rule.items("operations").filter(|operation| !OPERATIONS.contains(&operation.text())) {
        operation.not_supported(errors, &OPERATIONS);
    }
    all_or_some(rule, "apiGroups", "API groups", errors);
    all_or_some(rule, "apiVersions", "API versions", errors);
    for version in rule.items("apiVersions").filter(|version| version.text().is_empty()) {
        version.required(errors, "");
    }
    resources(rule, errors);
}

/// A list that is not empty and has nothing beside a star.
fn all_or_some(rule: &At<'_>, field: &str, called: &str, errors: &mut FieldErrors) {
    let values: Vec<At<'_>> = rule.items(field).collect();
    if values.is_empty() {
        rule.at(field).required(errors, "");
    } else if values.len() > 1 && values.iter().any(|value| value.text() == "*") {
        rule.at(field).invalid(errors, format!("if '*' is present, must not specify other {called}"));
    }
}

/// Resources with their subresources: none is named beside a star that stands for it.
fn resources(rule: &At<'_>, errors: &mut FieldErrors) {
    let all: Vec<At<'_>> = rule.items("resources").collect();
    let list = rule.at("resources");
    if all.is_empty() {
        list.required(errors, "");
    }
    let (mut with_every_subresource, mut subresources_of_every) = (HashSet::new(), HashSet::new());
    for resource in &all {
        match resource.text().split_once('/') {
            _ if resource.text().is_empty() => resource.required(errors, ""),
            Some(("*", "*")) if all.len() > 1 => {
                list.invalid(errors, "if '*/*' is present, must not specify other resources");
            }
            Some((name, "*")) => drop(with_every_subresource.insert(name)),
            Some(("*", part)) => drop(subresources_of_every.insert(part)),
            _ => {}
        }
    }
    for resource in &all {
        let Some((name, part)) = resource.text().split_once('/') else {
            if resource.text() == "*" && all.iter().any(|other| other.text() != "*" && !other.text().contains('/')) {
                list.invalid(errors, "if '*' is present, must not specify other resources without subresources");
            }
            continue;
        };
        if part != "*" && with_every_subresource.contains(name) {
            resource.invalid(errors, format!("if '{name}/*' is present, must not specify {}", resource.text()));
        }
        if name != "*" && subresources_of_every.contains(part) {
            resource.invalid(errors, format!("if '*/{part}' is present, must not specify {}", resource.text()));
        }
    }
}

/// Conditions: each with a name of its own and an expression.
pub(super) fn conditions(of: &At<'_>, errors: &mut FieldErrors) {
    let list = of.at("matchConditions");
    let mut seen = HashSet::new();
    if of.items("matchConditions").count() > CONDITIONS_MAX {
        errors.push(too_many(&list.path, CONDITIONS_MAX));
    }
    for condition in of.items("matchConditions") {
        let name = condition.at("name");
        if name.require_text(errors).is_some() {
            name.follows(errors, names::qualified_name);
            if !seen.insert(name.text()) {
                name.duplicate(errors);
            }
        }
        if condition.at("expression").text().trim().is_empty() {
            condition.at("expression").required(errors, "");
        }
    }
}

pub(in crate::kinds) fn too_many(path: &Path, most: usize) -> FieldError {
    FieldError {
        path: path.clone(),
        reason: Reason::TooMany,
        value: serde_json::Value::Null,
        detail: format!("must have at most {most} items"),
    }
}
