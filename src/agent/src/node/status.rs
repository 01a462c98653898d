//! What a node's status says, made from what is observed of the machine and the runtime.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cri::v1;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use serde_json::{Value, json};

use crate::config::Config;
use crate::eviction::pressure::Pressures;
use crate::host::Host;
use crate::machine::Machine;
use crate::patch::{keep_own_conditions, whole};
use crate::pod::status::whole_second;
use machinery::eviction::Pressure;

/// The version that is told: the API level with our own mark.
const VERSION: &str = "v1.37.0+rkctl";
/// Images named in a status.
const IMAGES_MAX: usize = 50;
/// The conditions that the agent tells; others are kept.
const OWN: [&str; 4] = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];
/// The resources of which the agent says how much there is; others are kept.
const OWN_RESOURCES: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "pods"];

/// What was seen of a node at one time.
#[derive(Debug, Clone, Default)]
pub struct Observation {
    /// The node's addresses.
    pub addresses: Vec<IpAddr>,
    /// Why the runtime or its network is not ready; empty where all is well.
    pub unready: Vec<String>,
    /// `containerd://1.7.0`.
    pub runtime_version: String,
    /// What lies on the node.
    pub images: Vec<v1::Image>,
    /// What the node is short of.
    pub pressures: Pressures,
    /// What pods may use together.
    pub allocatable: crate::pod::fields::Allocatable,
}

/// Looks at the machine and the runtime.
pub async fn observe(host: &Host) -> Observation {
    let version = host.runtime.version().await;
    let runtime_version = version.map(|v| format!("{}://{}", v.runtime_name, v.runtime_version)).unwrap_or_default();
    Observation {
        addresses: host.host_ips.clone(),
        unready: unready(host.runtime.status(false).await),
        runtime_version,
        images: host.runtime.list_images().await.unwrap_or_default(),
        pressures: host.pressures.now(),
        allocatable: host.allocatable,
    }
}

fn unready(status: Result<v1::StatusResponse, cri::Error>) -> Vec<String> {
    let conditions = match status {
        Ok(status) => status.status.unwrap_or_default().conditions,
        Err(error) => return vec![format!("container runtime is down: {}", stdx::error::chain(&error))],
    };
    let problem = |condition: &v1::RuntimeCondition| match condition.r#type.as_str() {
        "NetworkReady" => format!(
            "container runtime network not ready: NetworkReady=false reason:{} message:{}",
            condition.reason, condition.message
        ),
        _ => format!(
            "container runtime not ready: {}=false reason:{} message:{}",
            condition.r#type, condition.reason, condition.message
        ),
    };
    conditions
        .iter()
        .filter(|condition| !condition.status && matches!(condition.r#type.as_str(), "RuntimeReady" | "NetworkReady"))
        .map(problem)
        .collect()
}

/// The status of a node; times of conditions are kept from `before` where nothing changed.
pub fn status(
    config: &Config,
    machine: &Machine,
    observed: &Observation,
    before: Option<&NodeStatus>,
    now: Timestamp,
) -> NodeStatus {
    let mut addresses: Vec<NodeAddress> = observed
        .addresses
        .iter()
        .map(|address| NodeAddress { type_: "InternalIP".into(), address: address.to_string() })
        .collect();
    addresses.push(NodeAddress { type_: "Hostname".into(), address: config.node_name.clone() });
    let disk = |bytes: i64| format!("{}Ki", bytes / 1024);
    let capacity = resources(config, format!("{}", machine.cpus), machine.memory_bytes, disk(machine.disk_bytes));
    let cpu = match observed.allocatable.milli_cpu {
        milli if milli % 1000 == 0 => format!("{}", milli / 1000),
        milli => format!("{milli}m"),
    };
    let allocatable = resources(config, cpu, observed.allocatable.memory_bytes, disk(observed.allocatable.disk_bytes));
    let foreign: Vec<(String, Quantity)> =
        foreign_capacity(before).map(|(name, all)| (name.clone(), all.clone())).collect();
    let with = |mut own: BTreeMap<String, Quantity>| {
        own.extend(foreign.iter().cloned());
        own
    };
    NodeStatus {
        addresses: Some(addresses),
        capacity: Some(with(capacity)),
        allocatable: Some(with(allocatable)),
        conditions: Some(conditions(observed, before, now)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(config.listen_address.port()) }),
        }),
        node_info: Some(info(machine, observed)),
        images: Some(images(&observed.images)),
        ..Default::default()
    }
}

