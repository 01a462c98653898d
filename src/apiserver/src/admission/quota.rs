//! ResourceQuota: what a namespace holds is counted when something is added, and what would exceed a quota refused.
//!
//! Counted from the objects themselves and not from the quota's status, so that a quota counts from the moment it is
//! there. Two requests at the same instant may both see the last free place.

use std::collections::BTreeMap;

use async_trait::async_trait;
use machinery::quantity::Quantity;
use serde_json::Value;

use super::forbidden;
use crate::live::{Live, items, text, texts};
use crate::plugin::{Admission, Admit, Operation};
use crate::status::Result;

type Amounts = BTreeMap<String, Quantity>;

/// The plugin.
pub struct ResourceQuota(pub Live);

#[async_trait]
impl Admission for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn validate(&self, request: &Admit<'_>, object: Option<&Value>) -> Result<()> {
        let Some(object) = object.filter(|_| !request.namespace.is_empty() && request.subresource.is_empty()) else {
            return Ok(());
        };
        if self.0.count("", "resourcequotas", request.namespace).await? == 0 {
            return Ok(());
        }
        let (group, resource) = (request.group_version.group.as_str(), request.resource);
        let (new, old) = (cost(group, resource, object), request.old.map(|old| cost(group, resource, old)));
        let mut quotas = self.0.list("", "resourcequotas", request.namespace).await?;
        quotas.retain(|quota| in_scope(quota, group, resource, object));
        for quota in quotas {
            let hard = amounts(&quota["spec"]["hard"]);
            let name = text(&quota, "/metadata/name");
            if let Some(lacking) = unspecified(&hard, group, resource, object) {
                return Err(forbidden(request, Some(object), format!("failed quota: {name}: must specify {lacking}")));
            }
            // Only what grows is looked at: a change that asks for no more is let through in a full namespace.
            let grown: Amounts = new
                .iter()
                .filter(|(name, amount)| {
                    let before = old.as_ref().and_then(|old| old.get(*name)).copied().unwrap_or_default();
                    hard.contains_key(*name) && **amount > before
                })
                .map(|(name, amount)| (name.clone(), *amount))
                .collect();
            if grown.is_empty() {
                continue;
            }
            let used = self.used(request, &quota, group, resource).await?;
            let over: Vec<&String> = grown
                .iter()
                .filter(|(name, amount)| used.get(*name).copied().unwrap_or_default() + **amount > hard[*name])
                .map(|(name, _)| name)
                .collect();
            if !over.is_empty() {
                let list = |of: &Amounts| {
                    let parts =
                        over.iter().map(|name| format!("{name}={}", of.get(*name).copied().unwrap_or_default()));
                    parts.collect::<Vec<_>>().join(",")
                };
                let why = format!(
                    "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
                    list(&grown),
                    list(&used),
                    list(&hard)
                );
                return Err(forbidden(request, Some(object), why));
            }
        }
        Ok(())
    }
}

impl ResourceQuota {
    /// What the namespace holds of this resource, without the object itself.
    async fn used(&self, request: &Admit<'_>, quota: &Value, group: &str, resource: &str) -> Result<Amounts> {
        let mut used = Amounts::new();
        for other in self.0.list(group, resource, request.namespace).await? {
            let itself = request.old.is_some_and(|old| old.pointer("/metadata/uid") == other.pointer("/metadata/uid"));
            if itself || !in_scope(quota, group, resource, &other) {
                continue;
            }
            for (name, amount) in cost(group, resource, &other) {
                let entry = used.entry(name).or_default();
                *entry = *entry + amount;
            }
        }
        Ok(used)
    }
}

fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

fn amounts(value: &Value) -> Amounts {
    value.as_object().into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), quantity(value)?))).collect()
}

