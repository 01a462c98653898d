//! Requests and limits as the kernel takes them: shares, quota, bytes, the out-of-memory score, the class of service.

use std::collections::BTreeMap;

use cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use machinery::qos::{Amount, Claim};

pub use machinery::qos::Qos;

use super::plan::is_sidecar;
use crate::cgroup::PodLimits;
use crate::quantity::{milli_of, whole_of};

/// Shares of one whole processor.
const SHARES_PER_CPU: i64 = 1024;
/// The kernel's least.
const SHARES_MIN: i64 = 2;
/// The kernel's most.
const SHARES_MAX: i64 = 262_144;
/// The period that quotas are counted in.
pub const PERIOD_US: i64 = 100_000;
/// The kernel's least quota.
const QUOTA_MIN_US: i64 = 1000;

/// The class of service of a pod: what the API wrote when it took the pod, else what the API would write.
pub fn qos(pod: &Pod) -> Qos {
    let written = pod.status.as_ref().and_then(|status| status.qos_class.as_deref()).and_then(Qos::from_name);
    written.unwrap_or_else(|| pod.spec.as_ref().map_or(Qos::BestEffort, computed))
}

fn computed(spec: &PodSpec) -> Qos {
    let own = own(spec);
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let resources = containers.map(|container| container.resources.as_ref());
    machinery::qos::class(own.map(|own| claim(Some(own))), resources.map(claim))
}

/// The resources of the pod as a whole, where they say something (KEP-2837).
fn own(spec: &PodSpec) -> Option<&ResourceRequirements> {
    let own = spec.resources.as_ref()?;
    let names = own.requests.iter().flatten().chain(own.limits.iter().flatten()).map(|(name, _)| name.as_str());
    machinery::qos::counts(names).then_some(own)
}

fn claim(resources: Option<&ResourceRequirements>) -> Claim {
    let of = |list: Option<&BTreeMap<String, Quantity>>, name: &str| milli_of(list, name);
    ["cpu", "memory"].map(|name| Amount {
        request: resources.and_then(|resources| of(resources.requests.as_ref(), name)),
        limit: resources.and_then(|resources| of(resources.limits.as_ref(), name)),
    })
}

/// A container's request in thousandths; its limit where no request is given.
pub fn request(container: &Container, resource: &str) -> Option<i128> {
    let resources = container.resources.as_ref()?;
    milli_of(resources.requests.as_ref(), resource).or_else(|| milli_of(resources.limits.as_ref(), resource))
}

/// A container's limit in thousandths; a limit of zero is none.
pub fn limit(container: &Container, resource: &str) -> Option<i128> {
    milli_of(container.resources.as_ref()?.limits.as_ref(), resource).filter(|limit| *limit > 0)
}

/// Shares of the processor for a request.
pub fn shares(milli_cpu: i64) -> i64 {
    (milli_cpu.saturating_mul(SHARES_PER_CPU) / 1000).clamp(SHARES_MIN, SHARES_MAX)
}

/// The quota for a limit, in microseconds of each period.
pub fn quota_us(milli_cpu: i64) -> i64 {
    (milli_cpu.saturating_mul(PERIOD_US) / 1000).max(QUOTA_MIN_US)
}

/// Cgroup v2's weight for v1's shares, by the formula that runc uses.
pub fn weight(shares: i64) -> i64 {
    1 + ((shares - 2) * 9999) / 262_142
}