/// What others say the node has, as is done for extended resources: all of it can be given to pods, which is for the
/// agent to say.
fn foreign_capacity(found: Option<&NodeStatus>) -> impl Iterator<Item = (&String, &Quantity)> {
    let capacity = found.and_then(|found| found.capacity.as_ref()).into_iter().flatten();
    capacity.filter(|(name, _)| !OWN_RESOURCES.contains(&name.as_str()))
}

fn resources(config: &Config, cpu: String, memory_bytes: i64, disk: String) -> BTreeMap<String, Quantity> {
    BTreeMap::from([
        ("cpu".to_string(), Quantity(cpu)),
        ("memory".to_string(), Quantity(format!("{}Ki", memory_bytes / 1024))),
        ("ephemeral-storage".to_string(), Quantity(disk)),
        ("pods".to_string(), Quantity(config.max_pods.to_string())),
    ])
}

fn info(machine: &Machine, observed: &Observation) -> NodeSystemInfo {
    let architecture = if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" };
    NodeSystemInfo {
        architecture: architecture.into(),
        boot_id: machine.boot_id.clone(),
        container_runtime_version: observed.runtime_version.clone(),
        kernel_version: machine.kernel.clone(),
        kube_proxy_version: String::new(),
        kubelet_version: VERSION.into(),
        machine_id: machine.machine_id.clone(),
        operating_system: "linux".into(),
        os_image: machine.os_image.clone(),
        system_uuid: machine.system_uuid.clone(),
        ..Default::default()
    }
}

fn images(all: &[v1::Image]) -> Vec<ContainerImage> {
    let mut all: Vec<&v1::Image> =
        all.iter().filter(|image| !image.repo_tags.is_empty() || !image.repo_digests.is_empty()).collect();
    all.sort_by(|a, b| (b.size, &a.id).cmp(&(a.size, &b.id)));
    let name = |image: &v1::Image| image.repo_digests.iter().chain(&image.repo_tags).take(5).cloned().collect();
    all.into_iter()
        .take(IMAGES_MAX)
        .map(|image| ContainerImage { names: Some(name(image)), size_bytes: i64::try_from(image.size).ok() })
        .collect()
}

fn conditions(observed: &Observation, before: Option<&NodeStatus>, now: Timestamp) -> Vec<NodeCondition> {
    let table = [
        (
            Pressure::Memory,
            ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ),
        (
            Pressure::Disk,
            ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ),
        (
            Pressure::Pid,
            ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
            ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ),
    ];
    let mut list: Vec<NodeCondition> = table
        .into_iter()
        .map(|(pressure, yes, no)| {
            let pressed = observed.pressures.has(pressure);
            let (reason, message) = if pressed { yes } else { no };
            condition(pressure.name(), pressed, reason, message)
        })
        .collect();
    list.push(if observed.unready.is_empty() {
        condition("Ready", true, "KubeletReady", "kubelet is posting ready status")
    } else {
        condition("Ready", false, "KubeletNotReady", &observed.unready.join(", "))
    });
    let old = before.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let now = Time(whole_second(now));
    for condition in &mut list {
        let same = old.iter().find(|old| old.type_ == condition.type_ && old.status == condition.status);
        condition.last_heartbeat_time = Some(now.clone());
        condition.last_transition_time = same.and_then(|old| old.last_transition_time.clone()).or(Some(now.clone()));
    }
    let foreign = old.iter().filter(|condition| !OWN.contains(&condition.type_.as_str())).cloned();
    foreign.chain(list).collect()
}

fn condition(type_: &str, value: bool, reason: &str, message: &str) -> NodeCondition {
    NodeCondition {
        type_: type_.into(),
        status: if value { "True" } else { "False" }.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        ..Default::default()
    }
}