/// What one object takes of each resource that a quota can name.
fn cost(group: &str, resource: &str, object: &Value) -> Amounts {
    let one = Quantity::from_units(1);
    let count = if group.is_empty() { format!("count/{resource}") } else { format!("count/{resource}.{group}") };
    let mut cost = Amounts::from([(count, one)]);
    match (group, resource) {
        ("", "pods") => {
            // A pod that has ended takes nothing but its place among the objects.
            if matches!(text(object, "/status/phase"), "Succeeded" | "Failed") {
                return cost;
            }
            cost.insert("pods".to_string(), one);
            compute(object, &mut cost);
        }
        ("", "services") => {
            cost.insert("services".to_string(), one);
            let ports = i64::try_from(items(object, "/spec/ports").len()).unwrap_or(i64::MAX);
            let kind = text(object, "/spec/type");
            if kind == "LoadBalancer" {
                cost.insert("services.loadbalancers".to_string(), one);
            }
            if matches!(kind, "NodePort" | "LoadBalancer") {
                cost.insert("services.nodeports".to_string(), Quantity::from_units(ports));
            }
        }
        ("", "persistentvolumeclaims") => {
            cost.insert("persistentvolumeclaims".to_string(), one);
            let asked = quantity(&object["spec"]["resources"]["requests"]["storage"]).unwrap_or_default();
            cost.insert("requests.storage".to_string(), asked);
            let class = text(object, "/spec/storageClassName");
            if !class.is_empty() {
                let of_class = format!("{class}.storageclass.storage.k8s.io");
                cost.insert(format!("{of_class}/persistentvolumeclaims"), one);
                cost.insert(format!("{of_class}/requests.storage"), asked);
            }
        }
        ("", "configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas") => {
            cost.insert(resource.to_string(), one);
        }
        _ => {}
    }
    cost
}

/// What a pod asks for: the sum of its containers, or more where an init container asks for more.
fn compute(pod: &Value, cost: &mut Amounts) {
    for (of, prefix) in [("requests", "requests."), ("limits", "limits.")] {
        let mut sum = Amounts::new();
        for container in items(pod, "/spec/containers") {
            for (name, amount) in amounts(&container["resources"][of]) {
                let entry = sum.entry(name).or_default();
                *entry = *entry + amount;
            }
        }
        for container in items(pod, "/spec/initContainers") {
            for (name, amount) in amounts(&container["resources"][of]) {
                let entry = sum.entry(name).or_default();
                *entry = (*entry).max(amount);
            }
        }
        for (name, amount) in sum {
            if of == "requests" && matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
                cost.insert(name.clone(), amount);
            }
            cost.insert(format!("{prefix}{name}"), amount);
        }
    }
}

/// The quota's limits that every container must say something about, with the containers that do not; nothing of pods
/// that say it for all their containers.
fn unspecified(hard: &Amounts, group: &str, resource: &str, pod: &Value) -> Option<String> {
    const COMPUTE: [(&str, &str, &str); 6] = [
        ("cpu", "requests", "cpu"),
        ("limits.cpu", "limits", "cpu"),
        ("limits.memory", "limits", "memory"),
        ("memory", "requests", "memory"),
        ("requests.cpu", "requests", "cpu"),
        ("requests.memory", "requests", "memory"),
    ];
    if !group.is_empty() || resource != "pods" || matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
        return None;
    }
    let says = |resources: &Value, of: &str, name: &str| quantity(&resources[of][name]).is_some();
    let containers = || items(pod, "/spec/containers").iter().chain(items(pod, "/spec/initContainers"));
    let mut lacking = Vec::new();
    for (limit, of, name) in COMPUTE {
        if !hard.contains_key(limit) || says(&pod["spec"]["resources"], of, name) {
            continue;
        }
        let silent = containers().filter(|container| !says(&container["resources"], of, name));
        let mut silent: Vec<&str> = silent.map(|container| text(container, "/name")).collect();
        silent.sort_unstable();
        if !silent.is_empty() {
            lacking.push(format!("{limit} for: {}", silent.join(",")));
        }
    }
    (!lacking.is_empty()).then(|| lacking.join("; "))
}

/// The quota's scopes, which concern pods, hold of the object.
fn in_scope(quota: &Value, group: &str, resource: &str, object: &Value) -> bool {
    let scopes = texts(quota, "/spec/scopes");
    let selectors = items(quota, "/spec/scopeSelector/matchExpressions");
    if scopes.is_empty() && selectors.is_empty() {
        return true;
    }
    if !group.is_empty() || resource != "pods" {
        return false;
    }
    scopes.iter().all(|scope| has_scope(scope, object))
        && selectors.iter().all(|selector| {
            let (scope, values) = (text(selector, "/scopeName"), texts(selector, "/values"));
            let class = text(object, "/spec/priorityClassName");
            let among = values.iter().any(|value| value == class);
            match (scope, text(selector, "/operator")) {
                ("PriorityClass", "In") => among,
                ("PriorityClass", "NotIn") => !among,
                ("PriorityClass", "Exists") => !class.is_empty(),
                ("PriorityClass", "DoesNotExist") => class.is_empty(),
                (scope, "Exists") => has_scope(scope, object),
                _ => false,
            }
        })
}

