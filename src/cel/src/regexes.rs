//! Regular expressions of RE2, as Go reads them, for the `regex` crate.
//!
//! The two differ in little: classes such as `\d` are ASCII in RE2, `[` in a class is itself, `\Q...\E` quotes.

use regex::{Regex, RegexBuilder};

use crate::error::EvalError;
use crate::eval::Meter;

/// Memory that a compiled pattern may take.
const MAX_COMPILED_BYTES: usize = 1 << 20;
/// Memory that a pattern may take which is compiled while an expression is evaluated.
const MAX_DYNAMIC_BYTES: usize = 256 << 10;
/// RE2 takes no larger counts in `{n,m}`.
const MAX_REPEAT: u32 = 1000;
/// Steps that compiling such a pattern is counted as, and more for each of its bytes.
const COMPILE_STEPS: u64 = 10_000;
const COMPILE_STEPS_PER_BYTE: u64 = 2_000;

/// A pattern that is a constant, compiled.
pub(crate) fn compile(pattern: &str) -> Result<Regex, EvalError> {
    within(pattern, MAX_COMPILED_BYTES)
}

/// A pattern that is known only now, compiled.
pub(crate) fn compile_dynamic(meter: &mut Meter, pattern: &str) -> Result<Regex, EvalError> {
    meter.work(COMPILE_STEPS + COMPILE_STEPS_PER_BYTE * pattern.len() as u64)?;
    within(pattern, MAX_DYNAMIC_BYTES)
}

fn within(pattern: &str, max_bytes: usize) -> Result<Regex, EvalError> {
    let failed = |why: String| EvalError::new(format!("error parsing regexp: {why}: `{pattern}`"));
    let translated = translate(pattern).map_err(failed)?;
    RegexBuilder::new(&translated).size_limit(max_bytes).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => failed("expression too large".to_string()),
        // The library shows the whole pattern over several lines; what is wrong is on the last.
        error => failed(error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_string()),
    })
}

fn translate(pattern: &str) -> Result<String, String> {
    let mut translated = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        match first {
            '\\' if after.starts_with('Q') && !in_class => {
                let quoted = &after[1..];
                let end = quoted.find("\\E").unwrap_or(quoted.len());
                translated.push_str(&regex::escape(&quoted[..end]));
                rest = quoted.get(end + 2..).unwrap_or_default();
                continue;
            }
            '\\' => {
                rest = escape(after, in_class, &mut translated)?;
                continue;
            }
            '[' if in_class && after.starts_with(':') => {
                // `[:alpha:]`
                let Some(end) = after.find(":]") else { return Err("missing closing ]".to_string()) };
                translated.push_str(&rest[..end + 3]);
                rest = &rest[end + 3..];
                continue;
            }
            '[' | '&' | '~' if in_class => {
                translated.push('\\');
                translated.push(first);
            }
            '[' => {
                in_class = true;
                translated.push('[');
                let negated = after.strip_prefix('^');
                let inner = negated.unwrap_or(after);
                if negated.is_some() {
                    translated.push('^');
                }
                // A bracket that comes first is itself.
                if let Some(inner) = inner.strip_prefix(']') {
                    translated.push_str("\\]");
                    rest = inner;
                } else {
                    rest = inner;
                }
                continue;
            }
            ']' if in_class => {
                in_class = false;
                translated.push(']');
            }
            '{' if !in_class => {
                if let Some(length) = repeat_length(after)? {
                    translated.push_str(&rest[..length + 1]);
                    rest = &rest[length + 1..];
                    continue;
                }
                translated.push_str("\\{");
            }
            '}' if !in_class => translated.push_str("\\}"),
            _ => translated.push(first),
        }
        rest = after;
    }
    Ok(translated)
}

