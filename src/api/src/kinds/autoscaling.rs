//! HorizontalPodAutoscaler, in its two versions: stored as autoscaling/v2.

mod convert;

use jiff::Timestamp;
use serde_json::Value;

use crate::read;
use crate::resource::{Column, Kind};
use crate::table::{NONE, UNKNOWN, age, age_column, name, name_column, text};

/// Metrics that a row shows before it counts the rest.
const SHOWN_MAX: usize = 2;

/// The behaviour of autoscaling/v2.
pub struct Autoscaler;

/// The behaviour of autoscaling/v1.
pub struct AutoscalerV1;

impl Kind for Autoscaler {
    fn columns(&self) -> Vec<Column> {
        vec![
            name_column(),
            text("Reference", "What is scaled."),
            text("Targets", "The metrics, as they are and as they should be."),
            text("MinPods", "The least number of pods."),
            text("MaxPods", "The greatest number of pods."),
            text("Replicas", "How many pods there are."),
            age_column(),
        ]
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let target = read::at(object, "spec.scaleTargetRef");
        let least = match read::at(object, "spec.minReplicas").as_i64() {
            Some(number) => number.to_string(),
            None => "<unset>".to_string(),
        };
        vec![
            name(object),
            format!("{}/{}", read::text(target, "kind"), read::text(target, "name")).into(),
            metrics(object).into(),
            least.into(),
            read::int(object, "spec.maxReplicas").into(),
            read::int(object, "status.currentReplicas").into(),
            age(object, now),
        ]
    }
}

impl Kind for AutoscalerV1 {
    fn columns(&self) -> Vec<Column> {
        Autoscaler.columns()
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        Autoscaler.cells(&self.to_stored(object.clone()), now)
    }

    fn to_stored(&self, object: Value) -> Value {
        convert::to_v2(object)
    }

    fn to_served(&self, object: Value) -> Value {
        convert::to_v1(object)
    }
}

fn metrics(object: &Value) -> String {
    let current = read::list(object, "status.currentMetrics");
    let wanted = read::list(object, "spec.metrics");
    let shown: Vec<String> = wanted
        .iter()
        .take(SHOWN_MAX)
        .enumerate()
        .map(|(at, metric)| metric_text(metric, current.get(at).unwrap_or(&Value::Null)))
        .collect();
    match wanted.len().saturating_sub(SHOWN_MAX) {
        _ if shown.is_empty() => NONE.to_string(),
        0 => shown.join(", "),
        more => format!("{} + {more} more...", shown.join(", ")),
    }
}

/// The part of a metric that is named after its type.
fn metric_field(type_: &str) -> &'static str {
    match type_ {
        "External" => "external",
        "Object" => "object",
        "Pods" => "pods",
        "ContainerResource" => "containerResource",
        _ => "resource",
    }
}

fn metric_text(wanted: &Value, current: &Value) -> String {
    let field = metric_field(read::text(wanted, "type"));
    let (wanted, current) = (read::at(wanted, field), read::at(read::at(current, field), "current"));
    let target = read::at(wanted, "target");
    let value = |from: &Value, name: &str| match read::shown(from, name) {
        found if found.is_empty() => UNKNOWN.to_string(),
        found => found,
    };
    let prefix = match field {
        "resource" | "containerResource" => format!("{}: ", read::text(wanted, "name")),
        _ => String::new(),
    };
    if read::is_set(target, "averageUtilization") {
        let percent = |from: &Value| match read::at(from, "averageUtilization").as_i64() {
            Some(number) => format!("{number}%"),
            None => UNKNOWN.to_string(),
        };
        return format!("{prefix}{}/{}", percent(current), percent(target));
    }
    let (name, suffix) = match (read::is_set(target, "averageValue"), field) {
        (true, "external" | "object") => ("averageValue", " (avg)"),
        (true, _) => ("averageValue", ""),
        (false, _) => ("value", ""),
    };
    format!("{prefix}{}/{}{suffix}", value(current, name), value(target, name))
}
