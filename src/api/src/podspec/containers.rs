//! Containers of the three kinds, their ports and hooks.

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors};
use machinery::names;

use super::volumes::Volumes;
use super::{environment, probes, resources, security, volumes};
use crate::check::At;
use crate::read;

const RESTART_POLICIES: [&str; 3] = ["Always", "Never", "OnFailure"];

/// Everything that is wrong with a pod spec's containers.
pub(crate) fn validate(spec: &At<'_>, known: &Volumes<'_>, errors: &mut FieldErrors) {
    if spec.items("containers").next().is_none() {
        spec.at("containers").required(errors, "");
    }
    let grace = spec.at("terminationGracePeriodSeconds").int();
    let mut names = HashSet::new();
    for container in spec.items("containers") {
        common(&container, known, &mut names, errors);
        probes::validate_all(&container, grace, errors);
        restart_policy(&container, errors);
    }
    host_ports(spec, "containers", errors);
    for container in spec.items("initContainers") {
        common(&container, known, &mut names, errors);
        restart_policy(&container, errors);
        if container.at("restartPolicy").text() == "Always" {
            probes::validate_all(&container, grace, errors);
        } else {
            for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                if container.at(field).is_set() {
                    let wrong = "may not be set for init containers without restartPolicy=Always";
                    container.at(field).forbidden(errors, wrong);
                }
            }
        }
    }
    for container in spec.items("ephemeralContainers") {
        common(&container, known, &mut names, errors);
        ephemeral(spec, &container, errors);
    }
}

fn common<'a>(container: &At<'a>, known: &Volumes<'_>, names: &mut HashSet<&'a str>, errors: &mut FieldErrors) {
    let name = container.at("name");
    if name.require_text(errors).is_some() {
        name.follows(errors, names::dns1123_label);
        if !names.insert(name.text()) {
            name.duplicate(errors);
        }
    }
    let image = container.at("image");
    if image.require_text(errors).is_some_and(|image| image != image.trim()) {
        image.invalid(errors, "must not have leading or trailing whitespace");
    }
    ports(container, errors);
    environment::validate(container, errors);
    volumes::validate_mounts(container, known, errors);
    resources::validate_requirements(&container.at("resources"), errors);
    security::validate_container(container, errors);
}

fn restart_policy(container: &At<'_>, errors: &mut FieldErrors) {
    let policy = container.at("restartPolicy");
    if policy.is_set() && !RESTART_POLICIES.contains(&policy.text()) {
        policy.not_supported(errors, &RESTART_POLICIES);
    }
}

fn ports(container: &At<'_>, errors: &mut FieldErrors) {
    let mut seen = HashSet::new();
    for port in container.items("ports") {
        let name = port.at("name");
        if !name.text().is_empty() {
            let before = errors.len();
            name.follows(errors, names::port_name);
            if errors.len() == before && !seen.insert(name.text()) {
                name.duplicate(errors);
            }
        }
        let number = port.at("containerPort");
        if number.int().unwrap_or_default() == 0 {
            number.required(errors, "");
        } else {
            number.in_range(errors, 1, 65535);
        }
        if port.at("hostPort").int().unwrap_or_default() != 0 {
            port.at("hostPort").in_range(errors, 1, 65535);
        }
    }
}

/// Two containers of a pod cannot have one port of the host.
fn host_ports(spec: &At<'_>, list: &str, errors: &mut FieldErrors) {
    let mut seen = HashSet::new();
    for port in spec.items(list).flat_map(|container| container.items("ports").collect::<Vec<_>>()) {
        let number = read::int(port.value, "hostPort");
        let key = format!("{}/{}/{number}", read::text(port.value, "protocol"), read::text(port.value, "hostIP"));
        if number != 0 && !seen.insert(key.clone()) {
            errors.push(FieldError::duplicate(&port.at("hostPort").path, key));
        }
    }
}

fn ephemeral(spec: &At<'_>, container: &At<'_>, errors: &mut FieldErrors) {
    let target = container.at("targetContainerName");
    let is_known = |list: &str| spec.items(list).any(|found| found.at("name").text() == target.text());
    if !target.text().is_empty() && !is_known("containers") && !is_known("initContainers") {
        target.not_found(errors);
    }
    for field in ["ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resources"] {
        let found = container.at(field);
        if !read::same(found.value, &serde_json::Value::Null) {
            found.forbidden(errors, "cannot be set for an Ephemeral Container");
        }
    }
}
