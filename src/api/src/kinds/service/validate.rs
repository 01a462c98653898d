//! What a Service may be.

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors};
use machinery::names;
use serde_json::{Value, json};

use crate::check::{At, NO_ADDRESS, is_address};
use crate::metadata::validate_labels;
use crate::read;

const AGENT_PORT: i64 = 10250;
const AFFINITY_SECONDS_MAX: i64 = 86_400;
const NO_RANGE: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

pub(super) fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    let type_ = spec.at("type").text();
    let is_headless = spec.at("clusterIP").text() == "None";
    if spec.items("ports").next().is_none() && !is_headless && type_ != "ExternalName" {
        spec.at("ports").required(&mut errors, "");
    }
    match type_ {
        "" => spec.at("type").required(&mut errors, ""),
        "LoadBalancer" => {
            for port in spec.items("ports").filter(|port| port.at("port").int() == Some(AGENT_PORT)) {
                let wrong = "may not expose port 10250 externally since it is used by kubelet";
                port.at("port").invalid(&mut errors, wrong);
            }
        }
        "ExternalName" => external_name(&spec, &mut errors),
        _ => {}
    }
    if is_headless && matches!(type_, "NodePort" | "LoadBalancer") {
        let wrong = format!("may not be set to 'None' for {type_} services");
        errors.push(FieldError::invalid(&spec.at("clusterIPs").path.index(0), "None", wrong));
    }
    addresses(&spec, &mut errors);
    ports(&spec, &mut errors);
    let selector = spec.at("selector");
    errors.extend(validate_labels(selector.value, &selector.path));
    affinity(&spec, &mut errors);
    traffic(&spec, &mut errors);
    errors
}

fn external_name(spec: &At<'_>, errors: &mut FieldErrors) {
    for field in ["clusterIPs", "clusterIP"] {
        let at = spec.at(field);
        if !read::same(at.value, &Value::Null) {
            at.forbidden(errors, "may not be set for ExternalName services");
        }
    }
    let name = spec.at("externalName");
    match name.text().strip_suffix('.').unwrap_or(name.text()) {
        "" => name.required(errors, ""),
        host => names::dns1123_subdomain(host).into_iter().for_each(|wrong| name.invalid(errors, wrong)),
    }
}

fn addresses(spec: &At<'_>, errors: &mut FieldErrors) {
    let all: Vec<At<'_>> = spec.items("clusterIPs").collect();
    for address in &all {
        let is_headless = address.text() == "None" && all.len() == 1;
        if !is_headless && !address.text().is_empty() && !is_address(address.text()) {
            address.invalid(errors, NO_ADDRESS);
        }
    }
    let one = spec.at("clusterIP");
    if let Some(first) = all.first()
        && first.text() != one.text()
    {
        errors.push(FieldError::invalid(&one.path, one.text(), "must be the same as clusterIPs[0]"));
    }
    if all.len() > 2 {
        spec.at("clusterIPs").invalid(errors, "may only hold up to 2 values");
    }
    for address in spec.items("externalIPs") {
        match address.text().parse::<std::net::IpAddr>() {
            Ok(found) => super::super::endpoint_slice::endpoint_address(found, &address, errors),
            Err(_) => address.invalid(errors, NO_ADDRESS),
        }
    }
    for range in spec.items("loadBalancerSourceRanges") {
        if range.text().trim().parse::<ipnet::IpNet>().is_err() {
            range.invalid(errors, NO_RANGE);
        }
    }
}

fn ports(spec: &At<'_>, errors: &mut FieldErrors) {
    let needs_names = spec.items("ports").count() > 1;
    let takes_node_ports = matches!(spec.at("type").text(), "NodePort" | "LoadBalancer");
    let (mut names_seen, mut ports_seen, mut node_ports_seen) = (HashSet::new(), HashSet::new(), HashSet::new());
    for port in spec.items("ports") {
        let name = port.at("name");
        if needs_names && name.text().is_empty() {
            name.required(errors, "");
        } else if !name.text().is_empty() {
            name.follows(errors, names::dns1123_label);
            if !names_seen.insert(name.text()) {
                name.duplicate(errors);
            }
        }
        let (number, protocol, node_port) = (port.at("port"), port.at("protocol"), port.at("nodePort"));
        for wrong in names::port_number(number.int().unwrap_or_default()) {
            errors.push(FieldError::invalid(&number.path, number.int().unwrap_or_default(), wrong));
        }
        protocol.require_text(errors);
        port.at("targetPort").port_or_name(errors);
        port.at("appProtocol").optional_name(errors, names::qualified_name);
        if node_port.int().unwrap_or_default() != 0 {
            if !takes_node_ports {
                node_port.forbidden(errors, "may not be used when `type` is 'ClusterIP'");
            } else if !node_ports_seen.insert((protocol.text(), node_port.int())) {
                node_port.duplicate(errors);
            }
        }
        if !ports_seen.insert((protocol.text(), number.int())) {
            let key = json!({"port": number.value, "protocol": protocol.value});
            errors.push(FieldError::duplicate(&port.path, key));
        }
    }
}

fn affinity(spec: &At<'_>, errors: &mut FieldErrors) {
    let seconds = spec.at("sessionAffinityConfig.clientIP.timeoutSeconds");
    match spec.at("sessionAffinity").text() {
        "" => spec.at("sessionAffinity").required(errors, ""),
        "ClientIP" if !(1..=AFFINITY_SECONDS_MAX).contains(&seconds.int().unwrap_or_default()) => {
            seconds.invalid(errors, format!("must be greater than 0 and less than {AFFINITY_SECONDS_MAX}"));
        }
        "None" if spec.at("sessionAffinityConfig").is_set() => {
            let wrong = "must not be set when session affinity is None";
            spec.at("sessionAffinityConfig").forbidden(errors, wrong);
        }
        _ => {}
    }
}

fn traffic(spec: &At<'_>, errors: &mut FieldErrors) {
    let type_ = spec.at("type").text();
    let is_external = matches!(type_, "NodePort" | "LoadBalancer")
        || (type_ == "ClusterIP" && !read::list(spec.value, "externalIPs").is_empty());
    let policy = spec.at("externalTrafficPolicy");
    if !is_external && !policy.text().is_empty() {
        policy.invalid(errors, "may only be set for externally-accessible services");
    }
    if type_ != "LoadBalancer" {
        for field in ["loadBalancerClass", "allocateLoadBalancerNodePorts"] {
            if spec.at(field).is_set() {
                spec.at(field).forbidden(errors, "may only be used when `type` is 'LoadBalancer'");
            }
        }
    }
}

pub(super) fn validate_update(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let is_addressed = |service: &Value| read::text(service, "spec.type") != "ExternalName";
    let (new_all, old_all) = (At::root(object).at("spec.clusterIPs"), read::list(old, "spec.clusterIPs"));
    if is_addressed(object) && is_addressed(old) && !old_all.is_empty() {
        let new_first = new_all.value.get(0).unwrap_or(&Value::Null);
        if new_first != &old_all[0] {
            let path = new_all.path.index(0);
            errors.push(FieldError::invalid(&path, new_all.value.clone(), "may not change once set"));
        }
    }
    let class = At::root(object).at("spec.loadBalancerClass");
    let is_balanced = |service: &Value| read::text(service, "spec.type") == "LoadBalancer";
    if is_balanced(object) && is_balanced(old) && !read::same(class.value, read::at(old, "spec.loadBalancerClass")) {
        class.invalid(&mut errors, "may not change once set");
    }
    errors
}
