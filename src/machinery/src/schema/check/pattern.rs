//! Regular expressions that were compiled before: a schema's patterns are the same for every object.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use regex::Regex;

/// More patterns than this are forgotten all at once.
const KEPT_MAX: usize = 1024;

static COMPILED: LazyLock<Mutex<HashMap<String, Option<Regex>>>> = LazyLock::new(Mutex::default);

/// The expression; `None` for a text that is none.
pub(super) fn compiled(pattern: &str) -> Option<Regex> {
    let mut kept = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = kept.get(pattern) {
        return found.clone();
    }
    if kept.len() >= KEPT_MAX {
        kept.clear();
    }
    let made = Regex::new(pattern).ok();
    kept.insert(pattern.to_string(), made.clone());
    made
}
