//! Patterns of schemas that were compiled before: they are the same for every object. What is kept is bounded by the
//! bytes it takes, and nobody waits for another's pattern to be compiled.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use regex::Regex;

use super::{PatternError, compile};

/// Steps in which memory is given to a pattern: the first that is enough tells how much it takes at most.
const SIZES_BYTES: [usize; 6] = [8 << 10, 32 << 10, 128 << 10, 512 << 10, 1 << 20, 2 << 20];
/// What a pattern of a schema may take.
const SCHEMA_BYTES: usize = 4 << 20;
/// What all that is kept may take; beyond that some of it is forgotten. Which, chance decides: patterns are asked for in
/// turns, object by object, so that whatever was not asked for the longest is what is asked for next.
const KEPT_BYTES: usize = 48 << 20;
/// What an entry takes besides.
const ENTRY_BYTES: usize = 256;

#[derive(Default)]
struct Kept {
    patterns: HashMap<String, (usize, Result<Regex, PatternError>)>,
    bytes: usize,
    chance: u64,
}

impl Kept {
    fn insert(&mut self, pattern: &str, size_bytes: usize, made: &Result<Regex, PatternError>) {
        let bytes = size_bytes + 2 * pattern.len() + ENTRY_BYTES;
        if self.bytes + bytes > KEPT_BYTES {
            self.forget(bytes);
        }
        if let Some((before_bytes, _)) = self.patterns.insert(pattern.to_string(), (bytes, made.clone())) {
            self.bytes -= before_bytes;
        }
        self.bytes += bytes;
    }

    /// Makes room.
    fn forget(&mut self, wanted_bytes: usize) {
        while self.bytes + wanted_bytes > KEPT_BYTES && !self.patterns.is_empty() {
            // Knuth's generator is chance enough here.
            self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let place = (self.chance >> 33) as usize % self.patterns.len();
            let Some(pattern) = self.patterns.keys().nth(place).cloned() else { return };
            if let Some((bytes, _)) = self.patterns.remove(&pattern) {
                self.bytes -= bytes;
            }
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
    if let Some((_, found)) = lock().patterns.get(pattern) {
        return found.clone();
    }
    let (size_bytes, made) = sized(pattern, SCHEMA_BYTES);
    lock().insert(pattern, size_bytes, &made);
    made
}

/// A pattern, compiled into at most so many bytes, with the most that it takes; 0 where it is none.
pub fn sized(pattern: &str, max_bytes: usize) -> (usize, Result<Regex, PatternError>) {
    for size_bytes in SIZES_BYTES.into_iter().filter(|size_bytes| *size_bytes < max_bytes) {
        match compile(pattern, size_bytes) {
            Ok(made) => return (size_bytes, Ok(made)),
            Err(error) if error.is_too_large => {}
            Err(error) => return (0, Err(error)),
        }
    }
    match compile(pattern, max_bytes) {
        Ok(made) => (max_bytes, Ok(made)),
        Err(error) => (0, Err(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_takes_bounded_memory() {
        let mut kept = Kept::default();
        let (size_bytes, made) = sized("^[a-z]+$", SCHEMA_BYTES);
        assert_eq!(size_bytes, SIZES_BYTES[0]);
        for number in 0..10_000 {
            let pattern = format!("^{number}[a-z]+$");
            kept.insert(&pattern, size_bytes, &made);
            assert!(kept.bytes <= KEPT_BYTES && kept.patterns.contains_key(&pattern));
        }
        assert!((3000..10_000).contains(&kept.patterns.len()));
        let bytes: usize = kept.patterns.values().map(|(bytes, _)| bytes).sum();
        assert_eq!(bytes, kept.bytes);
        let (size_bytes, large) = sized(r"^\pL{20}$", SCHEMA_BYTES);
        assert!(size_bytes > SIZES_BYTES[0] && large.is_ok());
        assert!(sized(r"^\pL{1000}$", SCHEMA_BYTES).1.is_err());
    }

    #[test]
    fn patterns_that_do_not_all_fit_are_not_all_compiled_again() {
        let (mut kept, mut compiled) = (Kept::default(), 0);
        let (_, made) = sized("^a$", SCHEMA_BYTES);
        for round in 0..20 {
            for number in 0..13 {
                let pattern = number.to_string();
                if !kept.patterns.contains_key(&pattern) {
                    kept.insert(&pattern, 4 << 20, &made);
                    compiled += u32::from(round > 0);
                }
            }
        }
        assert!(compiled < 13 * 19 * 3 / 4, "{compiled}");
    }

    #[test]
    fn a_pattern_is_the_same_the_second_time() {
        for _ in 0..2 {
            assert!(super::kept("^a{$").is_ok_and(|regex| regex.is_match("a{")));
            assert!(super::kept("(").is_err());
        }
    }
}
