//! What a Service may be.

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors};
use machinery::names;
use serde_json::{Value, json};

use crate::check::{At, NO_ADDRESS, is_address};
use crate::metadata::validate_labels;
use crate::read;

const AFFINITY_SECONDS_MAX: i64 = 86_400;
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const DISTRIBUTIONS: [&str; 3] = ["PreferClose", "PreferSameNode", "PreferSameZone"];
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
        "ExternalName" => external_name(&spec, &mut errors),
        _ => {}
    }
    if is_headless && matches!(type_, "NodePort" | "LoadBalancer") {
        let wrong = format!("may not be set to 'None' for {type_} services");
        errors.push(FieldError::invalid(&spec.at("clusterIPs").path.index(0), "None", wrong));
    }
    topology(object, &mut errors);
    addresses(&spec, &mut errors);
    source_ranges(object, &mut errors);
    ports(&spec, &mut errors);
    let selector = spec.at("selector");
    errors.extend(validate_labels(selector.value, &selector.path));
    affinity(&spec, &mut errors);
    traffic(&spec, &mut errors);
    errors
}

fn external_name(spec: &At<'_>, errors: &mut FieldErrors) {
    for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
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

/// The annotation that says where clients' traffic goes has two names.
fn topology(object: &Value, errors: &mut FieldErrors) {
    let annotations = At::root(object).at("metadata.annotations");
    let (mode, hints) = (annotations.key(TOPOLOGY_MODE), annotations.key(TOPOLOGY_HINTS));
    if mode.is_set() && hints.is_set() && mode.value != hints.value {
        mode.invalid(errors, format!("must match annotations[{TOPOLOGY_HINTS}] when both are specified"));
    }
}

fn addresses(spec: &At<'_>, errors: &mut FieldErrors) {
    if spec.at("type").text() != "ExternalName" {
        cluster_addresses(spec, errors);
    }
    for address in spec.items("externalIPs") {
        match address.text().parse::<std::net::IpAddr>() {
            Ok(found) => super::super::endpoint_slice::endpoint_address(found, &address, errors),
            Err(_) => address.invalid(errors, NO_ADDRESS),
        }
    }
}

/// Addresses within the cluster, the one and all of them, and their families.
fn cluster_addresses(spec: &At<'_>, errors: &mut FieldErrors) {
    let (one, list) = (spec.at("clusterIP"), spec.at("clusterIPs"));
    let all: Vec<At<'_>> = spec.items("clusterIPs").collect();
    match (one.text().is_empty(), all.first()) {
        (false, None) => list.required(errors, ""),
        (false, Some(first)) if first.text() != one.text() => {
            list.invalid(errors, "first value must match `clusterIP`");
        }
        (true, Some(_)) => list.invalid(errors, "must be empty when `clusterIP` is not specified"),
        _ => {}
    }
    let families: Vec<At<'_>> = spec.items("ipFamilies").collect();
    for (index, family) in families.iter().enumerate() {
        if families[..index].iter().any(|earlier| earlier.text() == family.text()) {
            family.duplicate(errors);
        }
    }
    let before = errors.len();
    for (index, address) in all.iter().enumerate() {
        if index == 0 && address.text() == "None" {
            if all.len() > 1 {
                list.invalid(errors, "'None' must be the first and only value");
            }
        } else if !is_address(address.text()) {
            address.invalid(errors, NO_ADDRESS);
        }
    }
    let is_malformed = errors.len() > before;
    if all.len() > 2 {
        list.invalid(errors, "may only hold up to 2 values");
    }
    if is_malformed {
        return;
    }
    let is_six = |address: &At<'_>| address.text().contains(':');
    if all.len() > 1 && all.iter().all(is_six) == all.iter().any(is_six) {
        list.invalid(errors, "may specify no more than one IP for each IP family");
    }
    let is_headless = all.first().is_some_and(|address| address.text() == "None");
    for (index, (address, family)) in all.iter().zip(&families).enumerate().filter(|_| !is_headless) {
        let expected = if family.text() == "IPv6" { "IPv6" } else { "IPv4" };
        if is_six(address) != (expected == "IPv6") {
            address.invalid(errors, format!("expected an {expected} value as indicated by `ipFamilies[{index}]`"));
        }
    }
}

/// Where a load balancer's clients may be, said by the field or by an older annotation.
fn source_ranges(object: &Value, errors: &mut FieldErrors) {
    let spec = At::root(object).at("spec");
    let annotation = At::root(object).at("metadata.annotations").key(SOURCE_RANGES);
    let at = match (spec.items("loadBalancerSourceRanges").next(), annotation.is_set()) {
        (Some(_), _) => At { path: spec.path.child("LoadBalancerSourceRanges"), ..spec.at("loadBalancerSourceRanges") },
        (None, true) => annotation.clone(),
        (None, false) => return,
    };
    if spec.at("type").text() != "LoadBalancer" {
        at.forbidden(errors, "may only be used when `type` is 'LoadBalancer'");
    }
    let is_range = |text: &str| text.trim().parse::<ipnet::IpNet>().is_ok();
    for (index, range) in spec.items("loadBalancerSourceRanges").enumerate() {
        if !is_range(range.text()) {
            errors.push(FieldError::invalid(&at.path.index(index), range.text().trim(), NO_RANGE));
        }
    }
    if at.path == annotation.path && !annotation.text().trim().is_empty() {
        for range in annotation.text().split(',').filter(|range| !is_range(range)) {
            errors.push(FieldError::invalid(&at.path, range.trim(), NO_RANGE));
        }
    }
}

fn ports(spec: &At<'_>, errors: &mut FieldErrors) {
    let needs_names = spec.items("ports").count() > 1;
    let is_internal = spec.at("type").text() == "ClusterIP";
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
        if port.at("appProtocol").is_set() {
            port.at("appProtocol").follows(errors, names::qualified_name);
        }
        if node_port.int().unwrap_or_default() != 0 {
            if is_internal {
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
    let config = spec.at("sessionAffinityConfig");
    let (client, seconds) = (config.at("clientIP"), config.at("clientIP.timeoutSeconds"));
    match spec.at("sessionAffinity").text() {
        "" => spec.at("sessionAffinity").required(errors, ""),
        "ClientIP" if !seconds.is_set() => {
            let missing = [config, client, seconds].into_iter().find(|field| !field.is_set());
            missing.into_iter().for_each(|field| field.required(errors, "when session affinity type is ClientIP"));
        }
        "ClientIP" if !(1..=AFFINITY_SECONDS_MAX).contains(&seconds.int().unwrap_or_default()) => {
            seconds.invalid(errors, format!("must be greater than 0 and less than {AFFINITY_SECONDS_MAX}"));
        }
        "None" if config.is_set() => config.forbidden(errors, "must not be set when session affinity is None"),
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
    } else if is_external && policy.text().is_empty() {
        policy.required(errors, "");
    }
    let class = spec.at("loadBalancerClass");
    if type_ == "LoadBalancer" && class.is_set() {
        class.follows(errors, names::qualified_name);
    }
    let distribution = spec.at("trafficDistribution");
    if distribution.is_set() && !DISTRIBUTIONS.contains(&distribution.text()) {
        distribution.not_supported(errors, &DISTRIBUTIONS);
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
    if is_addressed(object) && is_addressed(old) {
        addresses_kept(object, old, &mut errors);
        families_kept(object, old, &mut errors);
    }
    let class = At::root(object).at("spec.loadBalancerClass");
    let is_balanced = |service: &Value| read::text(service, "spec.type") == "LoadBalancer";
    if is_balanced(object) && is_balanced(old) && !read::same(class.value, read::at(old, "spec.loadBalancerClass")) {
        class.invalid(&mut errors, "may not change once set");
    }
    errors
}

fn is_headless(service: &Value) -> bool {
    matches!(read::list(service, "spec.clusterIPs"), [only] if only == "None")
}

/// The first address stays; a second one can come, and go where the service says that it has one family only.
fn addresses_kept(object: &Value, old: &Value, errors: &mut FieldErrors) {
    if is_headless(object) && is_headless(old) {
        return;
    }
    let all = At::root(object).at("spec.clusterIPs");
    let (new, before) = (read::list(object, "spec.clusterIPs"), read::list(old, "spec.clusterIPs"));
    let mut invalid = |index: usize, wrong: &str| {
        errors.push(FieldError::invalid(&all.path.index(index), all.value.clone(), wrong));
    };
    if new.len() == before.len() {
        for index in (0..new.len()).filter(|index| new[*index] != before[*index]) {
            invalid(index, "may not change once set");
        }
        return;
    }
    if new.is_empty() {
        invalid(0, "primary clusterIP can not be unset");
    } else if before.first().is_some_and(|first| first != &new[0]) {
        invalid(0, "may not change once set");
    }
    if before.len() > new.len() && new.len() == 1 {
        single_stack(object, "must be set to 'SingleStack' when releasing the secondary clusterIP", errors);
    }
}

fn single_stack(object: &Value, wrong: &str, errors: &mut FieldErrors) {
    let policy = At::root(object).at("spec.ipFamilyPolicy");
    if policy.text() != "SingleStack" {
        policy.invalid(errors, wrong);
    }
}

/// The same of the addresses' families.
fn families_kept(object: &Value, old: &Value, errors: &mut FieldErrors) {
    if is_headless(object) || is_headless(old) {
        return;
    }
    let all = At::root(object).at("spec.ipFamilies");
    let (new, before) = (read::list(object, "spec.ipFamilies"), read::list(old, "spec.ipFamilies"));
    let is_changed = if new.len() == before.len() { new != before } else { new.first() != before.first() };
    if is_changed && !new.is_empty() && !before.is_empty() {
        errors.push(FieldError::invalid(&all.path.index(0), all.value.clone(), "may not change once set"));
    }
    if before.len() > new.len() && new.len() == 1 {
        single_stack(object, "must be set to 'SingleStack' when releasing the secondary ipFamily", errors);
    }
}
