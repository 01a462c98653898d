//! Webhook configurations and admission policies: checked, stored and served. Expressions are `crate::policy`'s.

pub(in crate::kinds) mod matching;
mod policies;
pub(in crate::kinds) mod webhooks;

use machinery::field::FieldErrors;

use serde_json::Value;

use super::simple::Simple;
use crate::policy;
use crate::read;
use crate::resource::Column;
use crate::table::{age, age_column, column, name, name_column, text};

const UNSET: &str = "<unset>";

/// The behaviour of MutatingWebhookConfigurations and ValidatingWebhookConfigurations.
pub static WEBHOOKS: Simple = Simple {
    columns: &[name_column(), column("Webhooks", "integer", "How many webhooks it has."), age_column()],
    cells: |object, now| vec![name(object), read::list(object, "webhooks").len().into(), age(object, now)],
    has_generation: true,
    validate: webhooks::validate,
    validate_new: policy::webhook::check,
    validate_update: policy::webhook::check_changed,
    ..Simple::PLAIN
};

/// The behaviour of ValidatingAdmissionPolicies.
pub static VALIDATING_POLICY: Simple = Simple {
    columns: &[
        name_column(),
        column("Validations", "integer", "How many expressions it has."),
        text("ParamKind", "The kind of its parameters."),
        age_column(),
    ],
    cells: |object, now| {
        vec![name(object), read::list(object, "spec.validations").len().into(), param_kind(object), age(object, now)]
    },
    has_generation: true,
    validate: policies::validating,
    validate_new: policy::check::validating,
    validate_update: |object, old| match read::same(read::at(object, "spec"), read::at(old, "spec")) {
        true => FieldErrors::new(),
        false => policy::check::validating(object),
    },
    ..Simple::PLAIN
};

/// The behaviour of MutatingAdmissionPolicies.
pub static MUTATING_POLICY: Simple = Simple {
    columns: &[
        name_column(),
        column("Mutations", "integer", "How many mutations it has."),
        text("ParamKind", "The kind of its parameters."),
        age_column(),
    ],
    cells: |object, now| {
        vec![name(object), read::list(object, "spec.mutations").len().into(), param_kind(object), age(object, now)]
    },
    has_generation: true,
    validate: policies::mutating,
    validate_new: policy::check::mutating,
    validate_update: |object, old| match read::same(read::at(object, "spec"), read::at(old, "spec")) {
        true => FieldErrors::new(),
        false => policy::check::mutating(object),
    },
    ..Simple::PLAIN
};

/// The behaviour of bindings of validating policies.
pub static VALIDATING_BINDING: Simple = Simple { validate: policies::validating_binding, ..MUTATING_BINDING };

/// The behaviour of bindings of mutating policies.
pub static MUTATING_BINDING: Simple = Simple {
    columns: BINDING_COLUMNS,
    cells: |object, now| {
        vec![name(object), read::text(object, "spec.policyName").into(), param_ref(object), age(object, now)]
    },
    has_generation: true,
    validate: policies::binding,
    ..Simple::PLAIN
};

const BINDING_COLUMNS: &[Column] = &[
    name_column(),
    text("PolicyName", "The policy that is put to use."),
    text("ParamRef", "The parameters it is given."),
    age_column(),
];

fn param_kind(object: &Value) -> Value {
    let kind = read::at(object, "spec.paramKind");
    if kind.is_null() {
        return UNSET.into();
    }
    format!("{}/{}", read::text(kind, "apiVersion"), read::text(kind, "kind")).into()
}

fn param_ref(object: &Value) -> Value {
    let parameters = read::at(object, "spec.paramRef");
    match (parameters.is_null(), read::text(parameters, "namespace"), read::text(parameters, "name")) {
        (true, _, _) => UNSET.into(),
        (false, _, "") => crate::table::selector(read::at(parameters, "selector")).into(),
        (false, "", name) => name.into(),
        (false, namespace, name) => format!("{namespace}/{name}").into(),
    }
}
