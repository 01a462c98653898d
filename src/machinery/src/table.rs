//! Tables and partial metadata, the two forms of an answer that know no kind, and ages as kubectl prints them.
//!
//! The columns and cells of a kind are its own; this only puts them together.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::meta;

/// The apiVersion of Table and PartialObjectMetadata.
pub const API_VERSION: &str = "meta.k8s.io/v1";

/// How much of an object a row carries (`includeObject` of TableOptions).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl IncludeObject {
    /// Reads the query parameter; `None` where it is unknown.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Metadata" => Some(Self::Metadata),
            "None" => Some(Self::None),
            "Object" => Some(Self::Object),
            _ => None,
        }
    }
}

/// One entry of `columnDefinitions`. `type_` is `string`, `integer`, `date`…; `format` is `name` for the first
/// column; priority 0 is always shown, 1 with `-o wide`.
pub fn column(name: &str, type_: &str, format: &str, description: &str, priority: i32) -> Value {
    json!({"name": name, "type": type_, "format": format, "description": description, "priority": priority})
}

/// One entry of `rows`.
pub fn row(cells: Vec<Value>, object: Value, include: IncludeObject) -> Value {
    match include {
        IncludeObject::None => json!({"cells": cells, "object": null}),
        IncludeObject::Metadata => json!({"cells": cells, "object": partial_object_metadata(&object)}),
        IncludeObject::Object => json!({"cells": cells, "object": object}),
    }
}

/// A whole Table. `metadata` is that of the list (resourceVersion, continue, remainingItemCount); columns are left
/// out of all but the first event of a watch.
pub fn table(metadata: Value, columns: Vec<Value>, rows: Vec<Value>) -> Value {
    json!({"kind": "Table", "apiVersion": API_VERSION, "metadata": metadata, "columnDefinitions": columns, "rows": rows})
}

/// An object reduced to its metadata.
pub fn partial_object_metadata(object: &Value) -> Value {
    let metadata = object.get("metadata").cloned().unwrap_or_else(|| json!({}));
    json!({"kind": "PartialObjectMetadata", "apiVersion": API_VERSION, "metadata": metadata})
}

/// A list of objects reduced to their metadata.
pub fn partial_object_metadata_list(metadata: Value, objects: &[Value]) -> Value {
    let items: Vec<Value> = objects.iter().map(partial_object_metadata).collect();
    json!({"kind": "PartialObjectMetadataList", "apiVersion": API_VERSION, "metadata": metadata, "items": items})
}

/// The cell of an Age column: the time since the object was created.
pub fn age(object: &Value, now: Timestamp) -> String {
    time_since(meta::creation_timestamp(object), now)
}

/// The time since `time` in short; `<unknown>` where there is none.
pub fn time_since(time: Option<Timestamp>, now: Timestamp) -> String {
    time.map_or_else(|| "<unknown>".to_string(), |time| human_duration(now.duration_since(time).as_millis()))
}

/// A duration in milliseconds with two or three significant figures: `5s`, `2m3s`, `3h`, `2d`, `1y5d`.
///
/// A little in the future is now, since clocks differ; more than two seconds is `<invalid>`.
pub fn human_duration(millis: i128) -> String {
    let seconds = millis / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let pair = |large: i128, large_unit: &str, small: i128, small_unit: &str| match small {
        0 => format!("{large}{large_unit}"),
        small => format!("{large}{large_unit}{small}{small_unit}"),
    };
    match seconds {
        ..=-2 => "<invalid>".to_string(),
        -1 => "0s".to_string(),
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => pair(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => pair(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 24 * 8 => pair(days, "d", hours % 24, "h"),
        _ if days < 365 * 2 => format!("{days}d"),
        _ if days < 365 * 8 => pair(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectl_prints_them() {
        let (minute, hour, day) = (60, 3600, 86400);
        let cases = [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (5, "5s"),
            (119, "119s"),
            (2 * minute, "2m"),
            (2 * minute + 3, "2m3s"),
            (10 * minute + 3, "10m"),
            (179 * minute, "179m"),
            (3 * hour, "3h"),
            (3 * hour + 5 * minute, "3h5m"),
            (8 * hour + 5 * minute, "8h"),
            (47 * hour, "47h"),
            (2 * day, "2d"),
            (2 * day + hour, "2d1h"),
            (8 * day + hour, "8d"),
            (729 * day, "729d"),
            (730 * day, "2y"),
            (735 * day, "2y5d"),
            (8 * 365 * day + 5 * day, "8y"),
        ];
        for (seconds, text) in cases {
            assert_eq!(human_duration(seconds * 1000), text, "{seconds} s");
        }
        assert_eq!(human_duration(-1900), "0s");
    }

    #[test]
    fn an_age_without_a_creation_time_is_unknown() {
        let now: Timestamp = "2026-01-02T00:00:10Z".parse().unwrap();
        assert_eq!(age(&json!({}), now), "<unknown>");
        assert_eq!(age(&json!({"metadata": {"creationTimestamp": "2026-01-02T00:00:00Z"}}), now), "10s");
    }

    #[test]
    fn rows_carry_as_much_of_the_object_as_was_asked_for() {
        let pod = json!({"kind": "Pod", "metadata": {"name": "a"}, "spec": {}});
        let object = |include| row(vec!["a".into()], pod.clone(), include)["object"].clone();
        assert_eq!(object(IncludeObject::None), Value::Null);
        assert_eq!(object(IncludeObject::Object), pod);
        assert_eq!(
            object(IncludeObject::parse("").unwrap()),
            json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "a"}})
        );
    }
}
