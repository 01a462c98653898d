//! Columns and cells that many kinds share, in the forms that `kubectl get` prints.

use jiff::Timestamp;
use machinery::meta;
use serde_json::Value;

use crate::resource::Column;

/// What stands in a cell whose value nobody knows.
pub const UNKNOWN: &str = "<unknown>";
/// What stands in a cell that has no value.
pub const NONE: &str = "<none>";

/// A column that is always shown.
pub const fn column(name: &'static str, type_: &'static str, description: &'static str) -> Column {
    Column { name, type_, format: "", description, priority: 0 }
}

/// A text column that is always shown.
pub const fn text(name: &'static str, description: &'static str) -> Column {
    column(name, "string", description)
}

/// A text column that `-o wide` adds.
pub const fn wide(name: &'static str, description: &'static str) -> Column {
    Column { name, type_: "string", format: "", description, priority: 1 }
}

/// The first column of every kind.
pub const fn name_column() -> Column {
    Column { name: "Name", type_: "string", format: "name", description: "The object's name.", priority: 0 }
}

/// The age of the object.
pub const fn age_column() -> Column {
    text("Age", "The time since the object was created.")
}

/// The cell of [`name_column`].
pub fn name(object: &Value) -> Value {
    meta::name(object).into()
}

/// The cell of [`age_column`].
pub fn age(object: &Value, now: Timestamp) -> Value {
    since(meta::creation_timestamp(object), now).into()
}

/// How long ago `then` was: `3d4h`, `<unknown>` where there is no such time.
pub fn since(then: Option<Timestamp>, now: Timestamp) -> String {
    machinery::table::time_since(then, now)
}

/// The time at `path` of the object, if there is one.
pub fn time_at(object: &Value, path: &[&str]) -> Option<Timestamp> {
    meta::text_at(object, path).parse().ok()
}

/// `items` joined by commas, `<none>` where there are none.
pub fn joined<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    let items: Vec<S> = items.into_iter().collect();
    if items.is_empty() {
        return NONE.to_string();
    }
    items.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(",")
}

/// The text at `path`, or `otherwise` where it is empty.
pub fn text_or(object: &Value, path: &[&str], otherwise: &str) -> String {
    match meta::text_at(object, path) {
        "" => otherwise.to_string(),
        found => found.to_string(),
    }
}
