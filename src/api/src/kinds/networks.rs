//! IngressClass, IPAddress and ServiceCIDR.

use machinery::field::{FieldError, FieldErrors};
use machinery::names;
use serde_json::Value;

use super::domain_path;
use super::simple::Simple;
use crate::check::At;
use crate::metadata::too_long;
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
    validate: validate_class,
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

const CONTROLLER_BYTES_MAX: usize = 250;
const NO_RANGE: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

fn validate_class(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    let controller = spec.at("controller");
    if controller.require_text(&mut errors).is_some() {
        if controller.text().len() > CONTROLLER_BYTES_MAX {
            errors.push(too_long(&controller.path, CONTROLLER_BYTES_MAX));
        }
        domain_path(&controller, &mut errors);
    }
    let parameters = spec.at("parameters");
    if !parameters.is_set() {
        return errors;
    }
    reference(&parameters, &mut errors);
    let (scope, namespace) = (parameters.at("scope"), parameters.at("namespace"));
    match (scope.text(), namespace.is_set()) {
        ("", _) => scope.required(&mut errors, ""),
        ("Namespace", false) => namespace.required(&mut errors, "`parameters.scope` is set to 'Namespace'"),
        ("Namespace", true) => namespace.follows(&mut errors, names::dns1123_label),
        ("Cluster", true) => namespace.forbidden(&mut errors, "`parameters.scope` is set to 'Cluster'"),
        ("Cluster", false) => {}
        _ => scope.not_supported(&mut errors, &["Cluster", "Namespace"]),
    }
    errors
}

/// A reference to an object by its group, kind and name.
pub(super) fn reference(reference: &At<'_>, errors: &mut FieldErrors) {
    if reference.at("apiGroup").is_set() {
        reference.at("apiGroup").follows(errors, names::dns1123_subdomain);
    }
    for field in ["kind", "name"] {
        reference.at(field).require_name(errors, names::path_segment);
    }
}

fn validate_address(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let parent = At::root(object).at("spec.parentRef");
    if !parent.is_set() {
        parent.required(&mut errors, "");
        return errors;
    }
    parent.at("group").optional_name(&mut errors, names::dns1123_subdomain);
    parent.at("resource").require_name(&mut errors, names::path_segment);
    parent.at("name").require_name(&mut errors, names::path_segment);
    parent.at("namespace").optional_name(&mut errors, names::path_segment);
    errors
}

fn validate_ranges(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let (spec, list) = (At::root(object).at("spec"), At::root(object).at("spec.cidrs"));
    let ranges: Vec<At<'_>> = spec.items("cidrs").collect();
    match ranges.len() {
        0 => list.required(&mut errors, "at least one CIDR required"),
        1 | 2 => {
            for range in ranges.iter().filter(|range| range.text().parse::<ipnet::IpNet>().is_err()) {
                range.invalid(&mut errors, NO_RANGE);
            }
            let is_six = |range: &At<'_>| range.text().contains(':');
            if errors.is_empty() && ranges.len() == 2 && is_six(&ranges[0]) == is_six(&ranges[1]) {
                let wrong = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
                list.invalid(&mut errors, wrong);
            }
        }
        _ => list.invalid(&mut errors, "may only hold up to 2 values"),
    }
    errors
}

/// Ranges stay; one of the other family can come.
fn ranges_kept(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let list = At::root(object).at("spec.cidrs");
    let (new, before) = (read::list(object, "spec.cidrs"), read::list(old, "spec.cidrs"));
    if new.len() != before.len() && (before.len(), new.len()) != (1, 2) {
        list.invalid(&mut errors, "field is immutable");
        return errors;
    }
    for (index, (range, _)) in new.iter().zip(before).enumerate().filter(|(_, (range, before))| range != before) {
        errors.push(FieldError::invalid(&list.path.index(index), range.clone(), "field is immutable"));
    }
    errors
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
    validate: validate_address,
    validate_update: |object, old| {
        let mut errors = FieldErrors::new();
        At::root(object).at("spec.parentRef").immutable(&mut errors, read::at(old, "spec.parentRef"));
        errors
    },
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
    validate: validate_ranges,
    validate_update: ranges_kept,
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
