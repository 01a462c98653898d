//! Requests and limits as the kernel takes them: shares, quota, bytes, the out-of-memory score, the class of service.

use cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::plan::is_sidecar;
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

/// The class of service of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Qos {
    /// Every container has limits for processor and memory, and requests equal to them.
    Guaranteed,
    /// Something is requested or limited.
    Burstable,
    /// Nothing is.
    BestEffort,
}

impl Qos {
    /// As it is written in a pod's status.
    pub fn name(self) -> &'static str {
        match self {
            Qos::Guaranteed => "Guaranteed",
            Qos::Burstable => "Burstable",
            Qos::BestEffort => "BestEffort",
        }
    }

    /// The class of a pod.
    pub fn of(pod: &Pod) -> Self {
        let Some(spec) = pod.spec.as_ref() else { return Qos::BestEffort };
        let mut any = false;
        let mut guaranteed = true;
        for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
            for resource in ["cpu", "memory"] {
                let (request, limit) = (request(container, resource), limit(container, resource));
                any |= request.is_some_and(|amount| amount > 0) || limit.is_some_and(|amount| amount > 0);
                guaranteed &= limit.is_some_and(|amount| amount > 0) && request == limit;
            }
        }
        match (any, guaranteed) {
            (false, _) => Qos::BestEffort,
            (true, true) => Qos::Guaranteed,
            (true, false) => Qos::Burstable,
        }
    }
}

/// A container's request in thousandths; its limit where no request is given.
pub fn request(container: &Container, resource: &str) -> Option<i128> {
    let resources = container.resources.as_ref()?;
    milli_of(resources.requests.as_ref(), resource).or_else(|| milli_of(resources.limits.as_ref(), resource))
}

/// A container's limit in thousandths.
pub fn limit(container: &Container, resource: &str) -> Option<i128> {
    milli_of(container.resources.as_ref()?.limits.as_ref(), resource)
}

/// Shares of the processor for a request.
pub fn shares(milli_cpu: i64) -> i64 {
    (milli_cpu * SHARES_PER_CPU / 1000).clamp(SHARES_MIN, SHARES_MAX)
}

/// The quota for a limit, in microseconds of each period.
pub fn quota_us(milli_cpu: i64) -> i64 {
    (milli_cpu * PERIOD_US / 1000).max(QUOTA_MIN_US)
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
    match Qos::of(pod) {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let requested = request(container, "memory").unwrap_or(0) / 1000;
            let share = 1000 * requested / i128::from(node_memory_bytes.max(1));
            i64::try_from(1000 - share).unwrap_or(0).clamp(3, 999)
        }
    }
}

/// What a whole pod asks for or may use at most, in thousandths; `None` where a container sets no limit.
pub fn pod_total(spec: &PodSpec, of: impl Fn(&Container) -> Option<i128>) -> Option<i128> {
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
        assert_eq!(Qos::of(&pod(json!({}))), Qos::BestEffort);
        assert_eq!(Qos::of(&pod(json!({ "limits": both }))), Qos::Guaranteed);
        assert_eq!(Qos::of(&pod(json!({ "requests": both }))), Qos::Burstable);
        assert_eq!(Qos::of(&pod(json!({ "limits": { "cpu": "1" } }))), Qos::Burstable);
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
