//! Compiled expressions, and running them.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::EvalError;
use crate::estimate::Range;
use crate::eval::{Meter, Scope, evaluate};
use crate::plan::Node;
use crate::types::Type;
use crate::value::Value;

/// A compiled expression: reusable, and to be shared between threads.
#[derive(Debug)]
pub struct Program {
    pub(crate) root: Node,
    pub(crate) result_type: Type,
    pub(crate) variables: BTreeSet<String>,
    pub(crate) estimated_cost: Range,
    pub(crate) height: usize,
}

/// Where an evaluation finds its variables.
pub trait Activation<'a> {
    /// The value of a variable; none where it is not there.
    fn resolve(&self, name: &str) -> Option<Result<Value<'a>, EvalError>>;
}

/// Variables by name.
#[derive(Debug, Clone, Default)]
pub struct Variables<'a>(BTreeMap<String, Value<'a>>);

impl<'a> Variables<'a> {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// And this one.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value<'a>) -> Self {
        self.0.insert(name.to_string(), value);
        self
    }
}

impl<'a> Activation<'a> for Variables<'a> {
    fn resolve(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        self.0.get(name).cloned().map(Ok)
    }
}

/// What came of an evaluation.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// The value, or why there is none.
    pub result: Result<Value<'a>, EvalError>,
    /// What it cost, in Kubernetes' units; at most a little above the limit.
    pub cost: u64,
}

impl Program {
    /// The type of the value.
    pub fn result_type(&self) -> &Type {
        &self.result_type
    }

    /// Whether the expression mentions a variable.
    pub fn uses(&self, variable: &str) -> bool {
        self.variables.contains(variable)
    }

    /// The variables that the expression mentions.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(String::as_str)
    }

    /// How many nodes are within each other, macros expanded: what evaluating it takes of the stack.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The least and the most that evaluations will cost, by what is declared of the variables' sizes.
    pub fn estimated_cost(&self) -> Range {
        self.estimated_cost
    }

    /// Evaluates with these variables, until the cost exceeds the limit.
    pub fn eval<'a>(&self, activation: &dyn Activation<'a>, cost_limit: u64) -> Outcome<'a> {
        let mut meter = Meter::new(cost_limit);
        let result = evaluate(&self.root, &Scope::new(activation), &mut meter);
        Outcome { result, cost: meter.cost() }
    }
}
