//! Who goes when the node is short of something, and what is told of it. Pure: from what each pod uses to an order and
//! a text, both as kubelet's.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;

use crate::pod::find_container;
use crate::pod::identity::is_static;
use crate::pod::resources::{pod_request, request};
use machinery::eviction::{Shortage, Signal};

/// Pods of this priority and above are the node's and the cluster's own (`system-cluster-critical`).
const CRITICAL: i32 = 2_000_000_000;

/// Room and files on a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Disk {
    pub bytes: u64,
    pub inodes: u64,
}

impl std::ops::AddAssign for Disk {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.inodes += other.inodes;
    }
}

/// What a container uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerUse {
    pub memory_bytes: u64,
    /// Its own files.
    pub layer: Disk,
    /// Its logs.
    pub logs: Disk,
}

/// What a pod uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodUse {
    /// By container.
    pub containers: BTreeMap<String, ContainerUse>,
    /// By volume, of those that lie on the node's disk.
    pub volumes: BTreeMap<String, Disk>,
    pub processes: u64,
}

impl PodUse {
    /// Everything on the disk.
    pub fn disk(&self) -> Disk {
        self.on(true, true)
    }

    /// On the disk of volumes and logs, on that of images, or on both.
    fn on(&self, nodefs: bool, imagefs: bool) -> Disk {
        let mut sum = Disk::default();
        for container in self.containers.values() {
            if imagefs {
                sum += container.layer;
            }
            if nodefs {
                sum += container.logs;
            }
        }
        self.volumes.values().filter(|_| nodefs).for_each(|volume| sum += *volume);
        sum
    }

    fn of(&self, signal: Signal, one_disk: bool) -> u64 {
        let nodefs = || self.on(true, one_disk);
        let imagefs = || self.on(one_disk, true);
        match signal {
            Signal::Memory => self.containers.values().map(|container| container.memory_bytes).sum(),
            Signal::NodefsBytes => nodefs().bytes,
            Signal::NodefsInodes => nodefs().inodes,
            Signal::ImagefsBytes => imagefs().bytes,
            Signal::ImagefsInodes => imagefs().inodes,
            Signal::Pids => self.processes,
        }
    }
}

/// Pods that no shortage ends: those of the node's owner, and those that the cluster cannot do without.
pub fn is_critical(pod: &Pod) -> bool {
    is_static(pod) || pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0) >= CRITICAL
}

/// Orders pods so that those come first whose end the shortage asks for: who uses more than it requests, then who
/// matters less, then who uses most beyond its request. `one_disk` where images lie on the disk of the volumes.
pub fn order<T>(pods: &mut [T], signal: Signal, one_disk: bool, of: impl Fn(&T) -> (&Pod, &PodUse)) {
    pods.sort_by_key(|item| {
        let (pod, usage) = of(item);
        let used = i128::from(usage.of(signal, one_disk));
        let requested = match signal {
            Signal::Memory | Signal::NodefsBytes | Signal::ImagefsBytes => {
                pod.spec.as_ref().map_or(0, |spec| pod_request(spec, signal.resource())) / 1000
            }
            _ => 0,
        };
        let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
        // Of processes nothing can be requested, and having some is no fault.
        let exceeds = signal != Signal::Pids && used > requested;
        (Reverse(exceeds), priority, Reverse(used - requested))
    });
}