fn has_scope(scope: &str, pod: &Value) -> bool {
    let terminating = pod.pointer("/spec/activeDeadlineSeconds").is_some_and(|seconds| !seconds.is_null());
    let containers = || items(pod, "/spec/containers").iter().chain(items(pod, "/spec/initContainers"));
    let best_effort = || {
        containers().all(|container| {
            let none = |of| container["resources"][of].as_object().is_none_or(serde_json::Map::is_empty);
            none("requests") && none("limits")
        })
    };
    match scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => best_effort(),
        "NotBestEffort" => !best_effort(),
        "PriorityClass" => !text(pod, "/spec/priorityClassName").is_empty(),
        "CrossNamespacePodAffinity" => false,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Cluster, create, run};
    use super::*;
    use serde_json::json;

    fn quota(hard: Value, scopes: Value) -> Value {
        json!({"apiVersion": "v1", "metadata": {"name": "q", "namespace": "ns"}, "spec": {"hard": hard, "scopes": scopes}})
    }

    fn pod(name: &str, cpu: &str) -> Value {
        json!({"apiVersion": "v1", "metadata": {"name": name, "namespace": "ns", "uid": name}, "spec": {"containers": [{"resources": {"requests": {"cpu": cpu}}}]}})
    }

    #[tokio::test]
    async fn what_would_exceed_a_quota_is_refused_with_the_figures() {
        let cluster = Cluster::new();
        cluster.put("resourcequotas", quota(json!({"pods": "2", "requests.cpu": "1"}), json!(null))).await;
        cluster.put("pods", pod("a", "600m")).await;
        let plugin = ResourceQuota(cluster.live.clone());
        let asked = create("", "pods", "ns");
        run(&plugin, &asked, Some(pod("b", "400m"))).await.expect("fits");
        let refused = run(&plugin, &asked, Some(pod("b", "500m"))).await.expect_err("exceeds");
        let message = "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1";
        assert_eq!(refused.message(), message);
        cluster.put("pods", pod("b", "100m")).await;
        assert!(run(&plugin, &asked, Some(pod("c", "1m"))).await.is_err(), "two pods are enough");
        cluster.delete("/registry/pods/ns/a").await;
        run(&plugin, &asked, Some(pod("c", "1m"))).await.expect("there is room again");
        let mut silent = pod("d", "1m");
        silent["spec"]["containers"] = json!([{"name": "x"}, {"name": "y", "resources": {"requests": {"cpu": "1m"}}}]);
        let refused = run(&plugin, &asked, Some(silent)).await.expect_err("says nothing");
        assert!(
            refused.message().ends_with("failed quota: q: must specify requests.cpu for: x"),
            "{}",
            refused.message()
        );
    }

    #[tokio::test]
    async fn objects_are_counted_by_name_and_scopes_choose_pods() {
        let cluster = Cluster::new();
        let hard = json!({"count/deployments.apps": "1", "services.nodeports": "1", "configmaps": "0"});
        cluster.put("resourcequotas", quota(hard, json!(null))).await;
        let plugin = ResourceQuota(cluster.live.clone());
        let object = json!({"metadata": {"name": "x"}});
        assert!(run(&plugin, &create("apps", "deployments", "ns"), Some(object.clone())).await.is_ok());
        assert!(run(&plugin, &create("", "configmaps", "ns"), Some(object)).await.is_err());
        let service = json!({"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [{}, {}]}});
        assert!(run(&plugin, &create("", "services", "ns"), Some(service)).await.is_err());
        cluster.put("resourcequotas", quota(json!({"pods": "0"}), json!(["BestEffort"]))).await;
        let asked = create("", "pods", "ns");
        assert!(run(&plugin, &asked, Some(pod("a", "1m"))).await.is_ok());
        let effort = json!({"metadata": {"name": "e"}, "spec": {"containers": [{}]}});
        assert!(run(&plugin, &asked, Some(effort)).await.is_err());
    }
}
