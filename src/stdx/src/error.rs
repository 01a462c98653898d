//! Text of an error with everything that caused it.

use std::error::Error;

/// The error and its sources, outermost first, joined by `: `.
///
/// Errors of this workspace never repeat their source in `Display`, so nothing is said twice.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