/// Why a pod is ended for a shortage.
pub fn message(shortage: &Shortage, pod: &Pod, usage: &PodUse) -> String {
    let Shortage { signal, wanted, level } = *shortage;
    let resource = signal.resource();
    let mut text = format!(
        "The node was low on resource: {resource}. Threshold quantity: {}, available: {}. ",
        signal.written(wanted),
        signal.written(level.available)
    );
    for (name, container) in &usage.containers {
        let used = match resource {
            "memory" => container.memory_bytes,
            "ephemeral-storage" => container.layer.bytes + container.logs.bytes,
            _ => continue,
        };
        let requested =
            find_container(pod, name).and_then(|container| request(&container, resource)).unwrap_or(0) / 1000;
        let requested = u64::try_from(requested).unwrap_or(0);
        if used > requested {
            text.push_str(&format!(
                "Container {name} was using {}, request is {}, has larger consumption of {resource}. ",
                signal.written(used),
                signal.written(requested)
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use machinery::eviction::Level;

    fn pod(name: &str, priority: i32, memory: &str) -> Pod {
        let resources = json!({ "requests": { "memory": memory } });
        serde_json::from_value(json!({ "metadata": { "name": name }, "spec": { "priority": priority,
            "containers": [{ "name": "c", "resources": resources }] } }))
        .unwrap()
    }

    fn using(memory_mib: u64, layer_mib: u64, volume_mib: u64) -> PodUse {
        let layer = Disk { bytes: layer_mib << 20, inodes: layer_mib };
        let container = ContainerUse { memory_bytes: memory_mib << 20, layer, ..Default::default() };
        let volume = Disk { bytes: volume_mib << 20, inodes: 1 };
        PodUse {
            containers: BTreeMap::from([("c".to_string(), container)]),
            volumes: BTreeMap::from([("v".to_string(), volume)]),
            processes: memory_mib,
        }
    }

    fn ordered(signal: Signal, one_disk: bool, pods: &[(Pod, PodUse)]) -> Vec<String> {
        let mut pods = pods.to_vec();
        order(&mut pods, signal, one_disk, |(pod, usage)| (pod, usage));
        pods.into_iter().map(|(pod, _)| pod.metadata.name.unwrap()).collect()
    }

    #[test]
    fn who_takes_more_than_was_asked_for_goes_first_then_who_matters_less() {
        let pods = [
            (pod("within", 0, "200Mi"), using(150, 0, 0)),
            (pod("important", 10, "10Mi"), using(900, 0, 0)),
            (pod("little", 0, "10Mi"), using(20, 0, 0)),
            (pod("much", 0, "10Mi"), using(90, 0, 0)),
        ];
        assert_eq!(ordered(Signal::Memory, true, &pods), ["much", "little", "important", "within"]);
        assert_eq!(ordered(Signal::Pids, true, &pods), ["within", "much", "little", "important"]);
    }

    #[test]
    fn a_full_disk_is_the_fault_of_who_lies_on_it() {
        let pods = [(pod("layer", 0, "0"), using(0, 50, 1)), (pod("volume", 0, "0"), using(0, 1, 70))];
        assert_eq!(ordered(Signal::NodefsBytes, true, &pods), ["volume", "layer"]);
        assert_eq!(ordered(Signal::ImagefsBytes, true, &pods), ["volume", "layer"]);
        assert_eq!(ordered(Signal::ImagefsBytes, false, &pods), ["layer", "volume"]);
        assert_eq!(ordered(Signal::NodefsInodes, true, &pods), ["layer", "volume"]);
    }

    #[test]
    fn the_message_names_the_shortage_and_who_took_too_much() {
        let shortage =
            |signal| Shortage { signal, wanted: 100 << 20, level: Level { available: 64 << 20, capacity: 0 } };
        let text = message(&shortage(Signal::Memory), &pod("p", 0, "10Mi"), &using(90, 0, 0));
        let expected = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 64Mi. \
                        Container c was using 90Mi, request is 10Mi, has larger consumption of memory. ";
        assert_eq!(text, expected);
        let text = message(&shortage(Signal::NodefsInodes), &pod("p", 0, "10Mi"), &using(90, 0, 0));
        assert!(text.starts_with("The node was low on resource: inodes. Threshold quantity: 104857600"), "{text}");
    }

    #[test]
    fn what_the_cluster_cannot_do_without_stays() {
        assert!(is_critical(&pod("p", CRITICAL, "0")) && !is_critical(&pod("p", CRITICAL - 1, "0")));
    }
}
