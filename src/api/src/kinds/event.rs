//! Event, in the core group and in events.k8s.io: one stored resource, in the core group's form.

use std::time::Duration;

use jiff::Timestamp;
use machinery::field::{FieldError, FieldErrors, Path};
use machinery::meta;
use serde_json::Value;

use crate::check::At;
use crate::read;
use crate::resource::{Column, Kind};
use crate::table::{name, since, text, time_at, wide};

/// Events of the core group.
pub struct CoreEvent;

/// Events of events.k8s.io.
pub struct Event;

/// How long events are kept: Kubernetes' default (`--event-ttl`).
const TTL: Duration = Duration::from_secs(3600);

/// Where events of objects without a namespace live.
const CLUSTER_EVENTS: &str = "default";

const FIELDS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

const NEW_FIELDS: &[&str] = &[
    "regarding.kind",
    "regarding.namespace",
    "regarding.name",
    "regarding.uid",
    "regarding.apiVersion",
    "regarding.resourceVersion",
    "regarding.fieldPath",
    "reason",
    "reportingController",
    "type",
];

/// A field's name in the core group and in events.k8s.io, where they differ.
const RENAMED: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

impl Kind for CoreEvent {
    fn ttl(&self) -> Option<Duration> {
        Some(TTL)
    }

    fn columns(&self) -> Vec<Column<'_>> {
        vec![
            text("Last Seen", "The time since it happened last."),
            text("Type", "Normal or Warning."),
            text("Reason", "What happened, in one word."),
            text("Object", "The object it happened to."),
            wide("Subobject", "The part of the object."),
            wide("Source", "Who reports it."),
            text("Message", "What happened."),
            wide("First Seen", "The time since it happened first."),
            wide("Count", "How often it happened."),
            Column { format: "name", ..wide("Name", "The event's name.") },
        ]
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let event_time = time_at(object, "eventTime");
        let first = time_at(object, "firstTimestamp").or(event_time);
        let (last, count) = match read::is_set(object, "series") {
            true => (time_at(object, "series.lastObservedTime"), read::int(object, "series.count")),
            false => (time_at(object, "lastTimestamp").or(first), read::int(object, "count").max(1)),
        };
        vec![
            since(last, now).into(),
            read::text(object, "type").into(),
            read::text(object, "reason").into(),
            target(object).into(),
            read::text(object, "involvedObject.fieldPath").into(),
            source(object).into(),
            read::text(object, "message").trim().into(),
            since(first, now).into(),
            count.into(),
            name(object),
        ]
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        at_home(object, "involvedObject")
    }

    fn fields(&self) -> &'static [&'static str] {
        FIELDS
    }

    fn field(&self, object: &Value, path: &str) -> Option<String> {
        match path {
            "source" => Some(component(object).to_string()),
            path => self.fields().contains(&path).then(|| read::shown(object, path)),
        }
    }
}

impl Kind for Event {
    fn ttl(&self) -> Option<Duration> {
        Some(TTL)
    }

    fn columns(&self) -> Vec<Column<'_>> {
        CoreEvent.columns()
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        CoreEvent.cells(&self.to_stored(object.clone()), now)
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = at_home(object, "regarding");
        let root = At::root(object);
        if !root.at("eventTime").is_set() {
            root.at("eventTime").required(&mut errors, "");
        }
        for (field, limit_bytes) in
            [("reportingController", 0), ("reportingInstance", 128), ("action", 128), ("reason", 128)]
        {
            let at = root.at(field);
            if at.require_text(&mut errors).is_some_and(|text| limit_bytes > 0 && text.len() > limit_bytes) {
                at.invalid(&mut errors, format!("can have at most {limit_bytes} characters"));
            }
        }
        root.at("reportingController").optional_name(&mut errors, machinery::names::qualified_name);
        if !matches!(root.at("type").text(), "Normal" | "Warning") {
            let type_ = root.at("type");
            errors.push(FieldError::invalid(&type_.path, type_.text(), "has invalid value"));
        }
        errors
    }

    /// Only the count of a series changes after an event was reported.
    fn validate_update(&self, object: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        for field in
            ["regarding", "reason", "action", "reportingController", "reportingInstance", "type", "eventTime", "note"]
        {
            At::root(object).at(field).immutable(&mut errors, read::at(old, field));
        }
        errors
    }

    fn fields(&self) -> &'static [&'static str] {
        NEW_FIELDS
    }

    fn to_stored(&self, object: Value) -> Value {
        rename(object, "v1", RENAMED.iter().map(|(core, new)| (*new, *core)))
    }

    fn to_served(&self, object: Value) -> Value {
        rename(object, "events.k8s.io/v1", RENAMED)
    }
}

/// An event lives in the namespace of what it is about; `about` is the field's name.
fn at_home(object: &Value, about: &str) -> FieldErrors {
    let involved = read::text(read::at(object, about), "namespace");
    let namespace = meta::namespace(object);
    let home = if involved.is_empty() { CLUSTER_EVENTS } else { involved };
    // Events of cluster-scoped objects may also live in kube-system, where older clients put them.
    let is_cluster_wide = involved.is_empty() && namespace == "kube-system";
    if namespace == home || is_cluster_wide {
        return FieldErrors::new();
    }
    let path = Path::new("involvedObject").child("namespace");
    vec![FieldError::invalid(&path, involved, "does not match event.namespace")]
}

fn rename<'a>(mut object: Value, api_version: &str, names: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    let Some(fields) = object.as_object_mut() else { return object };
    fields.insert("apiVersion".to_string(), api_version.into());
    for (from, to) in names {
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_string(), value);
        }
    }
    object
}

fn target(object: &Value) -> String {
    let involved = read::at(object, "involvedObject");
    let kind = meta::kind(involved).to_lowercase();
    match read::text(involved, "name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}

fn component(object: &Value) -> &str {
    match read::text(object, "source.component") {
        "" => read::text(object, "reportingComponent"),
        component => component,
    }
}

fn source(object: &Value) -> String {
    let host = match read::text(object, "source.host") {
        "" => read::text(object, "reportingInstance"),
        host => host,
    };
    [component(object), host].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_versions_carry_the_same_event() {
        let core = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "type": "Warning", "reason": "Failed",
            "message": "no", "involvedObject": {"kind": "Pod", "name": "p"}, "source": {"component": "kubelet"},
            "count": 3, "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:01:00Z",
        });
        let new = Event.to_served(core.clone());
        assert_eq!(new["apiVersion"], "events.k8s.io/v1");
        assert_eq!(
            (&new["note"], &new["regarding"]["name"], &new["deprecatedCount"]),
            (&json!("no"), &json!("p"), &json!(3))
        );
        assert_eq!(Event.to_stored(new.clone()), core);
        let now = "2026-01-01T00:02:00Z".parse().expect("a time");
        let cells = CoreEvent.cells(&core, now);
        assert_eq!(cells[..4], [json!("60s"), json!("Warning"), json!("Failed"), json!("pod/p")]);
        assert_eq!(Event.cells(&new, now), cells);
        assert_eq!(CoreEvent.field(&core, "source").as_deref(), Some("kubelet"));
        assert_eq!(CoreEvent.field(&core, "message"), None);
    }
}