/// A strategic merge patch that makes the API's status, which is `found`, this one; the conditions and the capacity of
/// others are left out, and stay.
pub fn patch(status: &NodeStatus, found: Option<&NodeStatus>) -> Value {
    let mut body = serde_json::to_value(status).unwrap_or_else(|_| json!({}));
    keep_own_conditions(&mut body, |type_| OWN.contains(&type_));
    if let Some(capacity) = body.get_mut("capacity").and_then(Value::as_object_mut) {
        capacity.retain(|name, _| OWN_RESOURCES.contains(&name.as_str()));
    }
    // What somebody no longer says the node has is not there to be given either.
    if let Some(allocatable) = body.get_mut("allocatable").and_then(Value::as_object_mut) {
        let known = found.and_then(|found| found.allocatable.as_ref()).into_iter().flatten();
        for (name, _) in known {
            allocatable.entry(name).or_insert(Value::Null);
        }
    }
    // The API merges addresses by their type, of which a node may have several.
    if let Some(addresses) = body.get_mut("addresses") {
        *addresses = whole(addresses.take());
    }
    body
}

/// True where a status says that the node is ready.
pub fn is_ready(status: &NodeStatus) -> bool {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// True where the API's status has the conditions of `fresh` that are the agent's own, with the same values.
pub fn says_the_same(found: &NodeStatus, fresh: &NodeStatus) -> bool {
    let value = |status: &NodeStatus, type_: &str| {
        let condition = status.conditions.iter().flatten().find(|condition| condition.type_ == type_);
        condition.map(|condition| condition.status.clone())
    };
    OWN.iter().all(|type_| value(found, type_) == value(fresh, type_))
}

/// The reasons of the events about what has turned since `before`, which is `None` for the first status.
pub fn turns(before: Option<&NodeStatus>, fresh: &NodeStatus) -> Vec<&'static str> {
    let table = [
        ("MemoryPressure", "NodeHasInsufficientMemory", "NodeHasSufficientMemory"),
        ("DiskPressure", "NodeHasDiskPressure", "NodeHasNoDiskPressure"),
        ("PIDPressure", "NodeHasInsufficientPID", "NodeHasSufficientPID"),
        ("Ready", "NodeReady", "NodeNotReady"),
    ];
    let value = |status: &NodeStatus, type_: &str| {
        let mut conditions = status.conditions.iter().flatten();
        conditions.any(|condition| condition.type_ == type_ && condition.status == "True")
    };
    let turned =
        table.into_iter().filter(|(type_, ..)| before.is_none_or(|before| value(before, type_) != value(fresh, type_)));
    turned.map(|(type_, yes, no)| if value(fresh, type_) { yes } else { no }).collect()
}

