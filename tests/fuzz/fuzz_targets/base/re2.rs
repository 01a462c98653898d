//! RE2 patterns: bounded in memory, and where a pattern means the same in RE2 and in Rust, it matches the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use machinery::re2;

/// What one pattern of an object may take here.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// Nothing in it is read otherwise by the two: no escapes, no flags, no braces, no nested classes, no white space in
/// verbose mode.
fn is_common(pattern: &str) -> bool {
    !pattern.contains(['\\', '{', '}']) && !pattern.contains("(?") && !pattern.contains("[")
}

fuzz_target!(|data: &[u8]| {
    let Some([pattern, text]) = fuzz::parts::<2>(data) else { return };
    let compiled = re2::compile(pattern, COMPILED_BYTES_MAX);
    let plain = regex::RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).build();
    if is_common(pattern) {
        assert_eq!(compiled.is_ok(), plain.is_ok(), "{pattern:?}: {compiled:?} {plain:?}");
    }
    match (&compiled, &plain) {
        (Ok(compiled), Ok(plain)) if is_common(pattern) => {
            assert_eq!(compiled.find(text).map(|found| found.range()), plain.find(text).map(|found| found.range()));
        }
        (Ok(compiled), _) => drop(compiled.is_match(text)),
        (Err(error), _) => assert!(error.to_string().starts_with("error parsing regexp: ")),
    }
});
