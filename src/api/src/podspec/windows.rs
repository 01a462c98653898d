//! Options of containers that run on Windows. No host of ours does; what is said of them has to be right all the same.

use machinery::field::{FieldError, FieldErrors};
use machinery::names;

use super::CONTAINER_LISTS;
use crate::check::At;
use crate::read;

const CREDENTIAL_KIB_MAX: usize = 64;
const DOMAIN_CHARACTERS_MAX: usize = 256;
const USER_CHARACTERS_MAX: usize = 104;
const NETBIOS_CHARACTERS_MAX: usize = 15;
const LABEL_CHARACTERS_MAX: usize = 63;
const NOT_IN_USERS: &str = "\"/\\:;|=,+*?<>@[]";
const NOT_IN_NETBIOS: &str = "\\/:*?\"<>|";

/// The `windowsOptions` of a pod's or a container's security context.
pub(super) fn validate(options: &At<'_>, errors: &mut FieldErrors) {
    if options.at("gmsaCredentialSpecName").is_set() {
        options.at("gmsaCredentialSpecName").follows(errors, names::dns1123_subdomain);
    }
    let credential = options.at("gmsaCredentialSpec");
    if credential.is_set() && credential.text().is_empty() {
        credential.invalid(errors, "gmsaCredentialSpec cannot be an empty string");
    } else if credential.text().len() > CREDENTIAL_KIB_MAX << 10 {
        credential.invalid(errors, format!("gmsaCredentialSpec size must be under {CREDENTIAL_KIB_MAX} KiB"));
    }
    if options.at("runAsUserName").is_set() {
        let name = options.at("runAsUserName");
        faults_of_user(name.text()).into_iter().for_each(|wrong| name.invalid(errors, wrong));
    }
}

/// `DOMAIN\USER` or `USER`.
fn faults_of_user(name: &str) -> Vec<String> {
    if name.is_empty() {
        return vec!["runAsUserName cannot be an empty string".to_string()];
    }
    if name.chars().any(|character| character.is_ascii_control()) {
        return vec!["runAsUserName cannot contain control characters".to_string()];
    }
    let (domain, user) = match name.split('\\').collect::<Vec<_>>().as_slice() {
        [user] => (None, *user),
        [domain, user] => (Some(*domain), *user),
        _ => return vec!["runAsUserName cannot contain more than one backslash".to_string()],
    };
    let mut wrong = Vec::new();
    if domain.is_some_and(|domain| domain.len() >= DOMAIN_CHARACTERS_MAX) {
        wrong.push(format!("runAsUserName's Domain length must be under {DOMAIN_CHARACTERS_MAX} characters"));
    }
    if domain.is_some_and(|domain| !is_netbios(domain) && !is_domain(domain)) {
        wrong.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format".to_string());
    }
    if user.is_empty() {
        wrong.push("runAsUserName's User cannot be empty".to_string());
    } else if user.len() > USER_CHARACTERS_MAX {
        let most = USER_CHARACTERS_MAX;
        wrong.push(format!("runAsUserName's User length must not be longer than {most} characters"));
    }
    if !user.is_empty() && user.chars().all(|character| ". ".contains(character)) {
        wrong.push("runAsUserName's User cannot contain only periods or spaces".to_string());
    }
    if user.contains(|character| NOT_IN_USERS.contains(character)) {
        wrong.push(format!("runAsUserName's User cannot contain the following characters: {NOT_IN_USERS}"));
    }
    wrong
}

fn is_netbios(domain: &str) -> bool {
    (1..=NETBIOS_CHARACTERS_MAX).contains(&domain.chars().count())
        && !domain.starts_with('.')
        && !domain.contains(|character| NOT_IN_NETBIOS.contains(character))
}

fn is_domain(domain: &str) -> bool {
    domain.split('.').all(|label| {
        (1..=LABEL_CHARACTERS_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

/// Containers that run as processes of the host: all of a pod's or none, and in the host's network.
pub(super) fn validate_host_process(spec: &At<'_>, errors: &mut FieldErrors) {
    const OPTION: &str = "securityContext.windowsOptions.hostProcess";
    let of_pod = read::at(spec.value, OPTION).as_bool();
    let (mut count, mut host_processes) = (0, 0);
    for container in CONTAINER_LISTS.iter().flat_map(|list| spec.items(list).collect::<Vec<_>>()) {
        count += 1;
        let own = read::at(container.value, OPTION).as_bool();
        if let (Some(pod), Some(own)) = (of_pod, own)
            && pod != own
        {
            let wrong = format!("pod hostProcess value must be identical if both are specified, was {pod}");
            container.at(OPTION).invalid(errors, wrong);
        }
        host_processes += usize::from(own.or(of_pod) == Some(true));
    }
    if host_processes == 0 {
        return;
    }
    if host_processes != count {
        let wrong = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.push(FieldError::invalid(&spec.path, "", wrong));
    }
    if !spec.at("hostNetwork").is_true() {
        let wrong = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.push(FieldError::invalid(&spec.at("hostNetwork").path, false, wrong));
    }
}
