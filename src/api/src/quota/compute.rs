//! What a pod asks for and is limited to.

use machinery::quantity::Quantity;
use serde_json::Value;

use super::{Amounts, add, amounts, raise};
use crate::read;

/// The pod's requests and limits under the names that quotas use.
pub fn of_pod(pod: &Value) -> Amounts {
    let mut cost = Amounts::new();
    for (name, amount) in largest_moment(pod, "requests") {
        let (plain, huge) = (is_plain(&name), name.starts_with("hugepages-"));
        if plain || huge {
            cost.insert(name.clone(), amount);
        }
        if plain || huge || name.contains('/') {
            cost.insert(format!("requests.{name}"), amount);
        }
    }
    for (name, amount) in largest_moment(pod, "limits").into_iter().filter(|(name, _)| is_plain(name)) {
        cost.insert(format!("limits.{name}"), amount);
    }
    cost
}

fn is_plain(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage")
}

/// The containers and sidecars together, or a moment of the start where that takes more; instead of it what is said
/// of the pod as a whole; the overhead of its runtime class on top.
fn largest_moment(pod: &Value, of: &str) -> Amounts {
    let spec = &pod["spec"];
    let mut sum = of_containers(spec, of);
    let whole = amounts(&spec["resources"][of]);
    sum.extend(
        whole
            .into_iter()
            .filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-")),
    );
    for (name, amount) in amounts(&spec["overhead"]) {
        // Overhead adds to a limit and sets none.
        if of == "requests" || sum.get(&name).is_some_and(|limit: &Quantity| !limit.is_zero()) {
            add(&mut sum, Amounts::from([(name, amount)]));
        }
    }
    sum
}

/// What the containers of a pod spec request together, in the moment in which they request most.
pub fn containers_ask(spec: &Value) -> Amounts {
    of_containers(spec, "requests")
}

fn of_containers(spec: &Value, of: &str) -> Amounts {
    let said = |container: &Value| amounts(&container["resources"][of]);
    let mut sum = Amounts::new();
    for container in read::list(spec, "containers") {
        add(&mut sum, said(container));
    }
    let (mut sidecars, mut start) = (Amounts::new(), Amounts::new());
    for container in read::list(spec, "initContainers") {
        let mut moment = sidecars.clone();
        add(&mut moment, said(container));
        if read::text(container, "restartPolicy") == "Always" {
            sidecars = moment.clone();
        }
        raise(&mut start, moment);
    }
    add(&mut sum, sidecars);
    raise(&mut sum, start);
    sum
}

/// Asks for no time and no memory, as a whole and in no container.
pub fn is_best_effort(pod: &Value) -> bool {
    let spec = &pod["spec"];
    let nothing = |resources: &Value| {
        ["requests", "limits"].iter().all(|of| {
            let said = amounts(&resources[*of]);
            ["cpu", "memory"].iter().all(|name| said.get(*name).is_none_or(|amount| amount.is_zero()))
        })
    };
    let containers = || read::list(spec, "containers").iter().chain(read::list(spec, "initContainers"));
    nothing(&spec["resources"]) && containers().all(|container| nothing(&container["resources"]))
}
