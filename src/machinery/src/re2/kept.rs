//! Patterns of schemas that were compiled before: they are the same for every object. What is kept is bounded by the
//! bytes it takes, and nobody waits for another's pattern to be compiled.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use regex::Regex;

use super::{PatternError, compile};

/// Steps in which memory is given to a pattern: the first that is enough tells how much it takes at most. The last is
/// what a pattern of a schema may take.
const SIZES_BYTES: [usize; 4] = [32 << 10, 128 << 10, 512 << 10, 4 << 20];
/// What all that is kept may take; beyond that it is forgotten all at once.
const KEPT_BYTES: usize = 48 << 20;
/// What an entry takes besides.
const ENTRY_BYTES: usize = 256;

#[derive(Default)]
struct Kept {
    patterns: HashMap<String, Result<Regex, PatternError>>,
    bytes: usize,
}

impl Kept {
    fn insert(&mut self, pattern: &str, size_bytes: usize, made: &Result<Regex, PatternError>) {
        let bytes = size_bytes + 2 * pattern.len() + ENTRY_BYTES;
        if self.bytes + bytes > KEPT_BYTES {
            *self = Self::default();
        }
        if self.patterns.insert(pattern.to_string(), made.clone()).is_none() {
            self.bytes += bytes;
        }
    }
}

static KEPT: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);

/// A pattern of a schema.
///
/// # Errors
/// What RE2 does not take, and what takes more than 4 MiB.
pub fn kept(pattern: &str) -> Result<Regex, PatternError> {
    let lock = || KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = lock().patterns.get(pattern) {
        return found.clone();
    }
    let (size_bytes, made) = sized(pattern);
    lock().insert(pattern, size_bytes, &made);
    made
}

/// The pattern with the most that it takes.
fn sized(pattern: &str) -> (usize, Result<Regex, PatternError>) {
    let [smaller @ .., largest_bytes] = SIZES_BYTES;
    for size_bytes in smaller {
        match compile(pattern, size_bytes) {
            Ok(made) => return (size_bytes, Ok(made)),
            Err(error) if error.is_too_large => {}
            Err(error) => return (0, Err(error)),
        }
    }
    match compile(pattern, largest_bytes) {
        Ok(made) => (largest_bytes, Ok(made)),
        Err(error) => (0, Err(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_takes_bounded_memory() {
        let mut kept = Kept::default();
        for number in 0..2000 {
            let pattern = format!("^{number}[a-z]+$");
            let (size_bytes, made) = sized(&pattern);
            assert_eq!(size_bytes, SIZES_BYTES[0]);
            kept.insert(&pattern, size_bytes, &made);
            assert!(kept.bytes <= KEPT_BYTES && kept.patterns.contains_key(&pattern));
        }
        assert!(kept.patterns.len() < 2000);
        let (size_bytes, large) = sized(r"^\pL{20}$");
        assert!(size_bytes > SIZES_BYTES[0] && large.is_ok());
        assert!(sized(r"^\pL{1000}$").1.is_err());
    }

    #[test]
    fn a_pattern_is_the_same_the_second_time() {
        for _ in 0..2 {
            assert!(super::kept("^a{$").is_ok_and(|regex| regex.is_match("a{")));
            assert!(super::kept("(").is_err());
        }
    }
}
