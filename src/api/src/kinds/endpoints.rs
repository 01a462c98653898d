//! Endpoints.

use machinery::field::FieldErrors;
use machinery::names;
use serde_json::Value;

use super::endpoint_slice::endpoint_address;
use super::simple::Simple;
use crate::check::{At, NO_ADDRESS};
use crate::read;
use crate::table::{NONE, age, age_column, first_few, name, name_column, text};

/// Addresses that a row shows before it counts the rest.
const SHOWN_MAX: usize = 3;

/// The behaviour of Endpoints.
pub static ENDPOINTS: Simple = Simple {
    columns: &[name_column(), text("Endpoints", "The addresses and ports behind the service."), age_column()],
    cells: |object, now| vec![name(object), shown(object).into(), age(object, now)],
    validate,
    ..Simple::PLAIN
};

fn shown(object: &Value) -> String {
    let mut all = Vec::new();
    for subset in read::list(object, "subsets") {
        let addresses = || read::list(subset, "addresses").iter().map(|address| read::text(address, "ip"));
        let ports = read::list(subset, "ports");
        if ports.is_empty() {
            all.extend(addresses().map(str::to_string));
        }
        for port in ports {
            let number = read::int(port, "port");
            all.extend(addresses().map(|ip| match ip.contains(':') {
                true => format!("[{ip}]:{number}"),
                false => format!("{ip}:{number}"),
            }));
        }
    }
    first_few(&all, SHOWN_MAX, NONE)
}

fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for subset in At::root(object).items("subsets") {
        let lists = ["addresses", "notReadyAddresses"];
        if lists.iter().all(|list| read::list(subset.value, list).is_empty()) {
            subset.required(&mut errors, "must specify `addresses` or `notReadyAddresses`");
        }
        for address in lists.iter().flat_map(|list| subset.items(list).collect::<Vec<_>>()) {
            let ip = address.at("ip");
            match ip.text().parse() {
                Ok(found) => endpoint_address(found, &ip, &mut errors),
                Err(_) => ip.invalid(&mut errors, NO_ADDRESS),
            }
            address.at("hostname").optional_name(&mut errors, names::dns1123_label);
            if address.at("nodeName").is_set() {
                address.at("nodeName").follows(&mut errors, names::dns1123_subdomain);
            }
        }
        let needs_names = subset.items("ports").count() > 1;
        for port in subset.items("ports") {
            if needs_names && port.at("name").text().is_empty() {
                port.at("name").required(&mut errors, "");
            }
            port.at("name").optional_name(&mut errors, names::dns1123_label);
            if port.at("appProtocol").is_set() {
                port.at("appProtocol").follows(&mut errors, names::qualified_name);
            }
            let number = port.at("port").int().unwrap_or_default();
            names::port_number(number).into_iter().for_each(|wrong| port.at("port").invalid(&mut errors, wrong));
        }
    }
    errors
}
