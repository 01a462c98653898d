//! Security contexts of pods and containers.

use std::collections::HashSet;

use machinery::field::FieldErrors;

use crate::check::At;
use crate::read;

/// The greatest user or group number.
const ID_MAX: i64 = i32::MAX as i64;
const SYSCTL_MAX_BYTES: usize = 253;
const SYSCTL_PATTERN: &str = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?([\\./][a-z0-9]([-_a-z0-9]*[a-z0-9])?)*";

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
            let wrong = format!("must have at most {SYSCTL_MAX_BYTES} characters and match regex ^{SYSCTL_PATTERN}$");
            name.invalid(errors, wrong);
        } else if !seen.insert(name.text().replace('/', ".")) {
            name.duplicate(errors);
        }
    }
    profiles(&context, errors);
}

/// What a container says of security.
pub(crate) fn validate_container(container: &At<'_>, errors: &mut FieldErrors) {
    let context = container.at("securityContext");
    for field in ["runAsUser", "runAsGroup"] {
        context.at(field).in_range(errors, 0, ID_MAX);
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
}

fn profiles(context: &At<'_>, errors: &mut FieldErrors) {
    for (field, name) in [("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")] {
        let profile = context.at(field);
        let local = profile.at("localhostProfile");
        if !profile.is_set() {
            continue;
        }
        if profile.at("type").require_text(errors) == Some("Localhost") {
            if local.text().is_empty() {
                local.required(errors, &format!("must be set when {name} type is Localhost"));
            } else if local.text().starts_with('/') || local.text().split('/').any(|part| part == "..") {
                local.invalid(errors, "must be a relative path");
            }
        } else if local.is_set() {
            local.invalid(errors, format!("can only be set when {name} type is Localhost"));
        }
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
