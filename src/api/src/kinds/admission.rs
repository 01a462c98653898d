//! Webhook configurations and admission policies: stored and served.

use serde_json::Value;

use super::simple::Simple;
use crate::read;
use crate::table::{age, age_column, column, name, name_column, text};

const UNSET: &str = "<unset>";

/// The behaviour of MutatingWebhookConfigurations and ValidatingWebhookConfigurations.
pub static WEBHOOKS: Simple = Simple {
    columns: &[name_column(), column("Webhooks", "integer", "How many webhooks it has."), age_column()],
    cells: |object, now| vec![name(object), read::list(object, "webhooks").len().into(), age(object, now)],
    has_generation: true,
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
    ..Simple::PLAIN
};

/// The behaviour of bindings of admission policies.
pub static POLICY_BINDING: Simple = Simple {
    columns: &[
        name_column(),
        text("PolicyName", "The policy that is put to use."),
        text("ParamRef", "The parameters it is given."),
        age_column(),
    ],
    cells: |object, now| {
        vec![name(object), read::text(object, "spec.policyName").into(), param_ref(object), age(object, now)]
    },
    has_generation: true,
    ..Simple::PLAIN
};

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
