//! LimitRanger: fills in a namespace's default requests and limits, and refuses what lies outside its bounds.

use std::collections::BTreeMap;

use async_trait::async_trait;
use machinery::quantity::Quantity;
use serde_json::{Value, json};

use super::{forbidden, is, writes};
use crate::live::{Live, items, text};
use crate::plugin::{Admission, Admit, Operation};
use crate::status::Result;

/// The plugin.
pub struct LimitRanger(pub Live);

#[async_trait]
impl Admission for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn handles(&self, operation: Operation) -> bool {
        writes(operation)
    }

    async fn admit(&self, request: &Admit<'_>, pod: &mut Value) -> Result<()> {
        if is(request, "", "pods") && request.operation == Operation::Create {
            for limit in self.limits(request).await? {
                if text(&limit, "/type") == "Container" {
                    fill(pod, &limit);
                }
            }
        }
        Ok(())
    }

    async fn validate(&self, request: &Admit<'_>, object: Option<&Value>) -> Result<()> {
        let Some(object) = object else { return Ok(()) };
        let pod = is(request, "", "pods") && request.operation == Operation::Create;
        let claim = is(request, "", "persistentvolumeclaims");
        if !pod && !claim {
            return Ok(());
        }
        let mut wrong = Vec::new();
        for limit in self.limits(request).await? {
            match text(&limit, "/type") {
                "Container" if pod => {
                    for container in containers(object) {
                        wrong.extend(check(&limit, "Container", &Use::of(&container["resources"])));
                    }
                }
                "Pod" if pod => wrong.extend(check(&limit, "Pod", &total(object))),
                "PersistentVolumeClaim" if claim => {
                    let storage = Use::of(&object["spec"]["resources"]);
                    wrong.extend(check(&limit, "PersistentVolumeClaim", &storage));
                }
                _ => {}
            }
        }
        match wrong.as_slice() {
            [] => Ok(()),
            [one] => Err(forbidden(request, Some(object), one)),
            many => Err(forbidden(request, Some(object), format!("[{}]", many.join(", ")))),
        }
    }
}

impl LimitRanger {
    async fn limits(&self, request: &Admit<'_>) -> Result<Vec<Value>> {
        let ranges = self.0.list("", "limitranges", request.namespace).await?;
        Ok(ranges.iter().flat_map(|range| items(range, "/spec/limits")).cloned().collect())
    }
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    items(pod, "/spec/containers").iter().chain(items(pod, "/spec/initContainers"))
}

fn fill(pod: &mut Value, limit: &Value) {
    for list in ["containers", "initContainers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            for (of, from) in [("limits", "default"), ("requests", "defaultRequest")] {
                for (name, value) in limit[from].as_object().into_iter().flatten() {
                    let resources = &mut container["resources"];
                    // A limit that the user gave is the request too, before any default.
                    let own_limit = resources["limits"].get(name).cloned().filter(|_| of == "requests");
                    let given_limit = own_limit.filter(|own| limit["default"].get(name) != Some(own));
                    if resources[of].get(name).is_none() {
                        if !resources[of].is_object() {
                            resources[of] = json!({});
                        }
                        resources[of][name] = given_limit.unwrap_or_else(|| value.clone());
                    }
                }
            }
            if container["resources"].is_null() {
                container["resources"] = json!({});
            }
        }
    }
}

/// Requests and limits by resource.
#[derive(Debug, Default, Clone)]
struct Use {
    requests: BTreeMap<String, Quantity>,
    limits: BTreeMap<String, Quantity>,
}

fn quantities(value: &Value) -> BTreeMap<String, Quantity> {
    value.as_object().into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), quantity(value)?))).collect()
}

fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

impl Use {
    fn of(resources: &Value) -> Self {
        Self { requests: quantities(&resources["requests"]), limits: quantities(&resources["limits"]) }
    }
}

/// What a pod asks for: the sum of its containers, or more where an init container asks for more.
fn total(pod: &Value) -> Use {
    let mut total = Use::default();
    for container in items(pod, "/spec/containers") {
        let own = Use::of(&container["resources"]);
        for (sum, part) in [(&mut total.requests, own.requests), (&mut total.limits, own.limits)] {
            for (name, value) in part {
                let entry = sum.entry(name).or_default();
                *entry = *entry + value;
            }
        }
    }
    for container in items(pod, "/spec/initContainers") {
        let own = Use::of(&container["resources"]);
        for (sum, part) in [(&mut total.requests, own.requests), (&mut total.limits, own.limits)] {
            for (name, value) in part {
                let entry = sum.entry(name).or_default();
                *entry = (*entry).max(value);
            }
        }
    }
    total
}

