//! The regular expressions of `matches`, `find` and `findAll`, which are `machinery`'s, and what they may take here.

use machinery::re2::{self, PatternError};
use regex::Regex;

use crate::error::EvalError;
use crate::eval::Meter;

/// Memory that a compiled pattern may take.
const MAX_COMPILED_BYTES: usize = 1 << 20;
/// Memory that a pattern may take which is compiled while an expression is evaluated.
const MAX_DYNAMIC_BYTES: usize = 256 << 10;
/// Steps that compiling such a pattern is counted as, and more for each of its bytes.
const COMPILE_STEPS: u64 = 10_000;
const COMPILE_STEPS_PER_BYTE: u64 = 2_000;

/// A pattern that is a constant, compiled.
pub(crate) fn compile(pattern: &str) -> Result<Regex, PatternError> {
    re2::compile(pattern, MAX_COMPILED_BYTES)
}

/// A pattern that is known only now, compiled.
pub(crate) fn compile_dynamic(meter: &mut Meter, pattern: &str) -> Result<Regex, EvalError> {
    meter.work(COMPILE_STEPS + COMPILE_STEPS_PER_BYTE * pattern.len() as u64)?;
    re2::compile(pattern, MAX_DYNAMIC_BYTES).map_err(|error| EvalError::new(error.to_string()))
}
