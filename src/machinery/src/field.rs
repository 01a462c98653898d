//! Field paths and the errors of validation, in Kubernetes' words.
//!
//! `spec.containers[0].image: Required value: must be set`.

use std::fmt;

use serde_json::Value;

/// The way to a field: `spec.containers[0].env[name]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path(String);

impl Path {
    /// A path that begins at `name`.
    pub fn new(name: &str) -> Self {
        Self(name.to_string())
    }

    /// The path of a field of the object at this path.
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.to_string()) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// The path of a list element.
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The path of what is at `below` of the value at this path.
    pub fn join(&self, below: &Self) -> Self {
        match (self.0.as_str(), below.0.as_str()) {
            ("", _) => below.clone(),
            (_, "") => self.clone(),
            (above, below) if below.starts_with('[') => Self(format!("{above}{below}")),
            (above, below) => Self(format!("{above}.{below}")),
        }
    }

    /// The path of a map value.
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "<nil>" } else { &self.0 })
    }
}

/// Why a field is refused; the names are the `reason` of a Status cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A value that must be unique is there twice.
    Duplicate,
    /// May not be set, or not be changed, here.
    Forbidden,
    /// Malformed or out of range.
    Invalid,
    /// Names something that does not exist.
    NotFound,
    /// Not one of the supported values.
    NotSupported,
    /// Missing.
    Required,
    /// Longer than allowed, in bytes.
    TooLong,
    /// More elements than allowed.
    TooMany,
    /// Of another JSON type.
    TypeInvalid,
    /// Something went wrong here, not in the object.
    Internal,
}

impl Reason {
    /// The `reason` of `status.details.causes[]`: `FieldValueRequired` and so on.
    pub fn cause(self) -> &'static str {
        match self {
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::Invalid => "FieldValueInvalid",
            Self::NotFound => "FieldValueNotFound",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Required => "FieldValueRequired",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotFound => "Not found",
            Self::NotSupported => "Unsupported value",
            Self::Required => "Required value",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }
}

/// One field that is refused.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// Which field.
    pub path: Path,
    /// Why.
    pub reason: Reason,
    /// The value found; not shown for `Required`, `Forbidden`, `TooLong` and `Internal`.
    pub value: Value,
    /// What would be right.
    pub detail: String,
}

impl FieldError {
    /// The field must be set.
    pub fn required(path: &Path, detail: impl Into<String>) -> Self {
        Self { path: path.clone(), reason: Reason::Required, value: Value::Null, detail: detail.into() }
    }

    /// The field's value is malformed.
    pub fn invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self { path: path.clone(), reason: Reason::Invalid, value: value.into(), detail: detail.into() }
    }

    /// The field may not be set, or not be changed.
    pub fn forbidden(path: &Path, detail: impl Into<String>) -> Self {
        Self { path: path.clone(), reason: Reason::Forbidden, value: Value::Null, detail: detail.into() }
    }

    /// The value is there already.
    pub fn duplicate(path: &Path, value: impl Into<Value>) -> Self {
        Self { path: path.clone(), reason: Reason::Duplicate, value: value.into(), detail: String::new() }
    }

    /// The value is none of `supported`.
    pub fn not_supported(path: &Path, value: impl Into<Value>, supported: &[&str]) -> Self {
        let quoted: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        Self {
            path: path.clone(),
            reason: Reason::NotSupported,
            value: value.into(),
            detail: format!("supported values: {}", quoted.join(", ")),
        }
    }

    /// The message without the path, as `status.details.causes[].message` has it.
    pub fn message(&self) -> String {
        let mut text = self.reason.words().to_string();
        let shows_value = !matches!(
            self.reason,
            Reason::Required | Reason::Forbidden | Reason::TooLong | Reason::Internal | Reason::TooMany
        );
        if shows_value {
            text.push_str(": ");
            match &self.value {
                Value::String(value) => text.push_str(&format!("{value:?}")),
                value => text.push_str(&value.to_string()),
            }
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message())
    }
}

/// What validation found; empty means valid.
pub type FieldErrors = Vec<FieldError>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_kubernetes_writes_them() {
        let image = Path::new("spec").child("containers").index(0).child("image");
        assert_eq!(FieldError::required(&image, "").to_string(), "spec.containers[0].image: Required value");
        assert_eq!(
            FieldError::not_supported(&Path::new("type"), "X", &["A", "B"]).to_string(),
            "type: Unsupported value: \"X\": supported values: \"A\", \"B\""
        );
        assert_eq!(
            FieldError::invalid(&Path::new("n"), -1, "must be positive").to_string(),
            "n: Invalid value: -1: must be positive"
        );
    }
}
