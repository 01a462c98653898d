//! A node that is short of something takes no pod that would make it worse.

use k8s_openapi::api::core::v1::{Pod, Toleration};

use crate::eviction::EVICTED;
use crate::eviction::pressure::Pressures;
use crate::eviction::rank::is_critical;
use crate::pod::resources::{Qos, qos};
use machinery::eviction::Pressure;

/// The taint of nodes that are short of memory.
const MEMORY_TAINT: &str = "node.kubernetes.io/memory-pressure";

/// Why a pod is not taken. Where memory alone is short, pods may come that say how much they need, or that tolerate
/// it.
pub fn refusal(pod: &Pod, pressures: &Pressures) -> Option<(String, String)> {
    let names: Vec<&str> = pressures.all().map(Pressure::name).collect();
    if names.is_empty() || is_critical(pod) {
        return None;
    }
    let memory_alone = pressures.all().all(|pressure| pressure == Pressure::Memory);
    if memory_alone && (qos(pod) != Qos::BestEffort || tolerates_memory_pressure(pod)) {
        return None;
    }
    Some((EVICTED.to_string(), format!("The node had condition: [{}]. ", names.join(" "))))
}

fn tolerates_memory_pressure(pod: &Pod) -> bool {
    let covers = |toleration: &Toleration| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (key, value, effect) = (text(&toleration.key), text(&toleration.value), text(&toleration.effect));
        let of_this = matches!(effect.as_str(), "" | "NoSchedule") && (key.is_empty() || key == MEMORY_TAINT);
        match toleration.operator.as_deref().unwrap_or("Equal") {
            "Exists" => of_this,
            _ => of_this && !key.is_empty() && value.is_empty(),
        }
    };
    pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten()).any(covers)
}
