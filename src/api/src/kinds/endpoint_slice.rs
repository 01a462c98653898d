//! EndpointSlice.

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors};
use machinery::names;
use serde_json::Value;

use super::simple::Simple;
use crate::check::At;
use crate::read;
use crate::table::{age, age_column, first_few, name, name_column, text};

/// Addresses or ports that a row shows before it counts the rest.
const SHOWN_MAX: usize = 3;
const UNSET: &str = "<unset>";

/// The behaviour of EndpointSlices.
pub static ENDPOINT_SLICE: Simple = Simple {
    columns: &[
        name_column(),
        text("AddressType", "The kind of addresses in the slice."),
        text("Ports", "The ports of every endpoint."),
        text("Endpoints", "The addresses."),
        age_column(),
    ],
    cells: |object, now| {
        let address_type = read::text(object, "addressType").into();
        vec![name(object), address_type, ports(object).into(), addresses(object).into(), age(object, now)]
    },
    has_generation: true,
    validate,
    validate_update,
    ..Simple::PLAIN
};

fn ports(object: &Value) -> String {
    let shown = |port: &Value| match (port["port"].as_i64(), read::text(port, "name")) {
        (Some(number), _) => number.to_string(),
        (None, "") => "*".to_string(),
        (None, name) => name.to_string(),
    };
    let all: Vec<String> = read::list(object, "ports").iter().map(shown).collect();
    first_few(&all, SHOWN_MAX, UNSET)
}

fn addresses(object: &Value) -> String {
    let endpoints = read::list(object, "endpoints").iter();
    let all: Vec<String> =
        endpoints.flat_map(|endpoint| read::texts(endpoint, "addresses")).map(str::to_string).collect();
    first_few(&all, SHOWN_MAX, UNSET)
}

const ENDPOINTS_MAX: usize = 1000;
const PORTS_MAX: usize = 20_000;
const ADDRESSES_MAX: usize = 100;

fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let root = At::root(object);
    root.at("addressType").require_text(&mut errors);
    limit(&root.at("endpoints"), ENDPOINTS_MAX, &mut errors);
    limit(&root.at("ports"), PORTS_MAX, &mut errors);
    for endpoint in root.items("endpoints") {
        let list = endpoint.at("addresses");
        if endpoint.items("addresses").next().is_none() {
            list.required(&mut errors, "must contain at least 1 address");
        }
        limit(&list, ADDRESSES_MAX, &mut errors);
        for address in endpoint.items("addresses") {
            validate_address(read::text(object, "addressType"), &address, &mut errors);
        }
        endpoint.at("hostname").optional_name(&mut errors, names::dns1123_label);
        endpoint.at("nodeName").optional_name(&mut errors, names::dns1123_subdomain);
    }
    let mut seen = HashSet::new();
    for port in root.items("ports") {
        let name = port.at("name");
        if !name.text().is_empty() {
            name.follows(&mut errors, names::dns1123_label);
        }
        if !seen.insert(name.text()) {
            name.duplicate(&mut errors);
        }
        port.at("appProtocol").optional_name(&mut errors, names::qualified_name);
    }
    errors
}

fn limit(list: &At<'_>, max: usize, errors: &mut FieldErrors) {
    let count = list.value.as_array().map_or(0, Vec::len);
    if count > max {
        errors.push(FieldError {
            path: list.path.clone(),
            reason: machinery::field::Reason::TooMany,
            value: count.into(),
            detail: format!("must have at most {max} items"),
        });
    }
}

fn validate_address(type_: &str, address: &At<'_>, errors: &mut FieldErrors) {
    match (type_, address.text().parse::<std::net::IpAddr>()) {
        ("IPv4", Ok(found)) if found.is_ipv4() => endpoint_address(found, address, errors),
        ("IPv6", Ok(found)) if found.is_ipv6() => endpoint_address(found, address, errors),
        ("IPv4", _) => address.invalid(errors, "must be a valid IPv4 address"),
        ("IPv6", _) => address.invalid(errors, "must be a valid IPv6 address"),
        ("FQDN", _) => address.follows(errors, names::dns1123_subdomain),
        _ => {}
    }
}

/// Addresses that no endpoint may have, because a proxy would then lead to the node itself or to no single host.
pub(super) fn endpoint_address(found: std::net::IpAddr, at: &At<'_>, errors: &mut FieldErrors) {
    let is_link_local = match found {
        std::net::IpAddr::V4(address) => address.is_link_local(),
        std::net::IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let wrong = match () {
        () if found.is_unspecified() => "may not be unspecified (0.0.0.0 or ::)",
        () if found.is_loopback() => "may not be in the loopback range (127.0.0.0/8, ::1/128)",
        () if is_link_local => "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        () if found.is_multicast() => "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        () => return,
    };
    at.invalid(errors, wrong);
}

fn validate_update(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    At::root(object).at("addressType").immutable(&mut errors, read::at(old, "addressType"));
    errors
}
