//! What is wrong with the expressions of a policy, before any request is seen.

use cel::{Env, Type};
use machinery::field::FieldErrors;
use serde_json::Value;

use super::{env, mutate, param_kind};
use crate::check::At;

/// So many errors are enough to mend.
const ERRORS_MAX: usize = 100;

/// What does not compile in a ValidatingAdmissionPolicy. Expressions that are missing are others' matter.
pub(crate) fn validating(policy: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(policy).at("spec");
    let env = common(&spec, &mut errors);
    let message_env = env::message(&env);
    for validation in spec.items("validations") {
        expression(&validation.at("expression"), &env, &[Type::Bool], &mut errors);
        expression(&validation.at("messageExpression"), &message_env, &[Type::String], &mut errors);
    }
    for annotation in spec.items("auditAnnotations") {
        expression(&annotation.at("valueExpression"), &env, &[Type::String, Type::Null], &mut errors);
    }
    errors
}

/// What does not compile in a MutatingAdmissionPolicy.
pub(crate) fn mutating(policy: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(policy).at("spec");
    let env = mutate::env(common(&spec, &mut errors));
    for mutation in spec.items("mutations") {
        if let Some((_, field, type_)) = mutate::Form::of(mutation.at("patchType").text()) {
            expression(&mutation.at(field).at("expression"), &env, std::slice::from_ref(type_), &mut errors);
        }
    }
    errors
}

/// What does not compile of conditions and variables; the environment is for the rest.
fn common(spec: &At<'_>, errors: &mut FieldErrors) -> Env {
    let base = env::base(param_kind(spec.value).is_some(), true);
    for condition in spec.items("matchConditions") {
        expression(&condition.at("expression"), &base, &[Type::Bool], errors);
    }
    let mut composed = env::Composed::new(base);
    for variable in spec.items("variables") {
        let text = variable.at("expression");
        let compiled = composed.add(variable.at("name").text(), text.text());
        if let Some(wrong) = compiled.err().filter(|_| !text.text().trim().is_empty() && errors.len() < ERRORS_MAX) {
            text.invalid(errors, wrong);
        }
    }
    composed.env
}

fn expression(at: &At<'_>, env: &Env, types: &[Type], errors: &mut FieldErrors) {
    if at.text().trim().is_empty() || errors.len() >= ERRORS_MAX {
        return;
    }
    if let Err(wrong) = env::compile(env, at.text(), types) {
        at.invalid(errors, wrong);
    }
}