fn check(limit: &Value, kind: &str, used: &Use) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, min) in quantities(&limit["min"]) {
        match (used.requests.get(&name), used.limits.get(&name)) {
            (None, _) => wrong.push(format!("minimum {name} usage per {kind} is {min}.  No request is specified")),
            (Some(request), _) if *request < min => {
                wrong.push(format!("minimum {name} usage per {kind} is {min}, but request is {request}"));
            }
            (_, Some(own)) if *own < min => {
                wrong.push(format!("minimum {name} usage per {kind} is {min}, but limit is {own}"));
            }
            _ => {}
        }
    }
    for (name, max) in quantities(&limit["max"]) {
        // Claims have requests alone.
        let needs_limit = kind != "PersistentVolumeClaim";
        match (used.limits.get(&name), used.requests.get(&name)) {
            (None, _) if needs_limit => {
                wrong.push(format!("maximum {name} usage per {kind} is {max}.  No limit is specified"));
            }
            (Some(own), _) if *own > max => {
                wrong.push(format!("maximum {name} usage per {kind} is {max}, but limit is {own}"));
            }
            (_, Some(request)) if *request > max => {
                wrong.push(format!("maximum {name} usage per {kind} is {max}, but request is {request}"));
            }
            _ => {}
        }
    }
    for (name, ratio) in quantities(&limit["maxLimitRequestRatio"]) {
        match (used.requests.get(&name), used.limits.get(&name)) {
            (Some(request), Some(own)) if !request.is_zero() && own.to_f64() / request.to_f64() > ratio.to_f64() => {
                let found = own.to_f64() / request.to_f64();
                wrong.push(format!(
                    "{name} max limit to request ratio per {kind} is {ratio}, but provided ratio is {found:.6}"
                ));
            }
            (Some(_), Some(_)) => {}
            _ => wrong.push(format!(
                "{name} max limit to request ratio per {kind} is {ratio}, but no request is specified or request is 0"
            )),
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Cluster, create, run};
    use super::*;

    async fn plugin(limits: Value) -> (Cluster, LimitRanger) {
        let cluster = Cluster::new();
        let range =
            json!({"apiVersion": "v1", "metadata": {"name": "l", "namespace": "ns"}, "spec": {"limits": limits}});
        cluster.put("limitranges", range).await;
        let plugin = LimitRanger(cluster.live.clone());
        (cluster, plugin)
    }

    fn pod(resources: Value) -> Option<Value> {
        Some(json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "resources": resources}]}}))
    }

    #[tokio::test]
    async fn containers_get_the_defaults_they_do_not_set() {
        let limits = json!([{"type": "Container", "default": {"cpu": "500m", "memory": "512Mi"}, "defaultRequest": {"cpu": "100m", "memory": "64Mi"}}]);
        let (_cluster, plugin) = plugin(limits).await;
        let asked = create("", "pods", "ns");
        for (given, expected) in [
            (
                json!({}),
                json!({"limits": {"cpu": "500m", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}}),
            ),
            (
                json!({"limits": {"cpu": "300m"}, "requests": {"memory": "1Mi"}}),
                json!({"limits": {"cpu": "300m", "memory": "512Mi"}, "requests": {"cpu": "300m", "memory": "1Mi"}}),
            ),
        ] {
            let admitted = run(&plugin, &asked, pod(given)).await.expect("admitted");
            assert_eq!(admitted["spec"]["containers"][0]["resources"], expected);
        }
    }

    #[tokio::test]
    async fn what_is_out_of_bounds_is_refused_in_kubernetes_words() {
        let limits = json!([{"type": "Container", "min": {"cpu": "50m"}, "max": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "4"}}, {"type": "Pod", "max": {"memory": "1Gi"}}]);
        let (_cluster, plugin) = plugin(limits).await;
        let asked = create("", "pods", "ns");
        let fine = json!({"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}});
        run(&plugin, &asked, pod(fine.clone())).await.expect("within bounds");
        for (pointer, value, expected) in [
            ("/requests/cpu", "10m", "minimum cpu usage per Container is 50m, but request is 10m"),
            ("/limits/cpu", "2", "maximum cpu usage per Container is 1, but limit is 2"),
            (
                "/requests/cpu",
                "100m",
                "cpu max limit to request ratio per Container is 4, but provided ratio is 10.000000",
            ),
            ("/limits/memory", "2Gi", "maximum memory usage per Pod is 1Gi, but limit is 2Gi"),
        ] {
            let mut changed = fine.clone();
            *changed.pointer_mut(pointer).expect("is there") = json!(value);
            let refused = run(&plugin, &asked, pod(changed)).await.expect_err("is out of bounds");
            assert!(refused.message().contains(expected), "{} / {expected}", refused.message());
        }
    }
}
