//! Field selectors: `metadata.name=x,status.phase!=Running`.

use std::fmt;

/// What a text is refused for; the words are those of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A term without an operator.
    #[error("invalid selector: '{selector}'; can't understand '{term}'")]
    Term {
        /// The whole text.
        selector: String,
        /// What could not be read.
        term: String,
    },
    /// A backslash before something that needs none, or at the end.
    #[error("invalid field selector: invalid escape sequence: {0}")]
    Escape(String),
    /// A `=` or `,` in a value without a backslash. Kubernetes prints its code point.
    #[error("invalid field selector: unescaped character in value: {0}")]
    Unescaped(u32),
}

/// One term of a field selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// `metadata.name`.
    pub field: String,
    /// `=`, not `!=`.
    pub equal: bool,
    /// What the field is compared to.
    pub value: String,
}

/// Terms that must all hold. Without terms it selects everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector(pub Vec<Term>);

impl FieldSelector {
    /// Reads the form of the query string; the empty text selects everything.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut parts = split_terms(text);
        parts.sort_unstable();
        let mut terms = Vec::new();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let (field, equal, value) =
                split_term(part).ok_or_else(|| Error::Term { selector: text.to_string(), term: part.to_string() })?;
            terms.push(Term { field: field.to_string(), equal, value: unescape(value)? });
        }
        Ok(Self(terms))
    }

    /// Selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every term holds; `value_of` gives a field's value, empty where it is missing.
    pub fn matches<S: AsRef<str>>(&self, value_of: impl Fn(&str) -> S) -> bool {
        self.0.iter().all(|term| (value_of(&term.field).as_ref() == term.value) == term.equal)
    }

    /// The one value that `field` must have, where there is one.
    pub fn required_value(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|term| term.equal && term.field == field).map(|term| term.value.as_str())
    }
}

fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let at =
        term.char_indices().map(|(at, _)| at).find(|at| ["!=", "="].iter().any(|op| term[*at..].starts_with(op)))?;
    let (field, rest) = term.split_at(at);
    if let Some(value) = rest.strip_prefix("!=") {
        return Some((field, false, value));
    }
    Some((field, true, rest.strip_prefix("==").or_else(|| rest.strip_prefix('='))?))
}

fn unescape(text: &str) -> Result<String, Error> {
    let mut value = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => value.push(escaped),
                Some(other) => return Err(Error::Escape(format!("\\{other}"))),
                None => return Err(Error::Escape("\\".to_string())),
            },
            ',' | '=' => return Err(Error::Unescaped(u32::from(c))),
            _ => value.push(c),
        }
    }
    Ok(value)
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let operator = if term.equal { "=" } else { "!=" };
            let value = term.value.replace('\\', r"\\").replace(',', r"\,").replace('=', r"\=");
            write!(f, "{comma}{}{operator}{value}", term.field)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn terms_must_all_hold() {
        let selector = FieldSelector::parse("metadata.name=a,status.phase!=Running,spec.x==").unwrap();
        let value = |phase: &'static str| {
            move |field: &str| match field {
                "metadata.name" => "a",
                "status.phase" => phase,
                _ => "",
            }
        };
        assert!(selector.matches(value("Pending")) && !selector.matches(value("Running")));
        assert_eq!(selector.required_value("metadata.name"), Some("a"));
        assert_eq!(selector.required_value("status.phase"), None);
        assert!(FieldSelector::parse("").unwrap().is_empty());
        assert_eq!(FieldSelector::parse(r"a=b\,c\=\\").unwrap().0[0].value, r"b,c=\");
    }

    #[test]
    fn messages_read_as_kubernetes_writes_them() {
        let error = |text| FieldSelector::parse(text).unwrap_err().to_string();
        assert_eq!(error("a=b,c"), "invalid selector: 'a=b,c'; can't understand 'c'");
        assert_eq!(error(r"a=\x"), r"invalid field selector: invalid escape sequence: \x");
        assert_eq!(error("a=b=c"), "invalid field selector: unescaped character in value: 61");
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(terms in prop::collection::vec(("[a-z.]{1,8}", any::<bool>(), "[^\\x00]{0,8}"), 0..4)) {
            let mut selector = FieldSelector(
                terms.into_iter().map(|(field, equal, value)| Term { field, equal, value }).collect(),
            );
            let mut read = FieldSelector::parse(&selector.to_string()).unwrap();
            let key = |term: &Term| (term.field.clone(), term.equal, term.value.clone());
            selector.0.sort_by_key(key);
            read.0.sort_by_key(key);
            prop_assert_eq!(read, selector);
        }

        #[test]
        fn any_text_is_taken_or_refused(text in ".{0,40}") {
            let _ = FieldSelector::parse(&text);
        }
    }
}
