//! IngressClass, IPAddress and ServiceCIDR.

use machinery::field::FieldErrors;
use serde_json::Value;

use super::simple::Simple;
use crate::check::At;
use crate::read;
use crate::table::{NONE, age, age_column, name, name_column, text};

/// The behaviour of IngressClasses.
pub static INGRESS_CLASS: Simple = Simple {
    columns: &[
        name_column(),
        text("Controller", "Who serves ingresses of the class."),
        text("Parameters", "The object that configures the class."),
        age_column(),
    ],
    cells: |object, now| {
        let controller = read::text(object, "spec.controller").into();
        vec![name(object), controller, parameters(object).into(), age(object, now)]
    },
    has_generation: true,
    validate_update: |object, old| {
        let mut errors = FieldErrors::new();
        At::root(object).at("spec.controller").immutable(&mut errors, read::at(old, "spec.controller"));
        errors
    },
    ..Simple::PLAIN
};

fn parameters(object: &Value) -> String {
    let found = read::at(object, "spec.parameters");
    if found.is_null() {
        return NONE.to_string();
    }
    match read::text(found, "apiGroup") {
        "" => format!("{}/{}", read::text(found, "kind"), read::text(found, "name")),
        group => format!("{}.{group}/{}", read::text(found, "kind"), read::text(found, "name")),
    }
}

/// The behaviour of IPAddresses.
pub static IP_ADDRESS: Simple = Simple {
    columns: &[name_column(), text("ParentRef", "The object that the address belongs to.")],
    cells: |object, _| {
        let parent = read::at(object, "spec.parentRef");
        let parts = ["group", "resource", "namespace", "name"].map(|field| read::text(parent, field));
        let resource = if parts[0].is_empty() { parts[1].to_string() } else { format!("{}.{}", parts[1], parts[0]) };
        let shown: Vec<&str> =
            [resource.as_str(), parts[2], parts[3]].into_iter().filter(|part| !part.is_empty()).collect();
        vec![name(object), shown.join("/").into()]
    },
    fields: &["spec.parentRef.resource"],
    has_generation: true,
    ..Simple::PLAIN
};

/// The behaviour of ServiceCIDRs.
pub static SERVICE_CIDR: Simple = Simple {
    columns: &[name_column(), text("CIDRs", "The ranges that cluster addresses are taken from."), age_column()],
    cells: |object, now| {
        let ranges: Vec<&str> = read::texts(object, "spec.cidrs").collect();
        vec![name(object), ranges.join(",").into(), age(object, now)]
    },
    has_generation: true,
    ..Simple::PLAIN
};

/// An IPAddress is called by its address, in the usual form.
pub fn ip_address_name(name: &str) -> Vec<String> {
    match name.parse::<std::net::IpAddr>() {
        Ok(address) if address.to_string() == name => Vec::new(),
        Ok(address) => vec![format!("must be in canonical form ({:?})", address.to_string())],
        Err(_) => vec![crate::check::NO_ADDRESS.to_string()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_named_in_one_way() {
        assert!(ip_address_name("10.43.0.1").is_empty() && ip_address_name("2001:db8::1").is_empty());
        assert_eq!(ip_address_name("2001:DB8::1"), ["must be in canonical form (\"2001:db8::1\")"]);
        assert_eq!(ip_address_name("x").len(), 1);
    }
}
