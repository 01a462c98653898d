//! Endpoints.

use serde_json::Value;

use super::simple::Simple;
use crate::read;
use crate::table::{NONE, age, age_column, first_few, name, name_column, text};

/// Addresses that a row shows before it counts the rest.
const SHOWN_MAX: usize = 3;

/// The behaviour of Endpoints.
pub static ENDPOINTS: Simple = Simple {
    columns: &[name_column(), text("Endpoints", "The addresses and ports behind the service."), age_column()],
    cells: |object, now| vec![name(object), shown(object).into(), age(object, now)],
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
