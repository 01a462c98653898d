//! HorizontalPodAutoscaler, in its two versions: stored as autoscaling/v2.

mod behavior;
mod convert;
mod metrics;

use jiff::Timestamp;
use machinery::field::{FieldError, FieldErrors};
use serde_json::{Value, json};

use crate::check::At;
use crate::edit::{fill, set, value_at};
use crate::read;
use crate::resource::{Column, Kind};
use crate::table::{NONE, UNKNOWN, age, age_column, name, name_column, text};

/// What a pod's CPU should be used to, of its request.
const DEFAULT_CPU_PERCENT: i64 = 80;
const POLICY_PERIOD_SECONDS: i64 = 15;

/// Metrics that a row shows before it counts the rest.
const SHOWN_MAX: usize = 2;

/// The behaviour of autoscaling/v2.
pub struct Autoscaler;

/// The behaviour of autoscaling/v1.
pub struct AutoscalerV1;

impl Kind for Autoscaler {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object.get_mut("spec") else { return };
        if read::list(spec, "metrics").is_empty() {
            let target = json!({"type": "Utilization", "averageUtilization": DEFAULT_CPU_PERCENT});
            set(spec, "metrics", json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]));
        }
        default_rules(spec, "behavior.scaleUp", Some(0), &[("Pods", 4), ("Percent", 100)]);
        default_rules(spec, "behavior.scaleDown", None, &[("Percent", 100)]);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        validate_bounds(object, &mut errors);
        let spec = At::root(object).at("spec");
        spec.items("metrics").for_each(|metric| metrics::validate(&metric, &mut errors));
        for rules in ["scaleUp", "scaleDown"] {
            behavior::validate(&spec.at("behavior").at(rules), &mut errors);
        }
        errors
    }

    fn validate_subresource_update(&self, _subresource: &str, object: &Value, _old: &Value) -> FieldErrors {
        validate_status(object)
    }

    fn columns(&self) -> Vec<Column<'_>> {
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
            shown_metrics(object).into(),
            least.into(),
            read::int(object, "spec.maxReplicas").into(),
            read::int(object, "status.currentReplicas").into(),
            age(object, now),
        ]
    }
}

/// What is wrong with a status, of either version.
fn validate_status(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let at = At::root(object).at("status");
    crate::status::counts(&at, &["currentReplicas", "desiredReplicas"], &mut errors);
    errors
}

impl Kind for AutoscalerV1 {
    fn default(&self, object: &mut Value) {
        let has_metrics = machinery::meta::annotation(object, convert::METRICS).is_some();
        if let Some(spec) = object.get_mut("spec").filter(|_| !has_metrics) {
            fill(spec, "targetCPUUtilizationPercentage", DEFAULT_CPU_PERCENT);
        }
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        validate_bounds(object, &mut errors);
        let target = At::root(object).at("spec.targetCPUUtilizationPercentage");
        if target.int().is_some_and(|percent| percent < 1) {
            target.invalid(&mut errors, "must be greater than 0");
        }
        errors
    }

    fn validate_subresource_update(&self, _subresource: &str, object: &Value, _old: &Value) -> FieldErrors {
        validate_status(object)
    }

    fn columns(&self) -> Vec<Column<'_>> {
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

fn default_rules(spec: &mut Value, path: &str, window_seconds: Option<i64>, policies: &[(&str, i64)]) {
    let Some(rules) = value_at(spec, path).filter(|rules| rules.is_object()) else { return };
    fill(rules, "selectPolicy", "Max");
    if let Some(seconds) = window_seconds {
        fill(rules, "stabilizationWindowSeconds", seconds);
    }
    let policies: Vec<Value> = policies
        .iter()
        .map(|(type_, value)| json!({"type": type_, "value": value, "periodSeconds": POLICY_PERIOD_SECONDS}))
        .collect();
    fill(rules, "policies", policies);
}

fn validate_bounds(object: &Value, errors: &mut FieldErrors) {
    let spec = At::root(object).at("spec");
    let (least, most) = (spec.at("minReplicas"), spec.at("maxReplicas"));
    if least.int().is_some_and(|count| count < 1) {
        least.invalid(errors, "must be greater than or equal to 1");
    }
    let limit = most.int().unwrap_or_default();
    if limit < 1 {
        errors.push(FieldError::invalid(&most.path, limit, "must be greater than 0"));
    } else if least.int().is_some_and(|count| limit < count) {
        most.invalid(errors, "must be greater than or equal to `minReplicas`");
    }
    for field in ["kind", "name"] {
        spec.at("scaleTargetRef").at(field).require_name(errors, machinery::names::path_segment);
    }
}

fn shown_metrics(object: &Value) -> String {
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
