//! What can go wrong when an expression is compiled or evaluated.

use std::borrow::Cow;

use crate::source::Issues;

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EvalError {
    message: Cow<'static, str>,
    exceeds_cost: bool,
}

impl EvalError {
    /// An error with this message.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into(), exceeds_cost: false }
    }

    pub(crate) fn no_such_overload() -> Self {
        Self::new("no such overload")
    }

    pub(crate) fn cost_limit() -> Self {
        Self { message: "operation cancelled: actual cost limit exceeded".into(), exceeds_cost: true }
    }

    /// The evaluation was ended because it cost too much. No operator absorbs this.
    pub fn exceeds_cost(&self) -> bool {
        self.exceeds_cost
    }
}

/// Why an expression does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// It is no CEL, or its names and types do not fit.
    #[error("{0}")]
    Issues(Issues),
    /// It has another type than what is asked for.
    #[error("must evaluate to {}", .expected)]
    Result {
        /// The types asked for.
        expected: String,
    },
}
