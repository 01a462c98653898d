//! Node.

use std::collections::HashSet;

use jiff::Timestamp;
use machinery::field::FieldError;
use machinery::field::FieldErrors;
use machinery::meta;
use machinery::names;
use serde_json::Value;

use crate::check::At;
use crate::edit::{fill, set};
use crate::read;
use crate::resource::Column;
use crate::resource::Kind;
use crate::table::{NONE, UNKNOWN, age, age_column, joined, name, name_column, text, text_or, wide};
use crate::{status, strategy};

const COLUMNS: &[Column<'static>] = &[
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
pub struct Node;

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

impl Kind for Node {
    /// What a node can give is what it has, unless it says otherwise.
    ///
    /// The first of its ranges is its range: who sets one of the two fields sets both.
    fn default(&self, object: &mut Value) {
        if let Some(spec) = object.get_mut("spec") {
            let own = read::text(spec, "podCIDR").to_string();
            let first = read::texts(spec, "podCIDRs").next().map(str::to_string);
            match first {
                Some(first) if own.is_empty() => set(spec, "podCIDR", first),
                first if !own.is_empty() && first.as_ref() != Some(&own) => set(spec, "podCIDRs", vec![own]),
                _ => {}
            }
        }
        let capacity = read::at(object, "status.capacity").clone();
        if let Some(status) = object.get_mut("status").filter(|_| !capacity.is_null()) {
            fill(status, "allocatable", capacity);
        }
    }

    /// Nodes register themselves with their status.
    fn prepare_create(&self, object: &mut Value) {
        meta::set(object, "generation", Value::Null);
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        strategy::update(object, old, false);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let spec = At::root(object).at("spec");
        let mut seen = HashSet::new();
        for taint in spec.items("taints") {
            let (key, value, effect) = (taint.at("key"), taint.at("value"), taint.at("effect"));
            key.follows(&mut errors, names::qualified_name);
            let wrong = names::label_value(value.text());
            if !wrong.is_empty() {
                value.invalid(&mut errors, wrong.join(";"));
            }
            effect.require_text(&mut errors);
            if !seen.insert((key.text(), effect.text())) {
                let mut error = FieldError::duplicate(&taint.path, taint.value.clone());
                error.detail = "taints must be unique by key and effect pair".to_string();
                errors.push(error);
            }
        }
        for range in spec.items("podCIDRs") {
            if range.text().parse::<ipnet::IpNet>().is_err() {
                range.invalid(&mut errors, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
            }
        }
        one_of_each_family(&spec, &mut errors);
        validate_status(object, &mut errors);
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        for (field, name) in [("podCIDRs", "podCIDR"), ("providerID", "providerID")] {
            let new = At::root(object).at("spec").at(field);
            let old = read::at(read::at(old, "spec"), field);
            if !read::same(old, &Value::Null) && !read::same(new.value, old) {
                let wrong = format!("node updates may not change {name} except from \"\" to valid");
                new.forbidden(&mut errors, &wrong);
            }
        }
        errors
    }

    fn validate_subresource_update(&self, _subresource: &str, object: &Value, _old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        validate_status(object, &mut errors);
        errors
    }

    fn columns(&self) -> Vec<Column<'_>> {
        COLUMNS.to_vec()
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        cells(object, now)
    }

    fn fields(&self) -> &'static [&'static str] {
        &["spec.unschedulable"]
    }

    fn field(&self, object: &Value, path: &str) -> Option<String> {
        (path == "spec.unschedulable").then(|| read::flag(object, path).to_string())
    }
}

/// Ranges of pods' addresses: one of IPv4, one of IPv6, or both.
fn one_of_each_family(spec: &At<'_>, errors: &mut FieldErrors) {
    let ranges: Vec<At<'_>> = spec.items("podCIDRs").collect();
    let is_six = |range: &At<'_>| range.text().contains(':');
    let is_dual = matches!(ranges.as_slice(), [first, second] if is_six(first) != is_six(second));
    if ranges.len() > 1 && !is_dual {
        spec.at("podCIDRs").invalid(errors, "may specify no more than one CIDR for each IP family");
    }
    for (index, range) in ranges.iter().enumerate() {
        if ranges[..index].iter().any(|earlier| earlier.text() == range.text()) {
            range.duplicate(errors);
        }
    }
}

fn validate_status(object: &Value, errors: &mut FieldErrors) {
    let at = At::root(object).at("status");
    status::amounts_by_field(&at, "capacity", errors);
    status::amounts_by_field(&at, "allocatable", errors);
    let addresses: Vec<At<'_>> = at.items("addresses").collect();
    for (index, address) in addresses.iter().enumerate() {
        if addresses[..index].iter().any(|earlier| read::same(earlier.value, address.value)) {
            address.duplicate(errors);
        }
    }
}
