//! Admission policies, compiled: which requests they are for ([`matching`]), what their expressions may refer to
//! (`env`), what is wrong with them ([`check`]), what validating ones say of a request
//! ([`ValidatingPolicy::validate`]) and what mutating ones make of it ([`MutatingPolicy::change`]).
//!
//! Pure: parameters, namespaces and answers of the authorizer are passed in. A question to the authorizer that has no
//! answer yet is noted in [`Answers`]; whoever evaluates finds the answer and evaluates again.

mod answers;
pub(crate) mod check;
mod env;
pub mod matching;
mod mutate;
mod scope;
pub mod typing;
mod validate;
pub(crate) mod webhook;

use std::collections::BTreeMap;

use cel::{Env, Program, Type};
use machinery::gvk::GroupVersion;
use serde_json::Value;

use crate::read;
use matching::{Constraints, Selects};

pub use answers::Answers;
pub use env::user_info;
pub use mutate::{Form, MutatingPolicy};
pub use validate::{Annotation, Denial, Verdict};
pub use webhook::Webhook;

/// What an evaluation is about. Objects that are not there are `null`.
pub struct Input<'a> {
    /// The object of the request, in the version that the policy is for.
    pub object: &'a Value,
    /// The object before.
    pub old_object: &'a Value,
    /// The AdmissionRequest, without the objects.
    pub request: &'a Value,
    /// The namespace of a namespaced object.
    pub namespace: &'a Value,
    /// The parameters.
    pub params: &'a Value,
    /// The resource of the request, as the authorizer would be asked for it.
    pub request_resource: &'a cel::Attributes,
    /// What the authorizer has said.
    pub answers: &'a std::sync::Arc<Answers>,
}

/// A kind as policies name it: that of their parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamKind {
    /// Group and version.
    pub group_version: GroupVersion,
    /// `ConfigMap`.
    pub kind: String,
}

/// An expression, and what it compiled to. A failure is the expression's result whenever it is evaluated.
#[derive(Debug)]
struct Expression {
    text: String,
    program: Result<Program, String>,
}

impl Expression {
    fn new(env: &Env, text: &str, types: &[Type]) -> Self {
        Self { text: text.trim().to_string(), program: env::compile(env, text, types) }
    }
}

/// What every kind of policy has.
#[derive(Debug)]
pub struct Common {
    /// Its name.
    pub name: String,
    /// Where an expression fails, the request goes on.
    pub ignores_failures: bool,
    /// The kind of its parameters.
    pub param_kind: Option<ParamKind>,
    /// The requests that it is for.
    pub constraints: Constraints,
    conditions: Vec<(String, Expression)>,
    variables: Vec<(String, Expression)>,
    /// The place of a variable among them, by `variables.NAME`.
    places: BTreeMap<String, usize>,
}

impl Common {
    /// Reads a policy and compiles its conditions and variables; the environment is for the rest.
    fn read(policy: &Value) -> (Self, Env) {
        let spec = read::at(policy, "spec");
        let param_kind = param_kind(spec);
        let base = env::base(param_kind.is_some(), true);
        let expression = |env: &Env, item: &Value, types: &[Type]| {
            (read::text(item, "name").to_string(), Expression::new(env, read::text(item, "expression"), types))
        };
        let conditions = read::list(spec, "matchConditions");
        let mut common = Self {
            name: machinery::meta::name(policy).to_string(),
            ignores_failures: read::text(spec, "failurePolicy") == "Ignore",
            param_kind,
            constraints: Constraints::read(read::at(spec, "matchConstraints")),
            conditions: conditions.iter().map(|item| expression(&base, item, &[Type::Bool])).collect(),
            variables: Vec::new(),
            places: BTreeMap::new(),
        };
        let mut composed = env::Composed::new(base);
        for item in read::list(spec, "variables") {
            let (name, text) = (read::text(item, "name").to_string(), read::text(item, "expression"));
            let compiled = Expression { text: text.trim().to_string(), program: composed.add(&name, text) };
            common.places.insert(format!("variables.{name}"), common.variables.len());
            common.variables.push((name, compiled));
        }
        (common, composed.env)
    }
}

/// A ValidatingAdmissionPolicy.
#[derive(Debug)]
pub struct ValidatingPolicy {
    /// What all policies have.
    pub common: Common,
    validations: Vec<Validation>,
    annotations: Vec<(String, Expression)>,
}

#[derive(Debug)]
struct Validation {
    expression: Expression,
    message: String,
    message_expression: Option<Expression>,
    /// `Invalid` and its like; empty where none is given.
    reason: String,
}

impl ValidatingPolicy {
    /// Compiles a policy.
    pub fn read(policy: &Value) -> Self {
        let (common, env) = Common::read(policy);
        let message_env = env::message(&env);
        let validations = read::list(policy, "spec.validations").iter().map(|item| {
            let message_expression = read::text(item, "messageExpression");
            Validation {
                expression: Expression::new(&env, read::text(item, "expression"), &[Type::Bool]),
                message: read::text(item, "message").trim().to_string(),
                message_expression: (!message_expression.is_empty())
                    .then(|| Expression::new(&message_env, message_expression, &[Type::String])),
                reason: read::text(item, "reason").to_string(),
            }
        });
        let validations = validations.collect();
        let annotations = read::list(policy, "spec.auditAnnotations").iter().map(|item| {
            let expression = Expression::new(&env, read::text(item, "valueExpression"), &[Type::String, Type::Null]);
            (read::text(item, "key").to_string(), expression)
        });
        Self { annotations: annotations.collect(), validations, common }
    }
}

fn param_kind(spec: &Value) -> Option<ParamKind> {
    let kind = spec.get("paramKind").filter(|kind| kind.is_object())?;
    let group_version = GroupVersion::parse(read::text(kind, "apiVersion"))?;
    Some(ParamKind { group_version, kind: read::text(kind, "kind").to_string() })
}

/// Where a binding finds parameters.
#[derive(Debug)]
pub struct ParamRef {
    /// Their name; empty where a selector finds them.
    pub name: String,
    /// Their namespace; empty where it is the request's.
    pub namespace: String,
    /// Selects them where no name does.
    pub selector: Selects,
    /// Where there are none, the request is refused.
    pub denies_without: bool,
}

/// A binding of a policy of either kind.
#[derive(Debug)]
pub struct Binding {
    /// Its name.
    pub name: String,
    /// The policy's name.
    pub policy: String,
    /// The requests that it is for, among those of its policy.
    pub constraints: Option<Constraints>,
    /// Its parameters.
    pub param_ref: Option<ParamRef>,
    /// `Deny`, `Warn`, `Audit`; of validating policies.
    pub actions: Vec<String>,
}

impl Binding {
    /// Reads a binding.
    pub fn read(binding: &Value) -> Self {
        let spec = read::at(binding, "spec");
        let param_ref = spec.get("paramRef").filter(|found| found.is_object()).map(|found| ParamRef {
            name: read::text(found, "name").to_string(),
            namespace: read::text(found, "namespace").to_string(),
            selector: Selects::read(read::at(found, "selector")),
            denies_without: read::text(found, "parameterNotFoundAction") != "Allow",
        });
        let resources = spec.get("matchResources").filter(|found| found.is_object());
        Self {
            name: machinery::meta::name(binding).to_string(),
            policy: read::text(spec, "policyName").to_string(),
            constraints: resources.map(Constraints::read),
            param_ref,
            actions: read::texts(spec, "validationActions").map(str::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
