//! Regular expressions of RE2, as Go reads them, for the `regex` crate.
//!
//! The two differ in little: classes such as `\d` are ASCII in RE2, `[` in a class is itself, `\Q...\E` quotes, a brace
//! that is no count stands for itself. What is compiled takes bounded memory.

mod kept;

use regex::{Regex, RegexBuilder};

pub use kept::{kept, sized};

/// RE2 takes no larger counts in `{n,m}`.
const MAX_REPEAT: u32 = 1000;
/// What a compiled pattern may take besides for every thread that matches with it; it is slower where that is short.
const CACHE_BYTES: usize = 256 << 10;

/// Why a pattern is none, as Go words it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {why}: `{pattern}`")]
pub struct PatternError {
    why: String,
    pattern: String,
    /// It is right but too large.
    is_too_large: bool,
}

impl PatternError {
    /// The pattern is one, but takes more than it may.
    pub fn is_too_large(&self) -> bool {
        self.is_too_large
    }
}

/// A pattern, compiled into at most so many bytes.
///
/// # Errors
/// What RE2 does not take, and what is larger.
pub fn compile(pattern: &str, max_bytes: usize) -> Result<Regex, PatternError> {
    let failed = |why: String| PatternError { why, pattern: pattern.to_string(), is_too_large: false };
    let translated = translate(pattern).map_err(failed)?;
    let built = RegexBuilder::new(&translated).size_limit(max_bytes).dfa_size_limit(CACHE_BYTES).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            PatternError { is_too_large: true, ..failed("expression too large".to_string()) }
        }
        // The library shows the whole pattern over several lines; what is wrong is on the last.
        error => failed(in_gos_words(error.to_string().lines().last().unwrap_or_default())),
    })
}

fn in_gos_words(wrong: &str) -> String {
    match wrong.trim_start_matches("error: ") {
        "unclosed group" => "missing closing )",
        "unopened group" => "unexpected )",
        "unclosed character class" => "missing closing ]",
        "repetition operator missing expression" => "missing argument to repetition operator",
        other => other,
    }
    .to_string()
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
                // What comes first is itself.
                rest = inner;
                for literal in [']', '-'] {
                    if let Some(inner) = inner.strip_prefix(literal) {
                        translated.push('\\');
                        translated.push(literal);
                        rest = inner;
                    }
                }
                continue;
            }
            // A range up to the hyphen, not a difference of classes.
            '-' if in_class && after.starts_with('-') => {
                translated.push_str("-\\-");
                rest = &after[1..];
                continue;
            }
            ']' if in_class => {
                in_class = false;
                translated.push(']');
            }
            '(' if !in_class => {
                flags(after)?;
                translated.push('(');
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

/// What follows `(?` must be a group or flags that RE2 has.
fn flags(after: &str) -> Result<(), String> {
    let Some(after) = after.strip_prefix('?') else { return Ok(()) };
    if after.starts_with(['P', '<']) {
        return Ok(());
    }
    let flags = &after[..after.find([':', ')']).unwrap_or(after.len())];
    match flags.chars().all(|flag| matches!(flag, 'i' | 'm' | 's' | 'U' | '-')) {
        true => Ok(()),
        false => Err("invalid or unsupported Perl syntax".to_string()),
    }
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
    match letter {
        // Within a class too they are classes of their own: a hyphen after them makes no range.
        'd' => translated.push_str("[0-9]"),
        'w' => translated.push_str("[0-9A-Za-z_]"),
        's' => translated.push_str("[\\t\\n\\x0C\\r\\x20]"),
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
    use super::compile as within;

    fn compile(pattern: &str) -> Result<regex::Regex, super::PatternError> {
        within(pattern, 1 << 20)
    }

    #[test]
    fn patterns_mean_what_re2_makes_of_them() {
        for (pattern, text, matches) in [
            (r"^\d+$", "123", true),
            (r"^\d+$", "١٢٣", false),
            (r"^\w+$", "äb", false),
            (r"^[\w-]+$", "a-b", true),
            (r"^[\w-.]+$", "a-.b", true),
            (r"^[\w-.]+$", "a/b", false),
            (r"^[+--]+$", "+,-", true),
            (r"^[-+]+$", "+-", true),
            (r"^[--/]+$", "-./", true),
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
        for pattern in ["(", "[a", "a{1001}", r"\C", "(?=a)", "(?x)a b", "(?u)a", r"(a)\1", "*a", r"\"] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn large_patterns_are_refused_in_go_words() {
        let error = within(r"\pL{1000}", 1 << 20).expect_err("is too large");
        assert_eq!(error.to_string(), r"error parsing regexp: expression too large: `\pL{1000}`");
        assert!(
            within(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$", 1 << 20).is_ok()
        );
    }
}
