//! Node.

use jiff::Timestamp;
use machinery::meta;
use serde_json::Value;

use super::simple::Simple;
use crate::read;
use crate::resource::Column;
use crate::table::{NONE, UNKNOWN, age, age_column, joined, name, name_column, text, text_or, wide};

const COLUMNS: &[Column] = &[
    name_column(),
    text("Status", "Whether the node takes pods."),
    text("Roles", "What the node is for."),
    age_column(),
    text("Version", "The version of the node's agent."),
    wide("Internal-IP", "The address within the cluster."),
    wide("External-IP", "The address outside of the cluster."),
    wide("OS-Image", "The operating system."),
    wide("Kernel-Version", "The kernel's version."),
    wide("Container-Runtime", "The container runtime and its version."),
];

/// The behaviour of Nodes.
pub static NODE: Simple = Simple { columns: COLUMNS, cells, fields: &["spec.unschedulable"], ..Simple::PLAIN };

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let info = |field: &str| Value::from(text_or(object, &format!("status.nodeInfo.{field}"), UNKNOWN));
    vec![
        name(object),
        status(object).into(),
        joined(roles(object)).into(),
        age(object, now),
        read::text(object, "status.nodeInfo.kubeletVersion").into(),
        address(object, "InternalIP").into(),
        address(object, "ExternalIP").into(),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn status(object: &Value) -> String {
    let ready = read::list(object, "status.conditions").iter().find(|found| read::text(found, "type") == "Ready");
    let mut status = match ready.map(|condition| read::text(condition, "status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_string();
    if read::flag(object, "spec.unschedulable") {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn roles(object: &Value) -> Vec<String> {
    let labels = meta::labels(object).into_iter().flatten();
    let mut roles: Vec<String> = labels
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .map(str::to_string)
        .collect();
    roles.sort();
    roles.dedup();
    roles
}

fn address(object: &Value, type_: &str) -> String {
    let found = read::list(object, "status.addresses").iter().find(|found| read::text(found, "type") == type_);
    found.map_or_else(|| NONE.to_string(), |address| read::text(address, "address").to_string())
}
