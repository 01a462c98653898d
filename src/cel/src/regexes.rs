//! The regular expressions of `matches`, `find` and `findAll`, which are `machinery`'s, and what they may take here.

use machinery::re2;
use regex::Regex;

use crate::allowance::Allowance;
use crate::error::EvalError;
use crate::eval::Meter;

/// Memory that a compiled pattern may take.
const MAX_COMPILED_BYTES: usize = 1 << 20;
/// Memory that a pattern may take which is compiled while an expression is evaluated.
const MAX_DYNAMIC_BYTES: usize = 256 << 10;
/// Steps that compiling such a pattern is counted as, and more for each of its bytes.
const COMPILE_STEPS: u64 = 10_000;
const COMPILE_STEPS_PER_BYTE: u64 = 2_000;

/// A pattern that is a constant, compiled, with what it takes taken off a budget.
pub(crate) fn compile(pattern: &str, allowance: &Allowance) -> Result<Regex, String> {
    // Where nothing is left, nothing is compiled to find that out.
    allowance.take_pattern(0)?;
    let (bytes, made) = re2::sized(pattern, MAX_COMPILED_BYTES);
    let made = made.map_err(|error| error.to_string())?;
    allowance.take_pattern(bytes)?;
    Ok(made)
}

/// The text is a pattern, of whatever size.
pub(crate) fn is_pattern(pattern: &str) -> bool {
    // Its syntax is read before anything is compiled, which ends at once.
    re2::compile(pattern, 1).err().is_none_or(|error| error.is_too_large())
}

/// A pattern that is known only now, compiled.
pub(crate) fn compile_dynamic(meter: &mut Meter, pattern: &str) -> Result<Regex, EvalError> {
    meter.work(COMPILE_STEPS + COMPILE_STEPS_PER_BYTE * pattern.len() as u64)?;
    re2::compile(pattern, MAX_DYNAMIC_BYTES).map_err(|error| EvalError::new(error.to_string()))
}