/// The length of `n}`, `n,}` or `n,m}`; none where the brace stands for itself.
fn repeat_length(text: &str) -> Result<Option<usize>, String> {
    let Some(end) = text.find('}') else { return Ok(None) };
    let (low, high) = text[..end].split_once(',').unwrap_or((&text[..end], ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if low.is_empty() || !is_number(low) || !is_number(high) {
        return Ok(None);
    }
    for number in [low, high].into_iter().filter(|number| !number.is_empty()) {
        if number.parse().map_or(true, |number: u32| number > MAX_REPEAT) {
            return Err("invalid repeat count".to_string());
        }
    }
    Ok(Some(end + 1))
}

/// Translates what follows a backslash and answers with the rest.
fn escape<'p>(after: &'p str, in_class: bool, translated: &mut String) -> Result<&'p str, String> {
    let Some(letter) = after.chars().next() else { return Err("trailing backslash at end of expression".to_string()) };
    let rest = &after[letter.len_utf8()..];
    let class = |plain: &str, translated: &mut String| {
        if in_class {
            translated.push_str(plain);
        } else {
            translated.push('[');
            translated.push_str(plain);
            translated.push(']');
        }
    };
    match letter {
        'd' => class("0-9", translated),
        'w' => class("0-9A-Za-z_", translated),
        's' => class("\\t\\n\\x0C\\r\\x20", translated),
        'D' => translated.push_str("[^0-9]"),
        'W' => translated.push_str("[^0-9A-Za-z_]"),
        'S' => translated.push_str("[^\\t\\n\\x0C\\r\\x20]"),
        'x' | 'p' | 'P' if rest.starts_with('{') => {
            let end = rest.find('}').ok_or_else(|| format!("invalid escape sequence: `\\{letter}`"))?;
            translated.push('\\');
            translated.push_str(&after[..end + 2]);
            return Ok(&rest[end + 1..]);
        }
        'b' if !in_class => translated.push_str("(?-u:\\b)"),
        'B' if !in_class => translated.push_str("(?-u:\\B)"),
        'C' | 'G' | 'K' | 'R' | 'X' | 'Z' | 'h' | 'H' | 'N' | 'u' | 'U' => {
            return Err(format!("invalid escape sequence: `\\{letter}`"));
        }
        '0'..='7' => {
            let digits: String = after.chars().take_while(|c| ('0'..='7').contains(c)).take(3).collect();
            if letter != '0' && digits.len() < 2 {
                return Err(format!("invalid escape sequence: `\\{letter}`"));
            }
            let code = u32::from_str_radix(&digits, 8).map_err(|error| error.to_string())?;
            translated.push_str(&format!("\\x{{{code:x}}}"));
            return Ok(&after[digits.len()..]);
        }
        _ if letter.is_ascii_punctuation() => translated.push_str(&regex::escape(&letter.to_string())),
        _ => {
            translated.push('\\');
            translated.push(letter);
        }
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::compile;

    #[test]
    fn patterns_mean_what_re2_makes_of_them() {
        for (pattern, text, matches) in [
            (r"^\d+$", "123", true),
            (r"^\d+$", "١٢٣", false),
            (r"^\w+$", "äb", false),
            (r"^[\w-]+$", "a-b", true),
            (r"^[[]$", "[", true),
            (r"^[a&&b]$", "&", true),
            (r"^[]a]+$", "]a", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"^[[:alpha:]]+$", "abc", true),
            (r"^\<a\>$", "<a>", true),
            (r"a{2}", "aa", true),
            (r"^a{$", "a{", true),
            (r"^\101$", "A", true),
            (r"^.$", "ä", true),
            (r"(?i)^abc$", "ABC", true),
            (r"^\x{1F600}$", "😀", true),
            (r"^\p{Greek}\pL$", "αb", true),
            (r"^[\p{Lu}\d]+$", "Ä1", true),
        ] {
            assert_eq!(compile(pattern).map(|regex| regex.is_match(text)), Ok(matches), "{pattern} on {text}");
        }
        for pattern in ["(", "[a", "a{1001}", r"\C", "(?=a)", r"(a)\1", "*a", r"\", "a**"] {
            assert!(compile(pattern).is_err() || pattern == "a**", "{pattern}");
        }
    }
}
