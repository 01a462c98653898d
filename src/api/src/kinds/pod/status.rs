//! What the status of a pod may become.

use std::net::IpAddr;

use machinery::field::{FieldError, FieldErrors};
use machinery::names;
use serde_json::Value;

use crate::check::{At, NO_ADDRESS, is_address};
use crate::podspec::CONTAINER_LISTS;
use crate::read;

/// Conditions of the system's own, whose names are no labels of anybody's.
const OWN_CONDITIONS: [&str; 4] = ["PodScheduled", "Ready", "Initialized", "ContainersReady"];
/// Where the states of each list of containers are.
const STATE_LISTS: [&str; 3] = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];

/// Everything that is wrong with a change of a pod's status.
pub(super) fn validate(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let status = At::root(object).at("status");
    conditions(&status, &mut errors);
    status.at("nominatedNodeName").optional_name(&mut errors, names::dns1123_subdomain);
    let (class, before) = (status.at("qosClass"), read::at(old, "status.qosClass"));
    if !before.is_null() && class.is_set() && class.value != before {
        class.invalid(&mut errors, "field is immutable");
    }
    if status.at("observedGeneration").int().is_some_and(|generation| generation < 0) {
        status.at("observedGeneration").non_negative(&mut errors);
    }
    for (list, containers) in STATE_LISTS.into_iter().zip(CONTAINER_LISTS) {
        for state in status.items(list) {
            state.at("restartCount").non_negative(&mut errors);
        }
        transitions(&status, old, list, containers, &mut errors);
    }
    addresses(&status, "hostIPs", &mut errors);
    let (first, host) = (status.items("hostIPs").next(), status.at("hostIP"));
    if let Some(first) = first.filter(|first| first.at("ip").text() != host.text()) {
        first.at("ip").invalid(&mut errors, "must be equal to `hostIP`");
    }
    addresses(&status, "podIPs", &mut errors);
    errors
}

fn conditions(status: &At<'_>, errors: &mut FieldErrors) {
    for condition in status.items("conditions") {
        let type_ = condition.at("type");
        if !OWN_CONDITIONS.contains(&type_.text()) {
            for wrong in names::qualified_name(type_.text()) {
                errors.push(FieldError::invalid(&condition.path.child("Type"), type_.text(), wrong));
            }
        }
        condition.at("observedGeneration").non_negative(errors);
    }
}

/// A container that has ended for good does not run again.
fn transitions(status: &At<'_>, old: &Value, list: &str, containers: &str, errors: &mut FieldErrors) {
    let spec = read::at(old, "spec");
    let policy = read::text(spec, "restartPolicy");
    for (index, before) in read::list(read::at(old, "status"), list).iter().enumerate() {
        let ended = read::at(before, "state.terminated");
        let container = read::list(spec, containers).iter().find(|found| found["name"] == before["name"]);
        if ended.is_null() || may_restart(containers, policy, container, read::int(ended, "exitCode")) {
            continue;
        }
        let runs =
            status.items(list).any(|now| now.value["name"] == before["name"] && !now.at("state.terminated").is_set());
        if runs {
            let path = status.at(list).path.index(index).child("state");
            errors.push(FieldError::forbidden(&path, "may not be transitioned to non-terminated state"));
        }
    }
}

/// Whether a container that ended with this code is started again by the pod's rules or its own.
fn may_restart(containers: &str, policy: &str, container: Option<&Value>, exit_code: i64) -> bool {
    if containers == "ephemeralContainers" {
        return false;
    }
    let own = container.map_or("", |container| read::text(container, "restartPolicy"));
    let has_rules = container.is_some_and(|container| !read::list(container, "restartPolicyRules").is_empty());
    match if own.is_empty() { policy } else { own } {
        _ if has_rules || policy == "Always" => true,
        "Always" => true,
        "OnFailure" => exit_code != 0,
        _ => false,
    }
}

/// One address of each family at most, each once.
fn addresses(status: &At<'_>, list: &str, errors: &mut FieldErrors) {
    let all: Vec<At<'_>> = status.items(list).collect();
    for (index, address) in all.iter().enumerate() {
        let ip = address.at("ip").text();
        if !is_address(ip) {
            errors.push(FieldError::invalid(&address.path, ip, NO_ADDRESS));
        }
        if all[..index].iter().any(|earlier| earlier.at("ip").text() == ip) {
            address.duplicate(errors);
        }
    }
    let families: Vec<bool> = all
        .iter()
        .filter_map(|address| address.at("ip").text().parse::<IpAddr>().ok())
        .map(|ip| ip.is_ipv4())
        .collect();
    let is_dual = matches!(families.as_slice(), [first, second] if first != second);
    if all.len() > 1 && !is_dual {
        status.at(list).invalid(errors, "may specify no more than one IP for each IP family");
    }
}
