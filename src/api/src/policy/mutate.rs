//! What a mutating policy makes of a request's object, one mutation after the other: each sees what the ones before it
//! have made, so that whoever carries them out evaluates them one by one.

use std::sync::{Arc, LazyLock};

use cel::{Env, OBJECT_COST_LIMIT, ObjectType, Type, Value};
use serde_json::Value as Json;

use super::scope::{Failure, OUT_OF_BUDGET, Scope};
use super::{Common, Expression, Input};
use crate::read;

/// A MutatingAdmissionPolicy.
#[derive(Debug)]
pub struct MutatingPolicy {
    /// What all policies have.
    pub common: Common,
    /// It is asked again where others have changed the object since.
    pub is_reinvoked: bool,
    mutations: Vec<(Form, Expression)>,
}

/// How a change is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The fields that shall be so: `Object{...}`.
    ApplyConfiguration,
    /// Operations of RFC 6902: `[JSONPatch{...}]`.
    JsonPatch,
}

impl Form {
    /// The field of a mutation that has the expression, and what it must evaluate to.
    pub(super) fn of(patch_type: &str) -> Option<(Self, &'static str, &'static Type)> {
        match patch_type {
            "ApplyConfiguration" => Some((Self::ApplyConfiguration, "applyConfiguration", &*OBJECT)),
            "JSONPatch" => Some((Self::JsonPatch, "jsonPatch", &*PATCH)),
            _ => None,
        }
    }
}

static OBJECT: LazyLock<Type> = LazyLock::new(|| {
    Type::Object(Arc::new(ObjectType {
        name: "Object".into(),
        fields: std::collections::BTreeMap::new(),
        is_open: true,
    }))
});
static PATCH: LazyLock<Type> = LazyLock::new(|| {
    let text = || Type::String;
    let fields = [("op", text()), ("path", text()), ("from", text()), ("value", Type::Dyn)];
    Type::list(Type::object("JSONPatch", fields))
});

/// What mutations may refer to.
pub(super) fn env(env: Env) -> Env {
    env.with_mutations()
}

impl MutatingPolicy {
    /// Compiles a policy.
    pub fn read(policy: &Json) -> Self {
        let (common, env) = Common::read(policy);
        let env = self::env(env);
        let mutations = read::list(policy, "spec.mutations").iter().filter_map(|mutation| {
            let (form, field, type_) = Form::of(read::text(mutation, "patchType"))?;
            let text = read::text(read::at(mutation, field), "expression");
            Some((form, Expression::new(&env, text, std::slice::from_ref(type_))))
        });
        Self {
            mutations: mutations.collect(),
            is_reinvoked: read::text(policy, "spec.reinvocationPolicy") == "IfNeeded",
            common,
        }
    }

    /// How many mutations there are.
    pub fn len(&self) -> usize {
        self.mutations.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.mutations.is_empty()
    }

    /// Whether the policy's conditions hold.
    ///
    /// # Errors
    /// What could not be evaluated, where that refuses the request.
    pub fn is_met(&self, input: &Input<'_>) -> Result<bool, String> {
        self.common.is_met(&Scope::new(&self.common, input))
    }

    /// The change that a mutation asks for.
    ///
    /// # Errors
    /// What could not be evaluated.
    pub fn change(&self, index: usize, input: &Input<'_>) -> Result<(Form, Json), String> {
        let Some((form, expression)) = self.mutations.get(index) else {
            return Err(format!("there is no mutation {index}"));
        };
        let scope = Scope::new(&self.common, input);
        scope.set_budget(OBJECT_COST_LIMIT);
        let value: Value<'_> = scope.eval(expression).map_err(|failure| match failure {
            Failure::Expression(error) => error,
            Failure::Budget => OUT_OF_BUDGET.to_string(),
        })?;
        let json = value.to_json();
        json.map(|json| (*form, json))
            .map_err(|error| format!("expression '{}' resulted in error: {error}", expression.text))
    }
}
