//! autoscaling/v1 and v2 as one another.
//!
//! v1 knows one metric, the CPU's utilization. What else a v2 object says is carried by annotations, so that a client
//! of v1 that reads, changes and writes an object back loses nothing.

use machinery::meta;
use serde_json::{Map, Value, json};

use crate::read;

pub(super) const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

fn is_cpu(metric: &Value) -> bool {
    read::text(metric, "type") == "Resource" && read::text(metric, "resource.name") == "cpu"
}

/// A v2 object as v1 has it.
pub(super) fn to_v1(mut object: Value) -> Value {
    object["apiVersion"] = "autoscaling/v1".into();
    let wanted = read::list(&object, "spec.metrics").to_vec();
    let current = read::list(&object, "status.currentMetrics").to_vec();
    let utilization = |metric: &Value, path: &str| {
        if is_cpu(metric) { read::at(metric, path).as_i64() } else { None }
    };
    let target = wanted.iter().find_map(|metric| utilization(metric, "resource.target.averageUtilization"));
    let reached = current.iter().find_map(|metric| utilization(metric, "resource.current.averageUtilization"));
    let others: Vec<Value> = wanted
        .into_iter()
        .filter(|metric| utilization(metric, "resource.target.averageUtilization").is_none())
        .collect();
    let behavior = take(&mut object, "spec", "behavior");
    let conditions = take(&mut object, "status", "conditions");
    take(&mut object, "spec", "metrics");
    take(&mut object, "status", "currentMetrics");
    put(&mut object, "spec", "targetCPUUtilizationPercentage", target);
    put(&mut object, "status", "currentCPUUtilizationPercentage", reached);
    carry(&mut object, METRICS, Value::Array(others));
    carry(&mut object, CURRENT_METRICS, Value::Array(current));
    carry(&mut object, CONDITIONS, conditions);
    carry(&mut object, BEHAVIOR, behavior);
    object
}

/// A v1 object as v2 has it.
pub(super) fn to_v2(mut object: Value) -> Value {
    object["apiVersion"] = "autoscaling/v2".into();
    let mut metrics = match fetch(&mut object, METRICS) {
        Some(Value::Array(metrics)) => metrics,
        _ => Vec::new(),
    };
    if let Some(percent) = take(&mut object, "spec", "targetCPUUtilizationPercentage").as_i64() {
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        metrics.insert(0, json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
    }
    take(&mut object, "status", "currentCPUUtilizationPercentage");
    put(&mut object, "spec", "metrics", Some(metrics).filter(|metrics| !metrics.is_empty()));
    for (annotation, part, field) in [
        (BEHAVIOR, "spec", "behavior"),
        (CURRENT_METRICS, "status", "currentMetrics"),
        (CONDITIONS, "status", "conditions"),
    ] {
        let carried = fetch(&mut object, annotation);
        put(&mut object, part, field, carried);
    }
    object
}

fn take(object: &mut Value, part: &str, field: &str) -> Value {
    object.get_mut(part).and_then(Value::as_object_mut).and_then(|part| part.remove(field)).unwrap_or(Value::Null)
}

fn put<V: Into<Value>>(object: &mut Value, part: &str, field: &str, value: Option<V>) {
    if let (Some(value), Some(fields)) = (value, object.as_object_mut()) {
        let part = fields.entry(part).or_insert_with(|| Value::Object(Map::new()));
        if let Some(part) = part.as_object_mut() {
            part.insert(field.to_string(), value.into());
        }
    }
}

fn carry(object: &mut Value, annotation: &str, value: Value) {
    let is_empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    if !is_empty {
        meta::set_annotation(object, annotation, &value.to_string());
    }
}

/// Takes what an annotation carries; one that is no JSON stays where it is.
fn fetch(object: &mut Value, annotation: &str) -> Option<Value> {
    let carried = serde_json::from_str(meta::annotation(object, annotation)?).ok()?;
    let metadata = meta::metadata_mut(object);
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(annotation);
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    Some(carried)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_on_the_way_through_v1() {
        let cpu = json!({"type": "Resource",
            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}});
        let pods = json!({"type": "Pods",
            "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "10"}}});
        let v2 = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
            "spec": {"maxReplicas": 3, "metrics": [cpu, pods], "behavior": {"scaleUp": {"selectPolicy": "Max"}}},
            "status": {"conditions": [{"type": "AbleToScale", "status": "True"}], "currentReplicas": 1},
        });
        let v1 = to_v1(v2.clone());
        assert_eq!(v1["spec"], json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 60}));
        assert_eq!(v1["status"], json!({"currentReplicas": 1}));
        assert_eq!(to_v2(v1), v2);
    }
}
