//! A value with the path to it, and the ways to find fault with it.

use machinery::field::{FieldError, FieldErrors, Path};
use machinery::names;
use machinery::quantity::Quantity;
use serde_json::Value;

use crate::read;

/// A field of the object that is validated. A missing field is there too, with the value `null`.
#[derive(Clone)]
pub(crate) struct At<'a> {
    pub value: &'a Value,
    pub path: Path,
}

impl<'a> At<'a> {
    /// The whole object.
    pub fn root(object: &'a Value) -> Self {
        Self { value: object, path: Path::default() }
    }

    /// The field at a path of names joined by dots.
    pub fn at(&self, path: &str) -> Self {
        let mut found = Self { value: read::at(self.value, path), path: self.path.clone() };
        for name in path.split('.') {
            found.path = found.path.child(name);
        }
        found
    }

    /// The value under a key that is data.
    pub fn key(&self, key: &str) -> Self {
        Self { value: self.value.get(key).unwrap_or(&Value::Null), path: self.path.key(key) }
    }

    /// The elements of the list in the field `name`.
    pub fn items(&self, name: &str) -> impl Iterator<Item = At<'a>> + use<'a> {
        let list = self.at(name);
        read::list(self.value, name)
            .iter()
            .enumerate()
            .map(move |(index, value)| At { value, path: list.path.index(index) })
    }

    /// The entries of the map in the field `name`.
    pub fn entries(&self, name: &str) -> impl Iterator<Item = (&'a str, At<'a>)> + use<'a> {
        let map = self.at(name);
        read::map(self.value, name)
            .iter()
            .map(move |(key, value)| (key.as_str(), At { value, path: map.path.key(key) }))
    }

    pub fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    pub fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    pub fn int(&self) -> Option<i64> {
        self.value.as_i64()
    }

    pub fn is_true(&self) -> bool {
        self.value == &Value::Bool(true)
    }

    pub fn quantity(&self) -> Option<Quantity> {
        read::scalar(self.value).parse().ok()
    }

    pub fn required(&self, errors: &mut FieldErrors, detail: &str) {
        errors.push(FieldError::required(&self.path, detail));
    }

    pub fn forbidden(&self, errors: &mut FieldErrors, detail: &str) {
        errors.push(FieldError::forbidden(&self.path, detail));
    }

    pub fn invalid(&self, errors: &mut FieldErrors, detail: impl Into<String>) {
        errors.push(FieldError::invalid(&self.path, self.value.clone(), detail));
    }

    pub fn duplicate(&self, errors: &mut FieldErrors) {
        errors.push(FieldError::duplicate(&self.path, self.value.clone()));
    }

    pub fn not_found(&self, errors: &mut FieldErrors) {
        errors.push(FieldError {
            path: self.path.clone(),
            reason: machinery::field::Reason::NotFound,
            value: self.value.clone(),
            detail: String::new(),
        });
    }

    pub fn not_supported(&self, errors: &mut FieldErrors, supported: &[&str]) {
        errors.push(FieldError::not_supported(&self.path, self.value.clone(), supported));
    }

    /// The text, which must be there: `None` and an error where it is empty.
    pub fn require_text(&self, errors: &mut FieldErrors) -> Option<&'a str> {
        let found = Some(self.text()).filter(|text| !text.is_empty());
        if found.is_none() {
            self.required(errors, "");
        }
        found
    }

    /// The text follows a rule for names; an empty one does not.
    pub fn follows(&self, errors: &mut FieldErrors, rule: fn(&str) -> Vec<String>) {
        for wrong in rule(self.text()) {
            errors.push(FieldError::invalid(&self.path, self.text(), wrong));
        }
    }

    /// The text is there and follows a rule.
    pub fn require_name(&self, errors: &mut FieldErrors, rule: fn(&str) -> Vec<String>) {
        if self.require_text(errors).is_some() {
            self.follows(errors, rule);
        }
    }

    /// The text follows a rule where there is one.
    pub fn optional_name(&self, errors: &mut FieldErrors, rule: fn(&str) -> Vec<String>) {
        if !self.text().is_empty() {
            self.follows(errors, rule);
        }
    }

    /// The number, where there is one, is not below zero.
    pub fn non_negative(&self, errors: &mut FieldErrors) {
        if self.int().is_some_and(|number| number < 0) {
            self.invalid(errors, "must be greater than or equal to 0");
        }
    }

    /// The number, where there is one, lies between two bounds.
    pub fn in_range(&self, errors: &mut FieldErrors, low: i64, high: i64) {
        for wrong in self.int().map(|number| names::in_range(number, low, high)).unwrap_or_default() {
            self.invalid(errors, wrong);
        }
    }

    /// A port by number, or by name where it is text.
    pub fn port_or_name(&self, errors: &mut FieldErrors) {
        let wrong = match self.value {
            Value::Number(_) => names::port_number(self.int().unwrap_or_default()),
            _ => names::port_name(self.text()),
        };
        wrong.into_iter().for_each(|wrong| self.invalid(errors, wrong));
    }

    /// A number not below zero, or a percentage.
    pub fn count_or_percent(&self, errors: &mut FieldErrors) {
        match self.value {
            Value::Number(_) => self.non_negative(errors),
            Value::String(text) => names::percent(text).into_iter().for_each(|wrong| self.invalid(errors, wrong)),
            _ => {}
        }
    }

    /// A percentage is not more than all there is.
    pub fn at_most_all(&self, errors: &mut FieldErrors) {
        if percent(self.text()).is_some_and(|percent| percent > 100) {
            self.invalid(errors, "must not be greater than 100%");
        }
    }

    /// Whether a count or percentage is none at all.
    pub fn is_zero(&self) -> bool {
        self.int() == Some(0) || percent(self.text()) == Some(0)
    }

    /// May not differ from what it was.
    pub fn immutable(&self, errors: &mut FieldErrors, old: &Value) {
        if !read::same(self.value, old) {
            self.invalid(errors, "field is immutable");
        }
    }

    /// The one of `kinds` that is set, of an object that must have exactly one; each has its own error otherwise.
    pub fn one_of<'k>(
        &self,
        errors: &mut FieldErrors,
        kinds: &[&'k str],
        none: &str,
        several: &str,
    ) -> Option<&'k str> {
        let mut set = kinds.iter().filter(|kind| read::is_set(self.value, kind));
        let first = set.next();
        if first.is_none() {
            self.required(errors, none);
        }
        set.for_each(|kind| self.at(kind).forbidden(errors, several));
        first.copied()
    }
}

/// The number of a percentage.
pub(crate) fn percent(text: &str) -> Option<i64> {
    text.strip_suffix('%')?.parse().ok()
}

/// Whether a text is an address, of IPv4 or IPv6, in its usual form.
pub(crate) fn is_address(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}

/// What is said of a text that is no address.
pub(crate) const NO_ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

/// The errors of a LabelSelector.
pub(crate) fn label_selector(at: &At<'_>, errors: &mut FieldErrors) {
    if at.is_set() {
        errors.extend(machinery::selector::label::validate(at.value, &at.path));
    }
}
