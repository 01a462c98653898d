//! Amounts of resources: what pods ask for and what nodes have.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// More is asked for by nobody who means it: 9 PiB, or so many cores. Far more pods than a node may have can ask for it
/// without their sum being too large for a number, and what one of them took can be given back.
const ASKED_MAX: i64 = 1 << 53;
/// What is counted for scoring where a container asks for no CPU, in thousandths of a core.
const DEFAULT_CPU_MILLIS: i64 = 100;
/// What is counted for scoring where a container asks for no memory.
const DEFAULT_MEMORY_BYTES: i64 = 200 << 20;

/// Amounts by resource; `pods` is not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_millis: i64,
    pub memory_bytes: i64,
    pub ephemeral_bytes: i64,
    /// Huge pages and extended resources, in their own units.
    pub others: BTreeMap<String, i64>,
}

impl Resources {
    /// Reads a resource list; amounts that do not parse count as nothing (the API refuses them).
    pub fn from_list(list: Option<&BTreeMap<String, Quantity>>) -> Self {
        let mut resources = Self::default();
        for (name, quantity) in list.into_iter().flatten() {
            let Ok(quantity) = quantity.0.parse::<machinery::quantity::Quantity>() else { continue };
            match name.as_str() {
                "cpu" => resources.cpu_millis = quantity.to_millis(),
                "memory" => resources.memory_bytes = quantity.to_units(),
                "ephemeral-storage" => resources.ephemeral_bytes = quantity.to_units(),
                "pods" => {}
                _ => {
                    resources.others.insert(name.clone(), quantity.to_units());
                }
            }
        }
        resources
    }

    /// As much of it as a pod may ask for.
    fn bounded(mut self) -> Self {
        for amount in [&mut self.cpu_millis, &mut self.memory_bytes, &mut self.ephemeral_bytes] {
            *amount = (*amount).min(ASKED_MAX);
        }
        self.others.values_mut().for_each(|amount| *amount = (*amount).min(ASKED_MAX));
        self
    }

    pub fn add(&mut self, other: &Self) {
        self.combine(other, i64::saturating_add);
    }

    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, i64::saturating_sub);
        self.others.retain(|_, amount| *amount != 0);
    }

    /// Raises each amount to `other`'s where that is larger.
    pub fn raise_to(&mut self, other: &Self) {
        self.combine(other, i64::max);
    }

    fn combine(&mut self, other: &Self, with: impl Fn(i64, i64) -> i64) {
        self.cpu_millis = with(self.cpu_millis, other.cpu_millis);
        self.memory_bytes = with(self.memory_bytes, other.memory_bytes);
        self.ephemeral_bytes = with(self.ephemeral_bytes, other.ephemeral_bytes);
        for (name, amount) in &other.others {
            let mine = self.others.entry(name.clone()).or_insert(0);
            *mine = with(*mine, *amount);
        }
    }
}

/// What a pod asks for, and what is counted for it when nodes are scored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requests {
    pub asked: Resources,
    /// CPU and memory with assumptions for containers that name none.
    pub assumed_cpu_millis: i64,
    pub assumed_memory_bytes: i64,
}

/// The requests of a pod: its containers and sidecars together, or the largest moment of its start where that is
/// more; pod-level requests instead where given; the overhead of its runtime class on top.
pub fn pod_requests(spec: &PodSpec) -> Requests {
    let exact = total(spec, container_requests).bounded();
    let assumed = total(spec, |container| {
        let mut requests = container_requests(container);
        let named = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let names = |resource: &str| named.is_some_and(|requests| requests.contains_key(resource));
        if !names("cpu") {
            requests.cpu_millis = DEFAULT_CPU_MILLIS;
        }
        if !names("memory") {
            requests.memory_bytes = DEFAULT_MEMORY_BYTES;
        }
        requests
    })
    .bounded();
    Requests { asked: exact, assumed_cpu_millis: assumed.cpu_millis, assumed_memory_bytes: assumed.memory_bytes }
}

fn container_requests(container: &Container) -> Resources {
    Resources::from_list(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
}

fn total(spec: &PodSpec, of: impl Fn(&Container) -> Resources) -> Resources {
    let mut sum = Resources::default();
    for container in &spec.containers {
        sum.add(&of(container));
    }
    let mut sidecars = Resources::default();
    let mut start = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let mut moment = of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&moment);
            moment = sidecars.clone();
        } else {
            moment.add(&sidecars);
        }
        start.raise_to(&moment);
    }
    sum.add(&sidecars);
    sum.raise_to(&start);
    if let Some(requests) = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()) {
        let pod = Resources::from_list(Some(requests));
        if requests.contains_key("cpu") {
            sum.cpu_millis = pod.cpu_millis;
        }
        if requests.contains_key("memory") {
            sum.memory_bytes = pod.memory_bytes;
        }
        sum.others.extend(pod.others);
    }
    sum.add(&Resources::from_list(spec.overhead.as_ref()));
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn requests(spec: serde_json::Value) -> Requests {
        pod_requests(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn the_largest_moment_of_a_pods_life_counts() {
        let container = |cpu: &str| json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}});
        let sidecar =
            |cpu: &str| json!({"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": cpu}}});
        let cpu = |spec| requests(spec).asked.cpu_millis;
        assert_eq!(cpu(json!({"containers": [container("100m"), container("1")]})), 1100);
        assert_eq!(cpu(json!({"containers": [container("100m")], "initContainers": [container("2")]})), 2000);
        let with_sidecar = json!({"containers": [container("1")],
            "initContainers": [sidecar("500m"), container("700m")], "overhead": {"cpu": "10m"}});
        assert_eq!(cpu(with_sidecar), 1510);
        let init_after_sidecar =
            json!({"containers": [container("1")], "initContainers": [sidecar("500m"), container("3")]});
        assert_eq!(cpu(init_after_sidecar), 3500);
        let pod_level = json!({"containers": [container("1")], "resources": {"requests": {"cpu": "4"}}});
        assert_eq!(requests(pod_level.clone()).asked.memory_bytes, 1 << 30);
        assert_eq!(cpu(pod_level), 4000);
    }

    #[test]
    fn containers_without_requests_weigh_something_in_scores_only() {
        let nothing = requests(json!({"containers": [{"name": "c"}]}));
        assert_eq!(nothing.asked, Resources::default());
        assert_eq!((nothing.assumed_cpu_millis, nothing.assumed_memory_bytes), (100, 200 << 20));
    }

    #[test]
    fn a_pod_that_asks_for_everything_asks_for_a_number_that_can_be_added() {
        let greedy = requests(json!({"containers": [
            {"name": "c", "resources": {"requests": {"cpu": "9E", "memory": "9E", "example.com/a": "9E"}}},
            {"name": "d", "resources": {"requests": {"cpu": "9E", "memory": "9E"}}}]}));
        let few = requests(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}));
        let mut used = few.asked.clone();
        for _ in 0..500 {
            used.add(&greedy.asked);
        }
        assert!(used.cpu_millis < i64::MAX && used.memory_bytes < i64::MAX);
        for _ in 0..500 {
            used.subtract(&greedy.asked);
        }
        assert_eq!(used, few.asked, "what they took is given back");
    }
}
