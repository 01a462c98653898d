//! Label selectors, from the query string (`a=b,c!=d,e in (x,y),!f,g`) and from objects (`matchLabels`,
//! `matchExpressions`).

mod parse;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::field::{FieldError, FieldErrors, Path, Reason};
use crate::names;

/// What a selector is refused for; the words are those of Kubernetes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The text is malformed.
    #[error("{0}")]
    Syntax(String),
    /// An operator that matchExpressions does not know.
    #[error("{0:?} is not a valid label selector operator")]
    Operator(String),
    /// Keys or values are malformed, or do not fit the operator.
    #[error("{}", join(.0))]
    Invalid(FieldErrors),
}

fn join(errors: &FieldErrors) -> String {
    let mut texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.dedup();
    match texts.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Equals,
    /// `==`
    DoubleEquals,
    /// `!=`
    NotEquals,
    /// `in`
    In,
    /// `notin`
    NotIn,
    /// The key alone.
    Exists,
    /// `!key`
    DoesNotExist,
    /// `>`; whole numbers.
    GreaterThan,
    /// `<`; whole numbers.
    LessThan,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

impl Requirement {
    /// A condition, checked: keys and values are well formed and their number fits the operator. `path` begins the
    /// errors' paths.
    pub fn new(key: &str, operator: Operator, values: Vec<String>, path: &Path) -> Result<Self, Error> {
        let mut wrong = FieldErrors::new();
        let key_errors = names::qualified_name(key);
        if !key_errors.is_empty() {
            wrong.push(FieldError::invalid(&path.child("key"), key, key_errors.join("; ")));
        }
        let at = path.child("values");
        let mut refuse = |detail: &str| wrong.push(FieldError::invalid(&at, values.clone(), detail));
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                refuse("for 'in', 'notin' operators, values set can't be empty");
            }
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals if values.len() != 1 => {
                refuse("exact-match compatibility requires one single value");
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                refuse("values set must be empty for exists and does not exist");
            }
            Operator::GreaterThan | Operator::LessThan => {
                if values.len() != 1 {
                    refuse("for 'Gt', 'Lt' operators, exactly one value is required");
                }
                for (index, value) in values.iter().enumerate().filter(|(_, value)| value.parse::<i64>().is_err()) {
                    let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
                    wrong.push(FieldError::invalid(&at.index(index), value.as_str(), detail));
                }
            }
            _ => {}
        }
        for (index, value) in values.iter().enumerate() {
            let errors = names::label_value(value);
            if !errors.is_empty() {
                wrong.push(FieldError::invalid(&at.index(index).key(key), value.as_str(), errors.join("; ")));
            }
        }
        if !wrong.is_empty() {
            return Err(Error::Invalid(wrong));
        }
        Ok(Self { key: key.to_string(), operator, values })
    }

    /// The label's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How it is compared.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// To what it is compared.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    fn matches(&self, label: Option<&str>) -> bool {
        let is_listed = |label: &str| self.values.iter().any(|value| value == label);
        let number = |text: &str| text.parse::<i64>().ok();
        let bound = || self.values.first().and_then(|value| number(value));
        match self.operator {
            Operator::Equals | Operator::DoubleEquals | Operator::In => label.is_some_and(is_listed),
            Operator::NotEquals | Operator::NotIn => !label.is_some_and(is_listed),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::GreaterThan => label.and_then(number).zip(bound()).is_some_and(|(label, bound)| label > bound),
            Operator::LessThan => label.and_then(number).zip(bound()).is_some_and(|(label, bound)| label < bound),
        }
    }
}

/// Where labels are read from.
pub trait Labels {
    /// The value of a label.
    fn label(&self, key: &str) -> Option<&str>;
}

impl Labels for Map<String, Value> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }
}

impl Labels for BTreeMap<String, String> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl<L: Labels> Labels for Option<&L> {
    fn label(&self, key: &str) -> Option<&str> {
        self.and_then(|labels| labels.label(key))
    }
}

/// Conditions that must all hold, or a selector that selects nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelSelector {
    nothing: bool,
    requirements: Vec<Requirement>,
}

impl LabelSelector {
    /// Selects everything.
    pub fn everything() -> Self {
        Self { nothing: false, requirements: Vec::new() }
    }

    /// Selects nothing.
    pub fn nothing() -> Self {
        Self { nothing: true, requirements: Vec::new() }
    }

