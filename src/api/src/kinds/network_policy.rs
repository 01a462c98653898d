//! NetworkPolicy.

use machinery::field::{FieldError, FieldErrors};
use serde_json::{Value, json};

use super::simple::Simple;
use crate::check::{At, label_selector};
use crate::edit::fill;
use crate::read;
use crate::table::{age, age_column, name, name_column, selector, text};

/// The behaviour of NetworkPolicies.
pub static NETWORK_POLICY: Simple = Simple {
    columns: &[name_column(), text("Pod-Selector", "The pods it applies to."), age_column()],
    cells: |object, now| vec![name(object), selector(read::at(object, "spec.podSelector")).into(), age(object, now)],
    has_generation: true,
    default,
    validate,
    ..Simple::PLAIN
};

fn default(object: &mut Value) {
    let has_egress = !read::list(object, "spec.egress").is_empty();
    if let Some(spec) = object.get_mut("spec") {
        fill(spec, "policyTypes", if has_egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
    }
}

fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    label_selector(&spec.at("podSelector"), &mut errors);
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.items(rules) {
            rule.items("ports").for_each(|found| port(&found, &mut errors));
            rule.items(peers).for_each(|found| peer(&found, &mut errors));
        }
    }
    if spec.items("policyTypes").count() > 2 {
        spec.at("policyTypes").invalid(&mut errors, "may not specify more than two policyTypes");
        return errors;
    }
    for type_ in spec.items("policyTypes").filter(|found| !matches!(found.text(), "Ingress" | "Egress")) {
        type_.not_supported(&mut errors, &["Egress", "Ingress"]);
    }
    errors
}

fn port(port: &At<'_>, errors: &mut FieldErrors) {
    let (first, last) = (port.at("port"), port.at("endPort"));
    if first.is_set() {
        first.port_or_name(errors);
    }
    if let Some(number) = last.int() {
        match (first.is_set(), first.int()) {
            (false, _) => last.invalid(errors, "may not be specified when `port` is not specified"),
            (true, None) => last.invalid(errors, "may not be specified when `port` is non-numeric"),
            (true, Some(first)) if number < first => {
                last.invalid(errors, "must be greater than or equal to `port`");
            }
            _ => last.in_range(errors, 1, 65535),
        }
    }
}

fn peer(peer: &At<'_>, errors: &mut FieldErrors) {
    let (pods, namespaces, block) = (peer.at("podSelector"), peer.at("namespaceSelector"), peer.at("ipBlock"));
    label_selector(&pods, errors);
    label_selector(&namespaces, errors);
    match (block.is_set(), pods.is_set() || namespaces.is_set()) {
        (false, false) => peer.required(errors, "must specify a peer"),
        (true, true) => peer.forbidden(errors, "may not specify both ipBlock and another peer"),
        (true, false) => ip_block(&block, errors),
        (false, true) => {}
    }
}

fn ip_block(block: &At<'_>, errors: &mut FieldErrors) {
    const WRONG: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    let range = block.at("cidr");
    if range.require_text(errors).is_none() {
        return;
    }
    let Ok(whole) = range.text().parse::<ipnet::IpNet>() else {
        range.invalid(errors, WRONG);
        return;
    };
    for except in block.items("except") {
        match except.text().parse::<ipnet::IpNet>() {
            Ok(part) if whole.contains(&part) && part != whole => {}
            Ok(_) => {
                let wrong = "must be a strict subset of `cidr`";
                errors.push(FieldError::invalid(&except.path, except.text(), wrong));
            }
            Err(_) => except.invalid(errors, WRONG),
        }
    }
}
