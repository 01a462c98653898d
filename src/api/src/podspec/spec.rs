//! The pod spec as a whole.

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors};
use machinery::names;

use super::{affinity, containers, resources, security, volumes};
use crate::check::{At, NO_ADDRESS, is_address};
use crate::metadata::validate_labels;

/// The greatest `activeDeadlineSeconds`.
const DEADLINE_SECONDS_MAX: i64 = i32::MAX as i64;
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;

/// Everything that is wrong with a pod spec.
pub(crate) fn validate(spec: &At<'_>, errors: &mut FieldErrors) {
    let volumes = volumes::validate(spec, errors);
    containers::validate(spec, &volumes, errors);
    if spec.at("restartPolicy").text().is_empty() {
        spec.at("restartPolicy").required(errors, "");
    }
    dns(spec, errors);
    if spec.at("activeDeadlineSeconds").is_set() {
        spec.at("activeDeadlineSeconds").in_range(errors, 1, DEADLINE_SECONDS_MAX);
    }
    errors.extend(validate_labels(spec.at("nodeSelector").value, &spec.at("nodeSelector").path));
    affinity::validate(spec, errors);
    host_network(spec, errors);
    security::validate_pod(spec, errors);
    for secret in spec.items("imagePullSecrets") {
        if secret.at("name").text().is_empty() {
            secret.at("name").required(errors, "");
        }
    }
    spec.at("serviceAccountName").optional_name(errors, names::dns1123_subdomain);
    spec.at("nodeName").optional_name(errors, names::dns1123_subdomain);
    spec.at("hostname").optional_name(errors, names::dns1123_label);
    spec.at("subdomain").optional_name(errors, names::dns1123_label);
    spec.at("priorityClassName").optional_name(errors, names::dns1123_subdomain);
    if spec.at("runtimeClassName").is_set() {
        spec.at("runtimeClassName").follows(errors, names::dns1123_subdomain);
    }
    for alias in spec.items("hostAliases") {
        if !is_address(alias.at("ip").text()) {
            alias.at("ip").invalid(errors, NO_ADDRESS);
        }
        alias.items("hostnames").for_each(|name| name.follows(errors, names::dns1123_subdomain));
    }
    for gate in spec.items("readinessGates") {
        gate.at("conditionType").follows(errors, names::qualified_name);
    }
    scheduling_gates(spec, errors);
    if spec.at("resources").is_set() {
        resources::validate_requirements(&spec.at("resources"), errors);
    }
    for (name, amount) in spec.entries("overhead") {
        resources::validate_amount(name, &amount, errors);
    }
}

fn dns(spec: &At<'_>, errors: &mut FieldErrors) {
    let policy = spec.at("dnsPolicy");
    if policy.text().is_empty() {
        policy.required(errors, "");
    }
    let config = spec.at("dnsConfig");
    if policy.text() == "None" {
        if !config.is_set() {
            config.required(errors, "must provide `dnsConfig` when `dnsPolicy` is None");
        } else if config.items("nameservers").next().is_none() {
            let missing = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            config.at("nameservers").required(errors, missing);
        }
    }
    if config.items("nameservers").count() > NAMESERVERS_MAX {
        config.at("nameservers").invalid(errors, format!("must not have more than {NAMESERVERS_MAX} nameservers"));
    }
    for server in config.items("nameservers").filter(|server| !is_address(server.text())) {
        server.invalid(errors, NO_ADDRESS);
    }
    if config.items("searches").count() > SEARCHES_MAX {
        config.at("searches").invalid(errors, format!("must not have more than {SEARCHES_MAX} search paths"));
    }
    for search in config.items("searches").filter(|search| search.text() != ".") {
        let name = search.text().strip_suffix('.').unwrap_or(search.text()).replace('_', "-");
        names::dns1123_subdomain(&name).into_iter().for_each(|wrong| search.invalid(errors, wrong));
    }
    for option in config.items("options").filter(|option| option.at("name").text().is_empty()) {
        option.at("name").required(errors, "must not be empty");
    }
}

/// A port that says nothing of the host's is filled in with the container's when a pod is made. Templates are kept as
/// they were written, so that it may be missing there.
fn host_network(spec: &At<'_>, errors: &mut FieldErrors) {
    if !spec.at("hostNetwork").is_true() {
        return;
    }
    for port in spec.items("containers").flat_map(|container| container.items("ports").collect::<Vec<_>>()) {
        let number = |name: &str| port.at(name).int().unwrap_or_default();
        if number("hostPort") != 0 && number("hostPort") != number("containerPort") {
            port.at("hostPort").invalid(errors, "must match `containerPort` when `hostNetwork` is true");
        }
    }
}

fn scheduling_gates(spec: &At<'_>, errors: &mut FieldErrors) {
    let mut seen = HashSet::new();
    for gate in spec.items("schedulingGates") {
        gate.at("name").follows(errors, names::qualified_name);
        if !seen.insert(gate.at("name").text()) {
            errors.push(FieldError::duplicate(&gate.path, gate.at("name").text()));
        }
    }
}
