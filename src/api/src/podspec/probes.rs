//! Probes and lifecycle hooks.

use machinery::field::{FieldError, FieldErrors};
use machinery::names;

use crate::check::At;

const HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "grpc"];
const HOOKS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "sleep"];
const NO_HANDLER: &str = "must specify a handler type";
const SEVERAL_HANDLERS: &str = "may not specify more than 1 handler type";

/// A container's probes and hooks. `grace_seconds` is the pod's.
pub(crate) fn validate_all(container: &At<'_>, grace_seconds: Option<i64>, errors: &mut FieldErrors) {
    for hook in ["postStart", "preStop"] {
        let hook = container.at("lifecycle").at(hook);
        if hook.is_set() {
            let kind = hook.one_of(errors, &HOOKS, NO_HANDLER, SEVERAL_HANDLERS);
            handler(&hook, kind, grace_seconds, errors);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = container.at(name);
        if !probe.is_set() {
            continue;
        }
        let kind = probe.one_of(errors, &HANDLERS, NO_HANDLER, SEVERAL_HANDLERS);
        handler(&probe, kind, grace_seconds, errors);
        numbers(&probe, errors);
        let threshold = probe.at("successThreshold");
        if name != "readinessProbe" && threshold.int().is_some_and(|count| count != 1) {
            threshold.invalid(errors, "must be 1");
        }
        let grace = probe.at("terminationGracePeriodSeconds");
        if name == "readinessProbe" && grace.is_set() {
            grace.invalid(errors, "must not be set for readinessProbes");
        } else if grace.int().is_some_and(|seconds| seconds <= 0) {
            grace.invalid(errors, "must be greater than 0");
        }
    }
}

fn numbers(probe: &At<'_>, errors: &mut FieldErrors) {
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        probe.at(field).non_negative(errors);
    }
}

fn handler(at: &At<'_>, kind: Option<&str>, grace_seconds: Option<i64>, errors: &mut FieldErrors) {
    let Some(kind) = kind else { return };
    let handler = at.at(kind);
    match kind {
        "exec" if handler.items("command").next().is_none() => handler.at("command").required(errors, ""),
        "httpGet" => {
            if handler.at("path").text().is_empty() {
                handler.at("path").required(errors, "");
            }
            handler.at("port").port_or_name(errors);
            for header in handler.items("httpHeaders") {
                let name = header.at("name").text();
                for wrong in names::http_header_name(name) {
                    errors.push(FieldError::invalid(&handler.at("httpHeaders").path, name, wrong));
                }
            }
        }
        "tcpSocket" => handler.at("port").port_or_name(errors),
        "grpc" => handler.at("port").in_range(errors, 1, 65535),
        "sleep" => {
            let seconds = handler.at("seconds").int().unwrap_or_default();
            if let Some(grace) = grace_seconds.filter(|grace| !(0..=*grace).contains(&seconds)) {
                let wrong = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                errors.push(FieldError::invalid(&handler.path, seconds, wrong));
            }
        }
        _ => {}
    }
}
