//! Host patterns as OpenSSH's PATTERNS section describes them: `*`, `?`, lists, negation.

/// Whether `text` fits `pattern`, in which `*` stands for any run and `?` for any one character.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on when the run that the last `*` stands for has to be one longer.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((after_star, start)) => {
                    retry = Some((after_star, start + 1));
                    p = after_star;
                    t = start + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// Whether `text` fits one of `patterns` and none that begins with `!`. Case does not matter.
pub fn matches_list<'a>(patterns: impl IntoIterator<Item = &'a str>, text: &str) -> bool {
    let text = text.to_lowercase();
    let mut found = false;
    for pattern in patterns {
        let pattern = pattern.to_lowercase();
        match pattern.strip_prefix('!') {
            Some(negated) if matches(negated, &text) => return false,
            Some(_) => {}
            None => found |= matches(&pattern, &text),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_as_in_openssh() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("?", "", false),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("*.example.org", "a.b.example.org", true),
            ("*.example.org", "example.org", false),
            ("10.0.?.1", "10.0.9.1", true),
            ("10.0.?.1", "10.0.19.1", false),
            ("a**b*", "ab", true),
            ("[h]:22", "[h]:22", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_negated_pattern_excludes_and_never_includes() {
        assert!(matches_list(["*.org", "!bad.org"], "good.org"));
        assert!(!matches_list(["*.org", "!bad.org"], "BAD.org"));
        assert!(!matches_list(["!bad.org"], "good.org"));
    }

    proptest! {
        #[test]
        fn a_pattern_made_from_the_text_matches(text in "[a-c.]{0,12}", cut in 0usize..12, length in 0usize..12) {
            let cut = cut.min(text.len());
            let end = (cut + length).min(text.len());
            let starred = format!("{}*{}", &text[..cut], &text[end..]);
            prop_assert!(matches(&starred, &text));
            let dotted = format!("{}{}{}", &text[..cut], "?".repeat(end - cut), &text[end..]);
            prop_assert!(matches(&dotted, &text));
        }
    }
}
