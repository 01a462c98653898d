//! EndpointSlice.

use serde_json::Value;

use super::simple::Simple;
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
