//! Quoting for the POSIX shell.

use std::borrow::Cow;

/// `word` so that a POSIX shell reads it back as one word, unchanged.
///
/// Words of plain characters stay as they are; anything else goes into single quotes.
/// A NUL byte cannot be passed to a program at all; callers that take words from outside refuse it first.
pub fn quote(word: &str) -> Cow<'_, str> {
    let plain = |b: u8| {
        b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/' | b':' | b',' | b'@' | b'+' | b'%' | b'=')
    };
    if !word.is_empty() && word.bytes().all(plain) && !word.starts_with('=') {
        return Cow::Borrowed(word);
    }
    Cow::Owned(single_quoted(word))
}

/// `word` in single quotes, even where it needs none: restricted shells know no other form.
pub fn single_quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// All `words` quoted and joined by spaces.
pub fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_words_stay_as_they_are_and_others_are_quoted() {
        for (word, quoted) in [
            ("abc", "abc"),
            ("/usr/bin/a-b_c.d:e,f@g+h%", "/usr/bin/a-b_c.d:e,f@g+h%"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("~root", "'~root'"),
            ("=ls", "'=ls'"),
            ("a\nb", "'a\nb'"),
        ] {
            assert_eq!(quote(word), quoted);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_shell_reads_every_word_back(words in proptest::collection::vec("[^\0]{0,12}", 1..5)) {
            let line = format!("printf '%s\\0' {}", join(words.iter().map(String::as_str)));
            let output = std::process::Command::new("/bin/sh").arg("-c").arg(line).output().unwrap();
            let read: Vec<String> = String::from_utf8(output.stdout).unwrap().split_terminator('\0').map(str::to_owned).collect();
            prop_assert_eq!(read, words);
        }
    }
}