    /// All of these conditions.
    pub fn new(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { nothing: false, requirements }
    }

    /// Reads the form of the query string; the empty text selects everything.
    pub fn parse(text: &str) -> Result<Self, Error> {
        parse::parse(text).map(Self::new)
    }

    /// Reads `{matchLabels, matchExpressions}` of an object. A missing or null selector selects nothing, an empty
    /// one everything.
    pub fn from_json(selector: Option<&Value>) -> Result<Self, Error> {
        let Some(selector) = selector.filter(|selector| !selector.is_null()) else {
            return Ok(Self::nothing());
        };
        let root = Path::default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let mut requirements = Vec::new();
        for (key, value) in selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
            requirements.push(Requirement::new(key, Operator::Equals, vec![text(value)], &root)?);
        }
        for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            let operator = match expression.get("operator").and_then(Value::as_str).unwrap_or_default() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(Error::Operator(other.to_string())),
            };
            let key = expression.get("key").and_then(Value::as_str).unwrap_or_default();
            let values = expression.get("values").and_then(Value::as_array);
            let values = values.into_iter().flatten().map(text).collect();
            requirements.push(Requirement::new(key, operator, values, &root)?);
        }
        Ok(Self::new(requirements))
    }

    /// Selects objects that have exactly these labels (and any other), as `spec.selector` of a Service does; not
    /// checked. An empty or missing map selects everything.
    pub fn from_map(labels: Option<&Map<String, Value>>) -> Self {
        let requirement = |(key, value): (&String, &Value)| Requirement {
            key: key.clone(),
            operator: Operator::Equals,
            values: vec![value.as_str().unwrap_or_default().to_string()],
        };
        Self::new(labels.into_iter().flatten().map(requirement).collect())
    }

    /// Selects everything.
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    /// Selects nothing, whatever the labels.
    pub fn is_nothing(&self) -> bool {
        self.nothing
    }

    /// The conditions, by key.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether labels fulfil every condition.
    pub fn matches(&self, labels: &impl Labels) -> bool {
        !self.nothing && self.requirements.iter().all(|requirement| requirement.matches(labels.label(&requirement.key)))
    }

    /// Whether an object's `metadata.labels` fulfil every condition.
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches(&crate::meta::labels(object))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut values = self.values.clone();
        values.sort();
        let (key, values) = (&self.key, values.join(","));
        match self.operator {
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.requirements.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join(","))
    }
}

/// What is wrong with `{matchLabels, matchExpressions}` at `path`, as validation of objects reports it.
pub fn validate(selector: &Value, path: &Path) -> FieldErrors {
    let mut wrong = FieldErrors::new();
    let labels_path = path.child("matchLabels");
    for (key, value) in selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
        wrong.extend(
            names::qualified_name(key).into_iter().map(|text| FieldError::invalid(&labels_path, key.as_str(), text)),
        );
        let value = value.as_str().unwrap_or_default();
        wrong.extend(names::label_value(value).into_iter().map(|text| FieldError::invalid(&labels_path, value, text)));
    }
    let expressions = selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten();
    for (index, expression) in expressions.enumerate() {
        wrong.extend(validate_expression(expression, &path.child("matchExpressions").index(index)));
    }
    wrong
}

fn validate_expression(expression: &Value, path: &Path) -> FieldErrors {
    let mut wrong = FieldErrors::new();
    let values = expression.get("values").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let at = path.child("values");
    match expression.get("operator").and_then(Value::as_str).unwrap_or_default() {
        "In" | "NotIn" if values.is_empty() => {
            wrong.push(FieldError::required(&at, "must be specified when `operator` is 'In' or 'NotIn'"));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            wrong
                .push(FieldError::forbidden(&at, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => wrong.push(FieldError {
            path: path.child("operator"),
            reason: Reason::Invalid,
            value: other.into(),
            detail: "not a valid selector operator".to_string(),
        }),
    }
    let key = expression.get("key").and_then(Value::as_str).unwrap_or_default();
    let key_path = path.child("key");
    wrong.extend(names::qualified_name(key).into_iter().map(|text| FieldError::invalid(&key_path, key, text)));
    for (index, value) in values.iter().enumerate() {
        let value = value.as_str().unwrap_or_default();
        let at = at.index(index);
        wrong.extend(names::label_value(value).into_iter().map(|text| FieldError::invalid(&at, value, text)));
    }
    wrong
}

#[cfg(test)]
mod tests;
