//! What a validating policy says of a request.

use cel::{MATCH_CONDITIONS_COST_LIMIT, OBJECT_COST_LIMIT, Value};

use super::scope::{Failure, OUT_OF_BUDGET, Scope};
use super::{Common, Input, ValidatingPolicy, Validation};

/// A message that an expression makes is no longer.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;
/// An annotation is cut there.
const ANNOTATION_BYTES_MAX: usize = 10 * 1024;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// What is told.
    pub message: String,
    /// `Invalid` and its like.
    pub reason: String,
    /// Which validation it was, where it was one.
    pub index: Option<usize>,
}

impl Denial {
    /// A refusal because something cannot be decided.
    pub fn failure(message: impl Into<String>) -> Self {
        Self { message: message.into(), reason: String::new(), index: None }
    }
}

/// An annotation of the audit event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// `POLICY/KEY`.
    pub key: String,
    /// The value.
    pub value: String,
}

/// What a policy says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What speaks against the request; what is done about it is the binding's matter.
    pub denials: Vec<Denial>,
    /// Failures of annotations, which refuse the request whatever the binding's actions are.
    pub broken_annotations: Vec<Denial>,
    /// What is written down.
    pub annotations: Vec<Annotation>,
}

impl Common {
    /// Whether the match conditions hold.
    ///
    /// # Errors
    /// What could not be evaluated, where that refuses the request.
    pub(super) fn is_met(&self, scope: &Scope<'_, '_>) -> Result<bool, String> {
        scope.set_budget(MATCH_CONDITIONS_COST_LIMIT);
        let mut errors = Vec::new();
        for (_, condition) in &self.conditions {
            match scope.eval(condition) {
                Ok(Value::Bool(false)) => return Ok(false),
                Ok(_) => {}
                Err(Failure::Expression(error)) => errors.push(error),
                Err(Failure::Budget) => {
                    errors = vec![OUT_OF_BUDGET.to_string()];
                    break;
                }
            }
        }
        match errors.as_slice() {
            [] => Ok(true),
            _ if self.ignores_failures => Ok(false),
            [one] => Err(one.clone()),
            several => Err(format!("[{}]", several.join(", "))),
        }
    }
}

impl ValidatingPolicy {
    /// Evaluates the policy for one request and one set of parameters.
    pub fn validate(&self, input: &Input<'_>) -> Verdict {
        let scope = Scope::new(&self.common, input);
        let mut verdict = Verdict::default();
        match self.common.is_met(&scope) {
            Ok(true) => {}
            Ok(false) => return verdict,
            Err(error) => {
                verdict.denials.push(Denial::failure(error));
                return verdict;
            }
        }
        scope.set_budget(OBJECT_COST_LIMIT);
        match self.denials(&scope) {
            Ok(denials) => verdict.denials = denials,
            Err(denial) => {
                verdict.denials.extend(denial);
                return verdict;
            }
        }
        scope.set_budget(OBJECT_COST_LIMIT);
        self.annotate(&scope, &mut verdict);
        verdict
    }

    /// What speaks against the request; the error is what ends the evaluation.
    fn denials(&self, scope: &Scope<'_, '_>) -> Result<Vec<Denial>, Option<Denial>> {
        let out_of_budget = || (!self.common.ignores_failures).then(|| Denial::failure(OUT_OF_BUDGET));
        let mut results = Vec::with_capacity(self.validations.len());
        for validation in &self.validations {
            match scope.eval(&validation.expression) {
                Ok(value) => results.push(Ok(matches!(value, Value::Bool(true)))),
                Err(Failure::Expression(error)) => results.push(Err(error)),
                Err(Failure::Budget) => return Err(out_of_budget()),
            }
        }
        let mut denials = Vec::new();
        for (index, (validation, result)) in self.validations.iter().zip(results).enumerate() {
            let denial = |message: String| Denial { message, reason: validation.reason.clone(), index: Some(index) };
            match result {
                Ok(true) => {}
                Ok(false) => denials.push(denial(validation.message(scope).map_err(|()| out_of_budget())?)),
                Err(_) if self.common.ignores_failures => {}
                Err(error) => denials.push(denial(error)),
            }
        }
        Ok(denials)
    }

    fn annotate(&self, scope: &Scope<'_, '_>, verdict: &mut Verdict) {
        for (key, expression) in &self.annotations {
            let error = match scope.eval(expression) {
                Ok(Value::String(text)) => {
                    let text = text.trim();
                    if !text.is_empty() {
                        let value = text[..text.floor_char_boundary(ANNOTATION_BYTES_MAX)].to_string();
                        verdict.annotations.push(Annotation { key: format!("{}/{key}", self.common.name), value });
                    }
                    continue;
                }
                Ok(_) => continue,
                Err(Failure::Expression(error)) => error,
                Err(Failure::Budget) => OUT_OF_BUDGET.to_string(),
            };
            if !self.common.ignores_failures {
                verdict.broken_annotations.push(Denial::failure(error));
            }
        }
    }
}

impl Validation {
    /// What is told of a request that fails; the error is an empty budget.
    fn message(&self, scope: &Scope<'_, '_>) -> Result<String, ()> {
        if let Some(expression) = &self.message_expression {
            match scope.eval(expression) {
                Ok(Value::String(text)) => {
                    let text = text.trim();
                    if !text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains('\n') {
                        return Ok(text.to_string());
                    }
                }
                Err(Failure::Budget) => return Err(()),
                // What makes no message of use leaves it to the others.
                Ok(_) | Err(Failure::Expression(_)) => {}
            }
        }
        Ok(match self.message.as_str() {
            "" => format!("failed expression: {}", self.expression.text),
            message => message.to_string(),
        })
    }
}
