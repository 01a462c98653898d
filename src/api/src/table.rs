//! Columns and cells that many kinds share, in the forms that `kubectl get` prints.

use jiff::Timestamp;
use machinery::meta;
use serde_json::Value;

use crate::read;
use crate::resource::Column;

/// What stands in a cell whose value nobody knows.
pub const UNKNOWN: &str = "<unknown>";
/// What stands in a cell that has no value.
pub const NONE: &str = "<none>";

/// A column that is always shown.
pub const fn column(name: &'static str, type_: &'static str, description: &'static str) -> Column<'static> {
    Column { name, type_, format: "", description, priority: 0 }
}

/// A text column that is always shown.
pub const fn text(name: &'static str, description: &'static str) -> Column<'static> {
    column(name, "string", description)
}

/// A text column that `-o wide` adds.
pub const fn wide(name: &'static str, description: &'static str) -> Column<'static> {
    Column { name, type_: "string", format: "", description, priority: 1 }
}

/// The first column of every kind.
pub const fn name_column() -> Column<'static> {
    Column { name: "Name", type_: "string", format: "name", description: "The object's name.", priority: 0 }
}

/// The age of the object.
pub const fn age_column() -> Column<'static> {
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
pub fn time_at(object: &Value, path: &str) -> Option<Timestamp> {
    read::text(object, path).parse().ok()
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
pub fn text_or(object: &Value, path: &str, otherwise: &str) -> String {
    match read::text(object, path) {
        "" => otherwise.to_string(),
        found => found.to_string(),
    }
}

/// Labels as `k=v,k2=v2`; `<none>` where there are none.
pub fn labels(labels: &Value) -> String {
    let pairs = labels.as_object().into_iter().flatten();
    joined(pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())))
}

/// A LabelSelector as kubectl writes it: `app=web,tier in (a,b),!old`; `<none>` where it selects everything.
pub fn selector(selector: &Value) -> String {
    let equal = read::map(selector, "matchLabels")
        .iter()
        .map(|(key, value)| (key.as_str(), format!("{key}={}", value.as_str().unwrap_or_default())));
    let expressions = read::list(selector, "matchExpressions").iter().map(|expression| {
        let key = read::text(expression, "key");
        let mut values: Vec<&str> = read::texts(expression, "values").collect();
        values.sort_unstable();
        let shown = match read::text(expression, "operator") {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.to_string(),
            _ => format!("!{key}"),
        };
        (key, shown)
    });
    let mut parts: Vec<(&str, String)> = equal.chain(expressions).collect();
    parts.sort();
    joined(parts.into_iter().map(|(_, shown)| shown))
}

/// The columns of what a pod template runs.
pub const CONTAINER_COLUMNS: [Column<'static>; 2] = [
    wide("Containers", "The names of the template's containers."),
    wide("Images", "The images of the template's containers."),
];

/// The cells of [`CONTAINER_COLUMNS`] for the pod spec at `path`.
pub fn container_cells(object: &Value, path: &str) -> [Value; 2] {
    let containers = read::list(read::at(object, path), "containers");
    let each = |field: &'static str| -> String {
        containers.iter().map(|container| read::text(container, field)).collect::<Vec<_>>().join(",")
    };
    [each("name").into(), each("image").into()]
}

/// The first `max` of `items`, joined by commas, and how many more there are.
pub fn first_few(items: &[String], max: usize, when_empty: &str) -> String {
    match items.len() {
        0 => when_empty.to_string(),
        count if count > max => format!("{} + {} more...", items[..max].join(","), count - max),
        _ => items.join(","),
    }
}

/// Access modes in their short form: `RWO,ROX`.
pub fn access_modes(object: &Value, path: &str) -> String {
    let present: Vec<&str> = read::texts(object, path).collect();
    let short =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    short.iter().filter(|(long, _)| present.contains(long)).map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

/// Whether the object has a condition of this type with status `True`.
pub fn has_condition(object: &Value, type_: &str) -> bool {
    read::list(object, "status.conditions")
        .iter()
        .any(|condition| read::text(condition, "type") == type_ && read::text(condition, "status") == "True")
}
