//! Ranges in names and addresses: `w[01:20]`, `10.0.1.[1:20]`.

/// More hosts than this in one range is a slip of the pen.
pub const MAX_RANGE_HOSTS: usize = 1000;

/// More digits than this, leading zeros among them, are in no host's name.
const MAX_DIGITS: usize = 9;

/// Expands the one range a text may have; a text without a range stands for itself.
/// Leading zeros of the first number give the width: `w[01:03]` is `w01`, `w02`, `w03`.
///
/// # Errors
/// What is wrong, for the operator.
pub fn expand(text: &str) -> Result<Vec<String>, String> {
    let Some(open) = text.find('[') else {
        return if text.contains(']') {
            Err(format!("`{text}` closes a range that it never opened"))
        } else {
            Ok(vec![text.to_owned()])
        };
    };
    let wrong = || format!("`{text}` is not a range; write it like `w[01:20]`");
    let (prefix, rest) = (&text[..open], &text[open + 1..]);
    let (range, suffix) = rest.split_once(']').ok_or_else(wrong)?;
    if suffix.contains(['[', ']']) {
        return Err(format!("`{text}` has more than one range"));
    }
    let (first, last) = range.split_once(':').ok_or_else(wrong)?;
    let number = |digits: &str| -> Result<usize, String> {
        if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        digits.parse().map_err(|_| wrong())
    };
    let (from, to) = (number(first)?, number(last)?);
    if from > to {
        return Err(format!("the range of `{text}` runs backwards"));
    }
    if to - from >= MAX_RANGE_HOSTS {
        return Err(format!("the range of `{text}` has more than {MAX_RANGE_HOSTS} hosts"));
    }
    let width = if first.starts_with('0') { first.len() } else { 0 };
    Ok((from..=to).map(|number| format!("{prefix}{number:0width$}{suffix}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_expand_and_keep_the_width() {
        for (text, expected) in [
            ("w1", vec!["w1"]),
            ("w[1:3]", vec!["w1", "w2", "w3"]),
            ("w[08:11].lan", vec!["w08.lan", "w09.lan", "w10.lan", "w11.lan"]),
            ("10.0.1.[9:10]", vec!["10.0.1.9", "10.0.1.10"]),
            ("w[0:1]", vec!["w0", "w1"]),
        ] {
            assert_eq!(expand(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["w[", "w]", "w[]", "w[1]", "w[:2]", "w[2:1]", "w[a:b]", "w[1:2][1:2]", "w[+1:2]", "w[0:1000]"] {
            assert!(expand(text).is_err(), "{text}");
        }
        let zeros = "0".repeat(70_000);
        assert!(expand(&format!("w[{zeros}1:2]")).is_err(), "a name of 70,000 digits");
    }

    proptest! {
        #[test]
        fn any_text_is_expanded_or_refused_within_the_bound(text in r"[a-z0-9\[\]:.]{0,24}") {
            if let Ok(all) = expand(&text) {
                prop_assert!(!all.is_empty() && all.len() <= MAX_RANGE_HOSTS);
            }
        }
    }
}
