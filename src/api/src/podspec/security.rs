//! Security contexts of pods and containers.

use std::collections::HashSet;

use machinery::field::FieldErrors;

use super::windows;
use crate::check::At;
use crate::metadata::too_long;
use crate::read;

/// The greatest user or group number.
const ID_MAX: i64 = i32::MAX as i64;
const SYSCTL_MAX_BYTES: usize = 253;
const SYSCTL_PATTERN: &str = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
/// The longest name of an AppArmor profile: a path without its end.
const PROFILE_BYTES_MAX: usize = 4095;
/// Kernel parameters that each network has of its own, and each namespace of System V and POSIX messages.
const OF_NETWORK: &str = "net.";
const OF_IPC: [&str; 4] = ["kernel.shm", "kernel.msg", "fs.mqueue.", "kernel.sem"];

/// What a pod spec says of security and the host's namespaces.
pub(crate) fn validate_pod(spec: &At<'_>, errors: &mut FieldErrors) {
    let context = spec.at("securityContext");
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        context.at(field).in_range(errors, 0, ID_MAX);
    }
    for group in context.items("supplementalGroups") {
        group.in_range(errors, 0, ID_MAX);
    }
    if spec.at("shareProcessNamespace").is_true() && spec.at("hostPID").is_true() {
        spec.at("shareProcessNamespace").invalid(errors, "ShareProcessNamespace and HostPID cannot both be enabled");
    }
    let mut seen = HashSet::new();
    for sysctl in context.items("sysctls") {
        let name = sysctl.at("name");
        if name.require_text(errors).is_none() {
            continue;
        }
        if !is_sysctl(name.text()) {
            let wrong = format!("must have at most {SYSCTL_MAX_BYTES} characters and match regex {SYSCTL_PATTERN}");
            name.invalid(errors, wrong);
        } else if !seen.insert(name.text()) {
            name.duplicate(errors);
        }
        let dotted = name.text().replace('/', ".");
        if spec.at("hostNetwork").is_true() && dotted.starts_with(OF_NETWORK) {
            name.invalid(errors, "may not be specified when 'hostNetwork' is true");
        }
        if spec.at("hostIPC").is_true() && OF_IPC.iter().any(|prefix| dotted.starts_with(prefix)) {
            name.invalid(errors, "may not be specified when 'hostIPC' is true");
        }
    }
    profiles(&context, errors);
    windows::validate(&context.at("windowsOptions"), errors);
    windows::validate_host_process(spec, errors);
    if read::at(spec.value, "hostUsers").as_bool() == Some(false) {
        for field in ["hostNetwork", "hostPID", "hostIPC"].iter().map(|field| spec.at(field)).filter(At::is_true) {
            field.forbidden(errors, "when `pod.Spec.HostUsers` is false");
        }
    }
}

/// What a container says of security. `has_host_users`: its users are the host's.
pub(crate) fn validate_container(container: &At<'_>, has_host_users: bool, errors: &mut FieldErrors) {
    let context = container.at("securityContext");
    for field in ["runAsUser", "runAsGroup"] {
        context.at(field).in_range(errors, 0, ID_MAX);
    }
    if has_host_users && context.at("procMount").text() == "Unmasked" {
        context.at("procMount").invalid(errors, "`hostUsers` must be false to use `Unmasked`");
    }
    if read::at(context.value, "allowPrivilegeEscalation").as_bool() == Some(false) {
        if context.at("privileged").is_true() {
            context.invalid(errors, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        if read::texts(context.value, "capabilities.add").any(|capability| capability == "CAP_SYS_ADMIN") {
            let wrong = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            context.invalid(errors, wrong);
        }
    }
    profiles(&context, errors);
    windows::validate(&context.at("windowsOptions"), errors);
}

fn profiles(context: &At<'_>, errors: &mut FieldErrors) {
    for (field, name) in [("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")] {
        let profile = context.at(field);
        if !profile.is_set() {
            continue;
        }
        let (type_, local) = (profile.at("type"), profile.at("localhostProfile"));
        match (type_.text(), local.is_set()) {
            ("", _) => type_.required(errors, &format!("type is required when {field} is set")),
            ("Localhost", false) => {
                local.required(errors, &format!("must be set when {name} type is Localhost"));
            }
            ("Localhost", true) if name == "seccomp" => seccomp_path(&local, errors),
            ("Localhost", true) => app_armor_name(&local, errors),
            (_, true) => local.invalid(errors, format!("can only be set when {name} type is Localhost")),
            (_, false) => {}
        }
    }
}

/// A file below the agent's folder of profiles.
fn seccomp_path(local: &At<'_>, errors: &mut FieldErrors) {
    if local.text().starts_with('/') {
        local.invalid(errors, "must be a relative path");
    }
    if local.text().split('/').any(|part| part == "..") {
        local.invalid(errors, "must not contain '..'");
    }
}

fn app_armor_name(local: &At<'_>, errors: &mut FieldErrors) {
    match local.text() {
        name if name != name.trim() => local.invalid(errors, "must not be padded with whitespace"),
        "" => local.required(errors, "must be set when AppArmor type is Localhost"),
        name if name.len() > PROFILE_BYTES_MAX => errors.push(too_long(&local.path, PROFILE_BYTES_MAX)),
        _ => {}
    }
}

fn is_sysctl(name: &str) -> bool {
    let is_edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().copied().is_some_and(is_edge)
            && bytes.last().copied().is_some_and(is_edge)
            && bytes.iter().all(|byte| is_edge(*byte) || b"-_".contains(byte))
    };
    name.len() <= SYSCTL_MAX_BYTES && name.split(['.', '/']).all(is_part)
}
