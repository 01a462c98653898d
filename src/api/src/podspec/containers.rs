//! Containers of the three kinds, their ports and hooks.

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors};
use machinery::names;

use super::spec::Owner;
use super::volumes::Volumes;
use super::{environment, probes, resources, security, volumes};
use crate::check::At;
use crate::read;

const RESTART_POLICIES: [&str; 3] = ["Always", "Never", "OnFailure"];
/// What no pod may come to depend on in a container that is there for a look.
const NOT_EPHEMERAL: [&str; 9] = [
    "ports",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
];

/// What containers of one pod are checked against.
struct Pod<'a> {
    owner: Owner<'a>,
    volumes: &'a Volumes<'a>,
    claims: &'a HashSet<&'a str>,
    restart_policy: &'a str,
    /// Whether users in containers are those of the host.
    has_host_users: bool,
}

/// Everything that is wrong with a pod spec's containers.
pub(crate) fn validate(
    spec: &At<'_>,
    owner: Owner<'_>,
    volumes: &Volumes<'_>,
    claims: &HashSet<&str>,
    errors: &mut FieldErrors,
) {
    if spec.items("containers").next().is_none() {
        spec.at("containers").required(errors, "");
    }
    let has_host_users = read::at(spec.value, "hostUsers").as_bool() != Some(false);
    let pod = Pod { owner, volumes, claims, restart_policy: spec.at("restartPolicy").text(), has_host_users };
    let grace = spec.at("terminationGracePeriodSeconds").int();
    let mut names = HashSet::new();
    for container in spec.items("containers") {
        common(&container, &pod, &mut names, errors);
        probes::validate_all(&container, grace, errors);
        restart_policy(&container, errors);
    }
    host_ports(spec.items("containers"), errors);
    for container in spec.items("initContainers") {
        common(&container, &pod, &mut names, errors);
        restart_policy(&container, errors);
        // One after another they can have the same port.
        host_ports(std::iter::once(container.clone()), errors);
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
        common(&container, &pod, &mut names, errors);
        ephemeral(spec, &container, errors);
    }
}

fn common<'a>(container: &At<'a>, pod: &Pod<'_>, names: &mut HashSet<&'a str>, errors: &mut FieldErrors) {
    let name = container.at("name");
    if name.require_text(errors).is_some() {
        name.follows(errors, names::dns1123_label);
        if !names.insert(name.text()) {
            name.duplicate(errors);
        }
    }
    let image = container.at("image");
    let is_padded = image.require_text(errors).is_some_and(|image| image != image.trim());
    // Templates may hold a blank that something puts an image in place of.
    if is_padded && pod.owner != Owner::Template {
        image.invalid(errors, "must not have leading or trailing whitespace");
    }
    ports(container, errors);
    environment::validate(container, errors);
    volumes::mounts::validate(container, pod.volumes, errors);
    resources::validate_container(&container.at("resources"), pod.claims, errors);
    resize_policy(container, pod, errors);
    security::validate_container(container, pod.has_host_users, errors);
}

fn resize_policy(container: &At<'_>, pod: &Pod<'_>, errors: &mut FieldErrors) {
    let list = container.at("resizePolicy");
    let mut seen = HashSet::new();
    for policy in container.items("resizePolicy") {
        let (name, restart) = (policy.at("resourceName").text(), policy.at("restartPolicy").text());
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(&policy.path, name));
        }
        match name {
            "cpu" | "memory" => {}
            "" => list.required(errors, ""),
            other => errors.push(FieldError::not_supported(&list.path, other, &["cpu", "memory"])),
        }
        match restart {
            "NotRequired" | "RestartContainer" => {}
            "" => list.required(errors, ""),
            other => errors.push(FieldError::not_supported(&list.path, other, &["NotRequired", "RestartContainer"])),
        }
        if pod.restart_policy == "Never" && restart != "NotRequired" {
            let wrong = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.push(FieldError::invalid(&list.path, restart, wrong));
        }
    }
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

/// Two containers that run together cannot have one port of the host.
fn host_ports<'a>(containers: impl Iterator<Item = At<'a>>, errors: &mut FieldErrors) {
    let mut seen = HashSet::new();
    for port in containers.flat_map(|container| container.items("ports").collect::<Vec<_>>()) {
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
    for field in NOT_EPHEMERAL {
        let found = container.at(field);
        if !read::same(found.value, &serde_json::Value::Null) {
            found.forbidden(errors, "cannot be set for an Ephemeral Container");
        }
    }
    // Their bind mounts would stay until the pod ends.
    for mount in container.items("volumeMounts") {
        for field in ["subPath", "subPathExpr"] {
            if !mount.at(field).text().is_empty() {
                mount.at(field).forbidden(errors, "cannot be set for an Ephemeral Container");
            }
        }
    }
}
