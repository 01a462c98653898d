//! What admission policies and their bindings may be, but for what their expressions say, which `crate::policy::check`
//! knows.

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors};
use machinery::names;
use serde_json::Value;

use super::matching;
use crate::check::{At, label_selector};
use crate::read;

/// Why a policy can refuse.
const REASONS: [&str; 4] = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
/// What a binding can do with a violation.
const ACTIONS: [&str; 3] = ["Audit", "Deny", "Warn"];
/// What a binding does where its parameters are missing.
const NOT_FOUND: [&str; 2] = ["Allow", "Deny"];
const AUDIT_ANNOTATIONS_MAX: usize = 20;

/// Everything that is wrong with a ValidatingAdmissionPolicy.
pub(super) fn validating(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    common(&spec, &mut errors);
    let (validations, annotations) = (spec.at("validations"), spec.at("auditAnnotations"));
    if read::list(spec.value, "validations").is_empty() && read::list(spec.value, "auditAnnotations").is_empty() {
        for list in [validations, annotations] {
            list.required(&mut errors, "validations or auditAnnotations must contain at least one item");
        }
    }
    spec.items("validations").for_each(|validation| self::validation(&validation, &mut errors));
    audit_annotations(&spec, &mut errors);
    errors
}

/// Everything that is wrong with a MutatingAdmissionPolicy.
pub(super) fn mutating(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    common(&spec, &mut errors);
    let rules = spec.at("matchConstraints");
    for operation in rules.items("resourceRules").flat_map(|rule| rule.items("operations").collect::<Vec<_>>()) {
        // There is nothing to change in what goes.
        if operation.text() == "DELETE" {
            operation.not_supported(&mut errors, &["*", "CONNECT", "CREATE", "UPDATE"]);
        }
    }
    let policy = spec.at("reinvocationPolicy");
    match policy.text() {
        "" => policy.required(&mut errors, ""),
        "Never" | "IfNeeded" => {}
        _ => policy.not_supported(&mut errors, &["IfNeeded", "Never"]),
    }
    if spec.items("mutations").next().is_none() {
        spec.at("mutations").required(&mut errors, "mutations must contain at least one item");
    }
    for mutation in spec.items("mutations") {
        let type_ = mutation.at("patchType");
        let (own, other) = match type_.text() {
            "ApplyConfiguration" => ("applyConfiguration", "jsonPatch"),
            "JSONPatch" => ("jsonPatch", "applyConfiguration"),
            "" => {
                type_.required(&mut errors, "");
                continue;
            }
            _ => {
                type_.not_supported(&mut errors, &["ApplyConfiguration", "JSONPatch"]);
                continue;
            }
        };
        if mutation.at(own).at("expression").text().trim().is_empty() {
            mutation.at(own).at("expression").required(&mut errors, "expression is not specified");
        }
        if mutation.at(other).is_set() {
            mutation.at(other).forbidden(&mut errors, &format!("must not be set when patchType is {}", type_.text()));
        }
    }
    errors
}

/// What both kinds of policy have.
fn common(spec: &At<'_>, errors: &mut FieldErrors) {
    let parameters = spec.at("paramKind");
    if parameters.is_set() {
        let version = parameters.at("apiVersion");
        if version.require_text(errors).is_some()
            && machinery::gvk::GroupVersion::parse(version.text()).is_none_or(|found| found.version.is_empty())
        {
            version.invalid(errors, "must be a group and version, such as \"apps/v1\"");
        }
        parameters.at("kind").require_text(errors);
    }
    let constraints = spec.at("matchConstraints");
    if !constraints.is_set() {
        constraints.required(errors, "");
    } else {
        if constraints.items("resourceRules").next().is_none() {
            constraints.at("resourceRules").required(errors, "");
        }
        resources(&constraints, errors);
    }
    matching::conditions(spec, errors);
    let mut seen = HashSet::new();
    for variable in spec.items("variables") {
        let name = variable.at("name");
        if name.require_text(errors).is_some() {
            name.follows(errors, names::c_identifier);
            if !seen.insert(name.text()) {
                name.duplicate(errors);
            }
        }
        if variable.at("expression").text().trim().is_empty() {
            variable.at("expression").required(errors, "expression is not specified");
        }
    }
}

