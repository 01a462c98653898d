//! One evaluation of a policy's expressions: its variables, each evaluated when it is first asked for, and what may
//! still be spent.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use cel::{Activation, EvalError, PER_CALL_COST_LIMIT, Value};

use super::{Common, Expression, Input, env};

/// Why an expression has no value.
pub(super) enum Failure {
    /// Its own.
    Expression(String),
    /// All that may be spent has been: nothing more is evaluated.
    Budget,
}

pub(super) const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// The variables of a policy for one request and one set of parameters.
pub(super) struct Scope<'s, 'a> {
    common: &'s Common,
    input: &'a Input<'a>,
    known: RefCell<BTreeMap<usize, Result<Value<'a>, EvalError>>>,
    /// What evaluating variables has cost since it was last asked.
    spent: Cell<u64>,
    budget: Cell<u64>,
}

impl<'s, 'a> Scope<'s, 'a> {
    pub fn new(common: &'s Common, input: &'a Input<'a>) -> Self {
        Self { common, input, known: RefCell::default(), spent: Cell::new(0), budget: Cell::new(0) }
    }

    /// From now on so much may be spent.
    pub fn set_budget(&self, budget: u64) {
        self.budget.set(budget);
    }

    /// The value of an expression.
    pub fn eval(&self, expression: &Expression) -> Result<Value<'a>, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::Expression(format!("expression '{}' resulted in error: {error}", expression.text))
        };
        let program = expression.program.as_ref().map_err(|error| failed(error))?;
        let outcome = program.eval(self, PER_CALL_COST_LIMIT);
        let cost = outcome.cost.saturating_add(self.spent.take());
        let left = self.budget.get().checked_sub(cost);
        self.budget.set(left.unwrap_or(0));
        match (left, outcome.result) {
            (None, _) => Err(Failure::Budget),
            (_, Ok(value)) => Ok(value),
            (_, Err(error)) => Err(failed(&error)),
        }
    }

    fn variable(&self, place: usize) -> Option<Result<Value<'a>, EvalError>> {
        if let Some(known) = self.known.borrow().get(&place) {
            return Some(known.clone());
        }
        let (name, expression) = self.common.variables.get(place)?;
        let result = match &expression.program {
            Ok(program) => {
                let outcome = program.eval(self, PER_CALL_COST_LIMIT);
                self.spent.set(self.spent.get().saturating_add(outcome.cost));
                outcome.result.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.clone()),
        };
        let result =
            result.map_err(|error| EvalError::new(format!("composited variable {name:?} fails to evaluate: {error}")));
        self.known.borrow_mut().insert(place, result.clone());
        Some(result)
    }

    fn authorizer(&self) -> Arc<dyn cel::Authorizer> {
        self.input.answers.clone()
    }
}

impl<'a> Activation<'a> for Scope<'_, 'a> {
    fn resolve(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        Some(Ok(match name {
            "object" => Value::from_json(self.input.object),
            "oldObject" => Value::from_json(self.input.old_object),
            "request" => Value::from_json(self.input.request),
            "params" => Value::from_json(self.input.params),
            "namespaceObject" => return Some(Value::typed(self.input.namespace, &env::NAMESPACE)),
            "authorizer" => Value::authorizer(self.authorizer()),
            "authorizer.requestResource" => {
                Value::request_resource(self.authorizer(), self.input.request_resource.clone())
            }
            variable => return self.variable(*self.common.places.get(variable)?),
        }))
    }
}