/// True where two statuses differ in nothing but the time.
pub fn same(a: &NodeStatus, b: &NodeStatus) -> bool {
    let timeless = |status: &NodeStatus| {
        let mut status = status.clone();
        for condition in status.conditions.iter_mut().flatten() {
            condition.last_heartbeat_time = None;
            condition.last_transition_time = None;
        }
        status
    };
    timeless(a) == timeless(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use machinery::eviction::{Level, Shortage, Signal};

    fn made(observed: &Observation, before: Option<&NodeStatus>, second: i64) -> NodeStatus {
        let machine = Machine { cpus: 2, memory_bytes: 4 << 30, ..Default::default() };
        let now = Timestamp::from_second(second).unwrap();
        status(&Config::for_node("w1"), &machine, observed, before, now)
    }

    fn healthy() -> Observation {
        Observation::default()
    }

    fn pressed(signal: Signal) -> Observation {
        let short = Shortage { signal, wanted: 1, level: Level { available: 0, capacity: 1 } };
        let mut pressures = Pressures::default();
        pressures.note(&[short], Timestamp::UNIX_EPOCH);
        Observation { pressures, ..healthy() }
    }

    #[test]
    fn a_runtime_without_network_makes_the_node_unready_with_the_reason() {
        let ready = made(&healthy(), None, 10);
        assert!(is_ready(&ready));
        let conditions = v1::RuntimeStatus {
            conditions: vec![v1::RuntimeCondition {
                r#type: "NetworkReady".into(),
                message: "no CNI".into(),
                ..Default::default()
            }],
        };
        let problems = unready(Ok(v1::StatusResponse { status: Some(conditions), ..Default::default() }));
        let unready = made(&Observation { unready: problems, ..healthy() }, Some(&ready), 20);
        assert!(!is_ready(&unready) && !same(&ready, &unready));
        let of = |status: &NodeStatus, type_: &str| {
            status.conditions.clone().unwrap().into_iter().find(|c| c.type_ == type_).unwrap()
        };
        assert!(of(&unready, "Ready").message.unwrap().contains("no CNI"));
        assert_eq!(of(&unready, "Ready").last_transition_time.unwrap().0.as_second(), 20);
        assert_eq!(of(&unready, "DiskPressure").last_transition_time.unwrap().0.as_second(), 10);
    }

    #[test]
    fn what_the_node_controller_wrote_over_is_told_again() {
        let told = made(&healthy(), None, 10);
        let mut found = told.clone();
        for condition in found.conditions.iter_mut().flatten() {
            condition.last_heartbeat_time = None;
        }
        assert!(says_the_same(&found, &told));
        for condition in found.conditions.iter_mut().flatten() {
            condition.status = "Unknown".into();
        }
        assert!(!says_the_same(&found, &told));
        assert!(!says_the_same(&NodeStatus::default(), &told));
    }

    // Extended resources are advertised by whoever writes them into the capacity of a node's status.
    #[test]
    fn what_others_say_the_node_has_can_be_given_to_pods() {
        let before = made(&healthy(), None, 10);
        let mut advertised = before.clone();
        advertised.capacity.as_mut().unwrap().insert("example.com/gpu".into(), Quantity("4".into()));
        let fresh = made(&healthy(), Some(&advertised), 20);
        assert!(!same(&before, &fresh));
        let told = patch(&fresh, Some(&advertised));
        assert_eq!(told["allocatable"]["example.com/gpu"], "4");
        assert_eq!(told["capacity"].get("example.com/gpu"), None, "theirs to change");
        assert_eq!(told["capacity"]["cpu"], "2");
        // Somebody takes it back.
        let mut taken = fresh.clone();
        taken.capacity.as_mut().unwrap().remove("example.com/gpu");
        let fresh = made(&healthy(), Some(&taken), 30);
        assert_eq!(patch(&fresh, Some(&taken))["allocatable"]["example.com/gpu"], Value::Null);
        assert!(patch(&fresh, Some(&taken))["allocatable"].as_object().unwrap().contains_key("example.com/gpu"));
    }

    #[test]
    fn what_turned_is_told() {
        let first = made(&healthy(), None, 10);
        let all = ["NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID", "NodeReady"];
        assert_eq!(turns(None, &first), all);
        assert_eq!(turns(Some(&first), &first), Vec::<&str>::new());
        let pressed = made(&pressed(Signal::Memory), Some(&first), 20);
        assert_eq!(turns(Some(&first), &pressed), ["NodeHasInsufficientMemory"]);
        assert_eq!(turns(Some(&pressed), &first), ["NodeHasSufficientMemory"]);
    }

    #[test]
    fn pressures() {
        let told = |observed: Observation| {
            let status = made(&observed, None, 0);
            let conditions = status.conditions.unwrap();
            conditions
                .into_iter()
                .filter(|c| c.type_ != "Ready" && c.status == "True")
                .map(|c| c.type_)
                .collect::<Vec<_>>()
        };
        assert!(told(healthy()).is_empty());
        assert_eq!(told(pressed(Signal::Memory)), ["MemoryPressure"]);
        assert_eq!(told(pressed(Signal::ImagefsBytes)), ["DiskPressure"]);
        assert_eq!(told(pressed(Signal::Pids)), ["PIDPressure"]);
    }

    #[test]
    fn only_time_makes_no_difference_and_foreign_conditions_stay() {
        let mut first = made(&healthy(), None, 10);
        first.conditions.as_mut().unwrap().push(condition("NetworkUnavailable", false, "Up", "up"));
        let second = made(&healthy(), Some(&first), 20);
        assert!(second.conditions.as_ref().unwrap().iter().any(|c| c.type_ == "NetworkUnavailable"));
        let told = patch(&second, None);
        let told: Vec<&str> =
            told["conditions"].as_array().unwrap().iter().filter_map(|c| c["type"].as_str()).collect();
        assert_eq!(told, OWN, "what others say is theirs to tell");
        assert!(same(&second, &made(&healthy(), Some(&second), 30)));
    }
}
