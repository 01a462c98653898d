//! The columns of a custom resource: its name, and what `additionalPrinterColumns` name.

use jiff::Timestamp;
use machinery::jsonpath::JsonPath;
use machinery::{meta, table};
use serde_json::Value;

use crate::resource::Column;
use crate::table::name_column;

/// A column and where its cells come from.
struct Own {
    name: String,
    type_: String,
    format: String,
    description: String,
    priority: i32,
    path: JsonPath,
}

/// The columns of a version after the first.
pub(super) struct Columns(Vec<Own>);

impl Columns {
    /// Reads `additionalPrinterColumns`; without them the age is shown. A path that cannot be read shows nothing: it
    /// was refused when the definition came.
    pub(super) fn read(columns: &Value) -> Self {
        let given = columns.as_array().map(Vec::as_slice).unwrap_or_default();
        if given.is_empty() {
            return Self(JsonPath::parse(".metadata.creationTimestamp").map(age).into_iter().collect());
        }
        Self(given.iter().filter_map(own).collect())
    }

    pub(super) fn definitions(&self) -> Vec<Column<'_>> {
        std::iter::once(name_column()).chain(self.0.iter().map(Own::definition)).collect()
    }

    pub(super) fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let name = Value::from(meta::name(object));
        std::iter::once(name).chain(self.0.iter().map(|own| own.cell(object, now))).collect()
    }
}

fn age(path: JsonPath) -> Own {
    Own {
        name: "Age".to_string(),
        type_: "date".to_string(),
        format: String::new(),
        description: "The time since the object was created.".to_string(),
        priority: 0,
        path,
    }
}

fn own(column: &Value) -> Option<Own> {
    let text = |name: &str| column[name].as_str().unwrap_or_default().to_string();
    Some(Own {
        name: text("name"),
        type_: text("type"),
        format: text("format"),
        description: text("description"),
        priority: column["priority"].as_i64().and_then(|priority| priority.try_into().ok()).unwrap_or(0),
        path: JsonPath::parse(&text("jsonPath")).ok()?,
    })
}

impl Own {
    fn definition(&self) -> Column<'_> {
        Column {
            name: &self.name,
            type_: &self.type_,
            format: &self.format,
            description: &self.description,
            priority: self.priority,
        }
    }

    /// The first value at the path, where it has the column's type.
    fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let Some(value) = self.path.find(object).first().copied() else { return Value::Null };
        match (self.type_.as_str(), value) {
            (_, Value::Null) => Value::Null,
            ("string", Value::String(text)) => text.as_str().into(),
            ("string", other) => other.to_string().into(),
            ("integer", Value::Number(number)) => match number.as_i64() {
                Some(whole) => whole.into(),
                None => (number.as_f64().unwrap_or_default() as i64).into(),
            },
            ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
            ("date", Value::String(text)) => match text.parse::<Timestamp>() {
                Ok(time) => table::time_since(Some(time), now).into(),
                Err(_) => "<invalid>".into(),
            },
            _ => Value::Null,
        }
    }
}