/// The resources that a policy or binding is for.
fn resources(matched: &At<'_>, errors: &mut FieldErrors) {
    label_selector(&matched.at("namespaceSelector"), errors);
    label_selector(&matched.at("objectSelector"), errors);
    for rule in ["resourceRules", "excludeResourceRules"].into_iter().flat_map(|list| matched.items(list)) {
        matching::rule(&rule, errors);
        let mut seen = HashSet::new();
        for name in rule.items("resourceNames") {
            if !seen.insert(name.text()) {
                name.duplicate(errors);
            }
        }
    }
}

fn validation(validation: &At<'_>, errors: &mut FieldErrors) {
    let (expression, message) = (validation.at("expression"), validation.at("message"));
    if expression.text().trim().is_empty() {
        expression.required(errors, "expression is not specified");
    }
    if validation.at("messageExpression").is_set() && validation.at("messageExpression").text().trim().is_empty() {
        validation.at("messageExpression").invalid(errors, "must be non-empty if specified");
    }
    if message.is_set() && message.text().trim().is_empty() {
        message.invalid(errors, "message must be non-empty if specified");
    } else if message.text().contains('\n') {
        message.invalid(errors, "message must not contain line breaks");
    } else if message.text().is_empty() && expression.text().contains('\n') {
        message.required(errors, "message must be specified if expression contains line breaks");
    }
    let reason = validation.at("reason");
    if !reason.text().is_empty() && !REASONS.contains(&reason.text()) {
        reason.not_supported(errors, &REASONS);
    }
}

fn audit_annotations(spec: &At<'_>, errors: &mut FieldErrors) {
    if spec.items("auditAnnotations").count() > AUDIT_ANNOTATIONS_MAX {
        errors.push(matching::too_many(&spec.at("auditAnnotations").path, AUDIT_ANNOTATIONS_MAX));
    }
    let mut seen = HashSet::new();
    for annotation in spec.items("auditAnnotations") {
        let key = annotation.at("key");
        if key.require_text(errors).is_some() {
            key.follows(errors, names::qualified_name);
            if !seen.insert(key.text()) {
                key.duplicate(errors);
            }
        }
        if annotation.at("valueExpression").text().trim().is_empty() {
            annotation.at("valueExpression").required(errors, "valueExpression is not specified");
        }
    }
}

/// Everything that is wrong with a binding of either kind of policy.
pub(super) fn binding(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    spec.at("policyName").require_name(&mut errors, names::dns1123_subdomain);
    let parameters = spec.at("paramRef");
    if parameters.is_set() {
        match (parameters.at("name").text().is_empty(), parameters.at("selector").is_set()) {
            (true, false) => parameters.required(&mut errors, "one of name or selector must be specified"),
            (false, true) => {
                let wrong = "name and selector are mutually exclusive";
                parameters.at("name").forbidden(&mut errors, wrong);
                parameters.at("selector").forbidden(&mut errors, wrong);
            }
            _ => label_selector(&parameters.at("selector"), &mut errors),
        }
        let missing = parameters.at("parameterNotFoundAction");
        if missing.require_text(&mut errors).is_some_and(|action| !NOT_FOUND.contains(&action)) {
            missing.not_supported(&mut errors, &["Deny", "Allow"]);
        }
    }
    resources(&spec.at("matchResources"), &mut errors);
    errors
}

/// What is wrong with the actions of a ValidatingAdmissionPolicyBinding, beside all else.
pub(super) fn validating_binding(object: &Value) -> FieldErrors {
    let mut errors = binding(object);
    let spec = At::root(object).at("spec");
    let actions: Vec<At<'_>> = spec.items("validationActions").collect();
    if actions.is_empty() {
        spec.at("validationActions").required(&mut errors, "at least one validation action is required");
    }
    for (index, action) in actions.iter().enumerate() {
        if !ACTIONS.contains(&action.text()) {
            action.not_supported(&mut errors, &ACTIONS);
        }
        if actions[..index].iter().any(|earlier| earlier.text() == action.text()) {
            action.duplicate(&mut errors);
        }
    }
    let has = |name: &str| actions.iter().any(|action| action.text() == name);
    if has("Deny") && has("Warn") {
        let list = spec.at("validationActions");
        let wrong = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                     response and headers serves no purpose)";
        errors.push(FieldError::invalid(&list.path, list.value.clone(), wrong));
    }
    errors
}