/// What a container may use, for the runtime. `unified` for control groups v2, where all processes of a container that
/// is out of memory end together, as they do with kubelet: a container that lost one is neither alive nor dead.
pub fn container_resources(
    pod: &Pod,
    container: &Container,
    node_memory_bytes: i64,
    unified: bool,
) -> v1::LinuxContainerResources {
    let narrow = |amount: i128| i64::try_from(amount).unwrap_or(i64::MAX);
    let cpu_request = request(container, "cpu").map_or(0, narrow);
    let cpu_limit = limit(container, "cpu").map_or(0, narrow);
    let memory_limit =
        container.resources.as_ref().and_then(|resources| whole_of(resources.limits.as_ref(), "memory")).unwrap_or(0);
    let quota = if cpu_limit > 0 { quota_us(cpu_limit) } else { 0 };
    v1::LinuxContainerResources {
        cpu_period: PERIOD_US,
        cpu_quota: quota,
        cpu_shares: shares(cpu_request),
        memory_limit_in_bytes: memory_limit,
        // Without swap for containers the two limits are one.
        memory_swap_limit_in_bytes: memory_limit,
        oom_score_adj: oom_score_adj(pod, container, node_memory_bytes),
        unified: unified.then(|| ("memory.oom.group".to_string(), "1".to_string())).into_iter().collect(),
        ..Default::default()
    }
}

/// Whom the kernel kills first when memory ends: 1000 first.
fn oom_score_adj(pod: &Pod, container: &Container, node_memory_bytes: i64) -> i64 {
    let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
    if priority >= 2_000_000_000 {
        return -997;
    }
    match qos(pod) {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let requested = (request(container, "memory").unwrap_or(0) + unshared_memory(pod)) / 1000;
            let share = 1000 * requested / i128::from(node_memory_bytes.max(1));
            i64::try_from(1000 - share).unwrap_or(0).clamp(3, 999)
        }
    }
}

/// Each container's part, in thousandths of a byte, of the memory that the pod as a whole requests beyond what its
/// containers do by themselves.
fn unshared_memory(pod: &Pod) -> i128 {
    let Some(spec) = pod.spec.as_ref() else { return 0 };
    let Some(whole) = own(spec).and_then(|own| milli_of(own.requests.as_ref(), "memory")) else { return 0 };
    let by_containers = containers_total(spec, |container| Some(request(container, "memory").unwrap_or(0)));
    let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container)).count();
    let count = i128::try_from(spec.containers.len() + sidecars).unwrap_or(1).max(1);
    (whole - by_containers.unwrap_or(0)).max(0) / count
}

/// What a pod requests in thousandths: as a whole where it says so, else by its containers; with its class' overhead.
pub fn pod_request(spec: &PodSpec, resource: &str) -> i128 {
    let whole = own(spec)
        .and_then(|own| milli_of(own.requests.as_ref(), resource).or_else(|| milli_of(own.limits.as_ref(), resource)));
    let by_containers = || containers_total(spec, |container| Some(request(container, resource).unwrap_or(0)));
    whole.or_else(by_containers).unwrap_or(0) + overhead(spec, resource)
}

/// What a pod may use at most, in thousandths; `None` where neither it nor all of its containers set a limit.
pub fn pod_limit(spec: &PodSpec, resource: &str) -> Option<i128> {
    let whole = own(spec).and_then(|own| milli_of(own.limits.as_ref(), resource)).filter(|limit| *limit > 0);
    let limit = whole.or_else(|| containers_total(spec, |container| limit(container, resource)))?;
    Some(limit + overhead(spec, resource))
}

fn overhead(spec: &PodSpec, resource: &str) -> i128 {
    milli_of(spec.overhead.as_ref(), resource).unwrap_or(0)
}

/// What the cgroup of a pod is limited to.
pub fn pod_limits(pod: &Pod) -> PodLimits {
    let Some(spec) = pod.spec.as_ref() else { return PodLimits::default() };
    let narrow = |amount: i128| i64::try_from(amount).unwrap_or(i64::MAX);
    PodLimits {
        cpu_shares: shares(narrow(pod_request(spec, "cpu"))),
        cpu_quota_us: pod_limit(spec, "cpu").map(narrow).map(quota_us),
        memory_bytes: pod_limit(spec, "memory").map(|milli| narrow(milli / 1000)),
    }
}

