//! The pod spec as a whole.

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors};
use machinery::names;

use super::{affinity, claims, containers, os, resources, security, volumes};
use crate::check::{At, NO_ADDRESS, is_address};
use crate::metadata::validate_labels;

/// The greatest `activeDeadlineSeconds`.
const DEADLINE_SECONDS_MAX: i64 = i32::MAX as i64;
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
/// Characters of all search domains, with a space between each two.
const SEARCH_LIST_CHARACTERS_MAX: usize = 2048;

/// Whose spec it is. A template's may leave unsaid what is filled in when a pod is made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner<'a> {
    /// A pod of this name; empty while none is chosen.
    Pod(&'a str),
    /// A template of pods.
    Template,
}

/// Everything that is wrong with a pod spec.
pub(crate) fn validate(spec: &At<'_>, owner: Owner<'_>, errors: &mut FieldErrors) {
    let volumes = volumes::validate(spec, owner, errors);
    let claims = claims::validate(spec, errors);
    containers::validate(spec, owner, &volumes, &claims, errors);
    resources::validate_pod(spec, errors);
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
    resources::validate_overhead(spec, "overhead", errors);
    os::validate(spec, errors);
}

fn dns(spec: &At<'_>, errors: &mut FieldErrors) {
    let policy = spec.at("dnsPolicy");
    if policy.text().is_empty() {
        policy.required(errors, "");
    }
    let config = spec.at("dnsConfig");
    if policy.text() == "None" {
        if !config.is_set() {
            return config.required(errors, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        if config.items("nameservers").next().is_none() {
            let missing = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return config.at("nameservers").required(errors, missing);
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
    let characters = config.items("searches").map(|search| search.text().len() + 1).sum::<usize>();
    if characters > SEARCH_LIST_CHARACTERS_MAX + 1 {
        let wrong = format!(
            "must not have more than {SEARCH_LIST_CHARACTERS_MAX} characters (including spaces) in the search list"
        );
        config.at("searches").invalid(errors, wrong);
    }
    for search in config.items("searches").filter(|search| search.text() != ".") {
        let name = search.text().strip_suffix('.').unwrap_or(search.text()).replace('_', "-");
        names::dns1123_subdomain(&name).into_iter().for_each(|wrong| search.invalid(errors, wrong));
    }
    for option in config.items("options").filter(|option| option.at("name").text().is_empty()) {
        option.required(errors, "must not be empty");
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
        let name = gate.at("name").text();
        for wrong in names::qualified_name(name) {
            errors.push(FieldError::invalid(&gate.path, name, wrong));
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(&gate.path, name));
        }
    }
}
