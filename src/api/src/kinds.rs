//! What each kind adds to the common behaviour: defaults, validation, columns, field selectors.

pub mod admission;
pub mod autoscaling;
pub mod certificates;
pub mod component_status;
pub mod config_map;
pub mod controller_revision;
pub mod cron_job;
pub mod daemon_set;
pub mod deployment;
pub mod endpoint_slice;
pub mod endpoints;
pub mod event;
pub mod extensions;
pub mod flow_control;
pub mod ingress;
pub mod job;
pub mod lease;
pub mod limit_range;
pub mod namespace;
pub mod network_policy;
pub mod networks;
pub mod node;
pub mod persistent_volume;
pub mod persistent_volume_claim;
pub mod pod;
pub mod pod_disruption_budget;
pub mod pod_template;
pub mod priority_class;
pub mod rbac;
pub mod replica_set;
pub mod replication_controller;
pub mod resource_claims;
pub mod resource_quota;
pub mod runtime_class;
pub mod secret;
pub mod service;
pub mod service_account;
pub mod simple;
pub mod stateful_set;
pub mod storage;
pub mod storage_class;

use machinery::field::{FieldError, FieldErrors};

/// What is said of a text that is no domain with a path: `example.com/controller`.
pub(crate) fn domain_path(at: &crate::check::At<'_>, errors: &mut FieldErrors) {
    let text = at.text();
    let Some((domain, path)) = text.split_once('/').filter(|(domain, path)| !domain.is_empty() && !path.is_empty())
    else {
        let wrong = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        return errors.push(FieldError::invalid(&at.path, text, wrong));
    };
    for wrong in machinery::names::dns1123_subdomain(domain) {
        errors.push(FieldError::invalid(&at.path, domain, wrong));
    }
    let is_path = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-.~!$&'()*+,;=:@%".contains(&byte);
    if !path.bytes().all(is_path) {
        errors.push(FieldError::invalid(&at.path, path, "Invalid path"));
    }
}

#[cfg(test)]
mod tests;