/// What the containers ask for together, or in the largest moment of the start, in thousandths; `None` where one of
/// them has no amount.
fn containers_total(spec: &PodSpec, of: impl Fn(&Container) -> Option<i128>) -> Option<i128> {
    let mut sidecars = 0;
    let mut peak = 0;
    for container in spec.init_containers.iter().flatten() {
        let amount = of(container)?;
        if is_sidecar(container) {
            sidecars += amount;
            peak = peak.max(sidecars);
        } else {
            peak = peak.max(sidecars + amount);
        }
    }
    let mut sum = sidecars;
    for container in &spec.containers {
        sum += of(container)?;
    }
    Some(sum.max(peak))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(resources: serde_json::Value) -> Pod {
        let spec = json!({ "containers": [{ "name": "a", "resources": resources }] });
        serde_json::from_value(json!({ "metadata": { "name": "p" }, "spec": spec })).unwrap()
    }

    #[test]
    fn classes_of_service() {
        let both = json!({ "cpu": "1", "memory": "1Gi" });
        assert_eq!(qos(&pod(json!({}))), Qos::BestEffort);
        assert_eq!(qos(&pod(json!({ "limits": both }))), Qos::Guaranteed);
        assert_eq!(qos(&pod(json!({ "requests": both }))), Qos::Burstable);
        assert_eq!(qos(&pod(json!({ "limits": { "cpu": "1" } }))), Qos::Burstable);
        let mut whole = pod(json!({}));
        whole.spec.as_mut().unwrap().resources = Some(serde_json::from_value(json!({ "limits": both })).unwrap());
        assert_eq!(qos(&whole), Qos::Guaranteed, "the pod's own resources count");
        whole.status = Some(serde_json::from_value(json!({ "qosClass": "Burstable" })).unwrap());
        assert_eq!(qos(&whole), Qos::Burstable, "the API does not take another class than it has written");
    }

    #[test]
    fn what_a_pod_as_a_whole_may_use() {
        let limits = |quota: Option<i64>, memory: Option<i64>, shares: i64| PodLimits {
            cpu_shares: shares,
            cpu_quota_us: quota,
            memory_bytes: memory,
        };
        let one = |resources: serde_json::Value| json!({ "containers": [{ "name": "a", "resources": resources }] });
        let mib = 1 << 20;
        let cases = [
            (one(json!({})), limits(None, None, 2)),
            (one(json!({ "limits": { "memory": "64Mi" } })), limits(None, Some(64 * mib), 2)),
            // Zero takes back what a LimitRange would give.
            (one(json!({ "limits": { "cpu": "0", "memory": "0" } })), limits(None, None, 2)),
            (
                json!({ "containers": [{ "name": "a" }, { "name": "b", "resources": { "limits": { "cpu": "2" } } }],
                    "resources": { "limits": { "cpu": "200m", "memory": "64Mi" } } }),
                limits(Some(20_000), Some(64 * mib), 204),
            ),
            (
                json!({ "containers": [{ "name": "a", "resources": { "limits": { "memory": "64Mi" } } }],
                    "resources": { "requests": { "cpu": "500m" } }, "overhead": { "memory": "16Mi" } }),
                limits(None, Some(80 * mib), 512),
            ),
        ];
        for (spec, expected) in cases {
            let pod: Pod = serde_json::from_value(json!({ "metadata": {}, "spec": spec })).unwrap();
            assert_eq!(pod_limits(&pod), expected, "{spec}");
        }
    }

    #[test]
    fn limits_become_quota_and_bytes_and_requests_shares() {
        let pod = pod(
            json!({ "requests": { "cpu": "250m", "memory": "64Mi" }, "limits": { "cpu": "500m", "memory": "128Mi" } }),
        );
        let resources = container_resources(&pod, &pod.spec.as_ref().unwrap().containers[0], 1 << 30, false);
        assert_eq!((resources.cpu_shares, resources.cpu_quota), (256, 50_000));
        assert_eq!(resources.memory_limit_in_bytes, 128 << 20);
        assert_eq!(resources.oom_score_adj, 1000 - 62);
        assert!(resources.unified.is_empty(), "runc refuses it on v1");
        let resources = container_resources(&pod, &pod.spec.as_ref().unwrap().containers[0], 1 << 30, true);
        assert_eq!(resources.unified["memory.oom.group"], "1");
    }
}
