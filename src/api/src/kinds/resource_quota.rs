//! ResourceQuota.

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors};
use serde_json::Value;

use super::simple::Simple;
use crate::check::At;
use crate::podspec::{resource_names, resources};
use crate::read;
use crate::table::{age, age_column, name, name_column, text};

/// The behaviour of ResourceQuotas.
pub static RESOURCE_QUOTA: Simple = Simple {
    columns: &[
        name_column(),
        text("Request", "What is used and allowed of requests."),
        text("Limit", "What is used and allowed of limits."),
        age_column(),
    ],
    cells: |object, now| vec![name(object), usage(object, false), usage(object, true), age(object, now)],
    validate,
    validate_update,
    validate_status,
    ..Simple::PLAIN
};

fn usage(object: &Value, limits: bool) -> Value {
    let used = read::at(object, "status.used");
    let shown: Vec<String> = read::map(object, "status.hard")
        .iter()
        .filter(|(resource, _)| resource.starts_with("limits") == limits)
        .map(|(resource, hard)| {
            let used = used.get(resource).map(read::scalar).unwrap_or_else(|| "0".to_string());
            format!("{resource}: {used}/{}", read::scalar(hard))
        })
        .collect();
    shown.join(", ").into()
}

/// What a quota with this scope can limit; nothing is said of the names of extended resources.
const OF_BEST_EFFORT: [&str; 1] = ["pods"];
const OF_PODS: [&str; 7] = ["pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
const OF_CLAIMS: [&str; 2] = ["persistentvolumeclaims", "requests.storage"];
const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];
const CONFLICTS: [[&str; 2]; 2] = [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]];

fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    for (name, amount) in spec.entries("hard") {
        amount_of(name, &amount, &mut errors);
    }
    scopes(&spec, &mut errors);
    if spec.at("scopeSelector").is_set() {
        scope_selector(&spec, &mut errors);
    }
    errors
}

/// Whether a quota with this scope can limit the resource.
fn fits(scope: &str, resource: &str) -> bool {
    match scope {
        "BestEffort" => OF_BEST_EFFORT.contains(&resource),
        "VolumeAttributesClass" => OF_CLAIMS.contains(&resource),
        _ if SCOPES.contains(&scope) => OF_PODS.contains(&resource),
        _ => true,
    }
}

fn misfits(spec: &At<'_>, scope: &str) -> usize {
    let names = read::map(spec.value, "hard").keys();
    names.filter(|name| resource_names::is_of_quotas(name) && !fits(scope, name)).count()
}

fn conflict(seen: &[&str], at: &At<'_>, errors: &mut FieldErrors) {
    for _ in CONFLICTS.iter().filter(|pair| pair.iter().all(|scope| seen.contains(scope))) {
        at.invalid(errors, "conflicting scopes");
    }
}

fn scopes(spec: &At<'_>, errors: &mut FieldErrors) {
    let list = spec.at("scopes");
    let seen: Vec<&str> = read::texts(spec.value, "scopes").collect();
    for scope in &seen {
        if !SCOPES.contains(scope) {
            list.invalid(errors, "unsupported scope");
        }
        for _ in 0..misfits(spec, scope) {
            list.invalid(errors, "unsupported scope applied to resource");
        }
    }
    conflict(&seen, &list, errors);
}

fn scope_selector(spec: &At<'_>, errors: &mut FieldErrors) {
    let list = spec.at("scopeSelector.matchExpressions");
    let mut seen = Vec::new();
    for expression in spec.at("scopeSelector").items("matchExpressions") {
        let (scope, operator) = (expression.at("scopeName").text(), expression.at("operator").text());
        if !SCOPES.contains(&scope) {
            errors.push(FieldError::invalid(&list.at("scopeName").path, scope, "unsupported scope"));
        }
        for _ in 0..misfits(spec, scope) {
            let selector = spec.at("scopeSelector").value.clone();
            errors.push(FieldError::invalid(&list.path, selector, "unsupported scope applied to resource"));
        }
        let has_no_value = SCOPES.contains(&scope) && !matches!(scope, "PriorityClass" | "VolumeAttributesClass");
        let path = list.at("operator").path;
        if has_no_value && operator != "Exists" {
            let wrong = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, \
                         ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, \
                         ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
            errors.push(FieldError::invalid(&path, operator, wrong));
        }
        let values = expression.at("values");
        let has_values = expression.items("values").next().is_some();
        match (operator, has_values) {
            ("In" | "NotIn", false) => {
                let wrong = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                errors.push(FieldError::required(&list.at("values").path, wrong));
            }
            ("Exists" | "DoesNotExist", true) => {
                let wrong = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                errors.push(FieldError::invalid(&list.at("values").path, values.value.clone(), wrong));
            }
            ("In" | "NotIn" | "Exists" | "DoesNotExist", _) => {}
            _ => errors.push(FieldError::invalid(&path, operator, "not a valid selector operator")),
        }
        seen.push(scope);
    }
    conflict(&seen, &spec.at("scopes"), errors);
}

fn validate_update(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let scopes = |object: &'_ Value| read::texts(object, "spec.scopes").map(str::to_string).collect::<HashSet<_>>();
    if scopes(object) != scopes(old) {
        At::root(object).at("spec.scopes").invalid(&mut errors, "field is immutable");
    }
    errors
}

/// An amount of what a quota can be of.
fn amount_of(name: &str, amount: &At<'_>, errors: &mut FieldErrors) {
    resource_names::quota(name, amount, errors);
    resources::validate_amount(name, amount, errors);
}

fn validate_status(object: &Value, _old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let status = At::root(object).at("status");
    for field in ["hard", "used"] {
        for (name, amount) in status.entries(field) {
            amount_of(name, &amount, &mut errors);
        }
    }
    errors
}
