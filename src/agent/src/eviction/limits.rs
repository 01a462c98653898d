//! Whether a pod takes more of the disk than it set itself: limits of emptyDir volumes, of containers, of the pod.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use machinery::quantity::Quantity;

use super::rank::PodUse;
use crate::pod::plan::is_sidecar;

const STORAGE: &str = "ephemeral-storage";

/// Whether anything in the pod is limited here, so that it has to be measured.
pub fn is_limited(pod: &Pod) -> bool {
    let Some(spec) = pod.spec.as_ref() else { return false };
    let volumes = spec.volumes.iter().flatten();
    let sized = volumes.filter_map(|volume| volume.empty_dir.as_ref()).any(|source| source.size_limit.is_some());
    sized || containers(spec).any(|container| limit(container).is_some())
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.containers.iter().chain(spec.init_containers.iter().flatten())
}

fn limit(container: &Container) -> Option<Quantity> {
    container.resources.as_ref()?.limits.as_ref()?.get(STORAGE)?.0.parse().ok()
}

/// What the pod's containers are limited to together: those that run side by side, or one before them where that is
/// more. As in Kubernetes one limit makes a limit of the whole.
fn whole(spec: &PodSpec) -> Option<Quantity> {
    containers(spec).any(|container| limit(container).is_some()).then(|| {
        let of = |container: &Container| limit(container).unwrap_or_default();
        let (mut sidecars, mut start) = (Quantity::default(), Quantity::default());
        for container in spec.init_containers.iter().flatten() {
            let moment = sidecars + of(container);
            if is_sidecar(container) {
                sidecars = moment;
            }
            start = start.max(moment);
        }
        (spec.containers.iter().map(of).sum::<Quantity>() + sidecars).max(start)
    })
}

/// Why the pod is ended; `None` while it keeps to its limits.
pub fn exceeded(pod: &Pod, usage: &PodUse) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let above = |used: u64, limit: Quantity| i64::try_from(used).unwrap_or(i64::MAX) > limit.to_bytes();
    for volume in spec.volumes.iter().flatten() {
        let Some(source) = volume.empty_dir.as_ref() else { continue };
        let limit = source.size_limit.as_ref().and_then(|limit| limit.0.parse::<Quantity>().ok());
        let Some(limit) = limit.filter(|limit| !limit.is_zero()) else { continue };
        let used = usage.volumes.get(&volume.name).map_or(0, |disk| disk.bytes);
        if above(used, limit) {
            return Some(format!("Usage of EmptyDir volume {:?} exceeds the limit \"{limit}\". ", volume.name));
        }
    }
    if let Some(limit) = whole(spec)
        && above(usage.disk().bytes, limit)
    {
        return Some(format!("Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "));
    }
    containers(spec).find_map(|container| {
        let limit = limit(container)?;
        let used = usage.containers.get(&container.name)?;
        above(used.layer.bytes + used.logs.bytes, limit)
            .then(|| format!("Container {} exceeded its local ephemeral storage limit \"{limit}\". ", container.name))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::super::rank::{ContainerUse, Disk};
    use super::*;

    fn pod(limits: &[Option<&str>], volume: Value) -> Pod {
        let containers: Vec<Value> = limits
            .iter()
            .enumerate()
            .map(|(number, limit)| {
                let limits = limit.map_or(json!({}), |limit| json!({ STORAGE: limit }));
                json!({ "name": format!("c{number}"), "resources": { "limits": limits } })
            })
            .collect();
        serde_json::from_value(json!({ "metadata": {}, "spec": { "containers": containers,
            "volumes": [{ "name": "cache", "emptyDir": volume }] } }))
        .unwrap()
    }

    fn using(layers_mib: &[u64], volume_mib: u64) -> PodUse {
        let disk = |mib: u64| Disk { bytes: mib << 20, inodes: 1 };
        let layer = |mib: u64| ContainerUse { layer: disk(mib), ..Default::default() };
        let containers = layers_mib.iter().enumerate().map(|(number, mib)| (format!("c{number}"), layer(*mib)));
        PodUse {
            containers: containers.collect(),
            volumes: BTreeMap::from([("cache".into(), disk(volume_mib))]),
            processes: 0,
        }
    }

    #[test]
    fn a_pod_is_held_to_each_of_its_limits() {
        let sized = json!({ "sizeLimit": "10240Ki" });
        for (pod, usage, expected) in [
            (pod(&[None], sized.clone()), using(&[900], 10), None),
            (
                pod(&[None], sized),
                using(&[0], 11),
                Some("Usage of EmptyDir volume \"cache\" exceeds the limit \"10Mi\". "),
            ),
            (pod(&[Some("20Mi"), Some("10Mi")], json!({})), using(&[12, 8], 10), None),
            (
                pod(&[Some("20Mi"), Some("10Mi")], json!({})),
                using(&[12, 8], 11),
                Some("Pod ephemeral local storage usage exceeds the total limit of containers 30Mi. "),
            ),
            (
                pod(&[Some("20Mi"), Some("10Mi")], json!({})),
                using(&[2, 11], 0),
                Some("Container c1 exceeded its local ephemeral storage limit \"10Mi\". "),
            ),
            (pod(&[None], json!({})), using(&[900], 900), None),
        ] {
            assert_eq!(exceeded(&pod, &usage).as_deref(), expected);
        }
    }

    #[test]
    fn only_what_has_a_limit_is_measured() {
        assert!(!is_limited(&pod(&[None], json!({}))));
        assert!(is_limited(&pod(&[None], json!({ "sizeLimit": "1Mi" }))));
        assert!(is_limited(&pod(&[None, Some("1Mi")], json!({}))));
    }
}
