//! The Common Expression Language as Kubernetes 1.37 uses it: rules of CRDs, admission policies, match conditions.
//!
//! An [`Env`] says which variables there are; [`Env::compile`] makes a [`Program`] of an expression, which is
//! evaluated as often as one likes and from any thread. Values are read from JSON without copying it. Evaluation ends
//! by itself: it is bounded by a cost in Kubernetes' units, by work and by memory, and never panics.
//!
//! Pure: no tokio and no I/O, but for the machine's time zones where an expression names one. No kind of object is
//! known here.
//!
//! ```
//! use cel::{Env, Type, Value, Variables};
//!
//! let env = Env::new().with_variable("object", Type::Dyn);
//! let program = env.compile_to("object.spec.replicas <= 5", &[Type::Bool])?;
//!
//! let deployment = serde_json::json!({"spec": {"replicas": 3}});
//! let variables = Variables::new().with("object", Value::from_json(&deployment));
//! let outcome = program.eval(&variables, cel::PER_CALL_COST_LIMIT);
//! assert!(matches!(outcome.result, Ok(Value::Bool(true))));
//! assert_eq!(outcome.cost, 4);
//!
//! let error = env.compile("objekt.spec").unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "ERROR: <input>:1:1: undeclared reference to 'objekt' (in container '')\n | objekt.spec\n | ^"
//! );
//! # Ok::<(), cel::CompileError>(())
//! ```

mod allowance;
mod ast;
mod authz;
mod checker;
mod cost;
mod decl;
mod env;
mod error;
mod estimate;
mod eval;
mod functions;
mod lexer;
mod library;
mod literal;
mod literals;
mod macros;
mod names;
mod parser;
mod plan;
#[cfg(test)]
mod print;
mod program;
mod regexes;
pub mod rules;
mod source;
mod time;
mod types;
mod value;

pub use allowance::Allowance;
pub use authz::{Attributes, Authorizer, Decision};
pub use decl::Decl;
pub use env::Env;
pub use error::{CompileError, EvalError};
pub use estimate::Range;
pub use names::escape;
pub use program::{Activation, Outcome, Program, Variables};
pub use source::{Issue, Issues};
pub use time::{Duration, Timestamp};
pub use types::{ObjectType, Type};
pub use value::{Key, List, Map, Struct, Text, Value};

/// What one evaluation may cost: about a tenth of a second.
pub const PER_CALL_COST_LIMIT: u64 = 1_000_000;
/// What all rules of an object, or all expressions of a policy and its binding, may cost together.
pub const OBJECT_COST_LIMIT: u64 = 10_000_000;
/// What all match conditions of a webhook or policy may cost together.
pub const MATCH_CONDITIONS_COST_LIMIT: u64 = 2_500_000;

#[cfg(test)]
mod tests;
