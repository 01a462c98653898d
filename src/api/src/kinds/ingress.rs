//! Ingress.

use machinery::field::{FieldError, FieldErrors, Path};
use machinery::{meta, names};
use serde_json::Value;

use super::networks;
use super::service::load_balancer;
use super::simple::Simple;
use crate::check::{At, is_address};
use crate::read;
use crate::table::{NONE, age, age_column, name, name_column, text, text_or};

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// Hosts that a row shows before it counts the rest.
const SHOWN_MAX: usize = 3;

/// The behaviour of Ingresses.
pub static INGRESS: Simple = Simple {
    columns: &[
        name_column(),
        text("Class", "The class of controllers that serve it."),
        text("Hosts", "The hosts it has rules for."),
        text("Address", "Where it is reached."),
        text("Ports", "The ports it is reached at."),
        age_column(),
    ],
    cells: |object, now| {
        let ports = if read::list(object, "spec.tls").is_empty() { "80" } else { "80, 443" };
        vec![
            name(object),
            text_or(object, "spec.ingressClassName", NONE).into(),
            hosts(object).into(),
            load_balancer(object).join(",").into(),
            ports.into(),
            age(object, now),
        ]
    },
    has_generation: true,
    validate,
    validate_new,
    validate_status: |object, _| {
        let mut errors = FieldErrors::new();
        crate::status::ingress(&At::root(object).at("status.loadBalancer"), &mut errors);
        errors
    },
    ..Simple::PLAIN
};

fn hosts(object: &Value) -> String {
    let rules = read::list(object, "spec.rules");
    let named = rules.iter().map(|rule| read::text(rule, "host")).filter(|host| !host.is_empty());
    let shown: Vec<&str> = named.take(SHOWN_MAX).collect();
    match (shown.is_empty(), rules.len().saturating_sub(SHOWN_MAX)) {
        (true, _) => "*".to_string(),
        (false, 0) => shown.join(","),
        (false, more) => format!("{} + {more} more...", shown.join(",")),
    }
}

fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    let default_backend = spec.at("defaultBackend");
    if !default_backend.is_set() && spec.items("rules").next().is_none() {
        spec.invalid(&mut errors, "either `defaultBackend` or `rules` must be specified");
    }
    if default_backend.is_set() {
        backend(&default_backend, &mut errors);
    }
    for tls in spec.items("tls") {
        for host in tls.items("hosts") {
            host_name(&host, &mut errors);
        }
        tls.at("secretName").optional_name(&mut errors, names::dns1123_subdomain);
    }
    for rule in spec.items("rules") {
        let host = rule.at("host");
        if !host.text().is_empty() {
            if is_address(host.text()) {
                host.invalid(&mut errors, "must be a DNS name, not an IP address");
            } else {
                host_name(&host, &mut errors);
            }
        }
        if rule.at("http").is_set() {
            paths(&rule.at("http"), &mut errors);
        }
    }
    spec.at("ingressClassName").optional_name(&mut errors, names::dns1123_subdomain);
    errors
}

/// The older way to name a class says the same as the field, if both are used.
fn validate_new(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let class = At::root(object).at("spec.ingressClassName");
    if let Some(annotated) = meta::annotation(object, CLASS_ANNOTATION)
        && class.is_set()
        && class.text() != annotated
    {
        let path = Path::new("annotations").child(CLASS_ANNOTATION);
        let wrong = "must match `ingressClassName` when both are specified";
        errors.push(FieldError::invalid(&path, annotated, wrong));
    }
    errors
}

fn host_name(host: &At<'_>, errors: &mut FieldErrors) {
    match host.text().contains('*') {
        true => host.follows(errors, names::wildcard_dns1123_subdomain),
        false => host.follows(errors, names::dns1123_subdomain),
    }
}

fn paths(http: &At<'_>, errors: &mut FieldErrors) {
    if http.items("paths").next().is_none() {
        http.at("paths").required(errors, "");
    }
    for path in http.items("paths") {
        let (type_, text) = (path.at("pathType"), path.at("path"));
        if type_.text().is_empty() {
            type_.required(errors, "pathType must be specified");
            continue;
        }
        match type_.text() {
            "Exact" | "Prefix" => exact_path(&text, errors),
            _ if !text.text().is_empty() && !text.text().starts_with('/') => {
                text.invalid(errors, "must be an absolute path");
            }
            _ => {}
        }
        backend(&path.at("backend"), errors);
    }
}

fn exact_path(path: &At<'_>, errors: &mut FieldErrors) {
    if !path.text().starts_with('/') {
        errors.push(FieldError::invalid(&path.path, path.text(), "must be an absolute path"));
    }
    for part in ["//", "/./", "/../", "%2f", "%2F"] {
        if path.text().contains(part) {
            path.invalid(errors, format!("must not contain '{part}'"));
        }
    }
    for end in ["/..", "/."] {
        if path.text().ends_with(end) {
            path.invalid(errors, format!("cannot end with '{end}'"));
        }
    }
}

fn backend(backend: &At<'_>, errors: &mut FieldErrors) {
    let service = backend.at("service");
    match (service.is_set(), backend.at("resource").is_set()) {
        (true, true) => {
            errors.push(FieldError::invalid(&backend.path, "", "cannot set both resource and service backends"));
        }
        (false, false) => {
            errors.push(FieldError::invalid(&backend.path, "", "resource or service backend is required"));
        }
        (false, true) => networks::reference(&backend.at("resource"), errors),
        (true, false) => {
            service.at("name").require_name(errors, names::dns1035_label);
            let (name, number) = (service.at("port.name"), service.at("port.number"));
            match (name.text(), number.int().unwrap_or_default()) {
                ("", 0) => backend.required(errors, "port name or number is required"),
                ("", _) => number.in_range(errors, 1, 65535),
                (_, 0) => name.follows(errors, names::port_name),
                _ => errors.push(FieldError::invalid(&backend.path, "", "cannot set both port name & port number")),
            }
        }
    }
}
