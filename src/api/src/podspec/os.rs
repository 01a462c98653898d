//! What a pod may say that names its operating system.

use machinery::field::FieldErrors;

use super::CONTAINER_LISTS;
use crate::check::At;
use crate::read;

const NOT_FOR_LINUX: &str = "windows options cannot be set for a linux pod";
const NOT_FOR_WINDOWS: &str = "cannot be set for a windows pod";
/// Of a pod's security context, what Windows does not have.
const POD_CONTEXT: [&str; 10] = [
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
];
/// Of the pod spec itself, whatever is said of it.
const POD: [&str; 2] = ["hostUsers", "shareProcessNamespace"];
/// Of the pod spec itself, where it is `true`.
const POD_IF_TRUE: [&str; 2] = ["hostPID", "hostIPC"];
/// Of a container's security context.
const CONTAINER_CONTEXT: [&str; 10] = [
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

/// The rules of the operating system that the pod names, if it names one.
pub(super) fn validate(spec: &At<'_>, errors: &mut FieldErrors) {
    let os = spec.at("os");
    if !os.is_set() {
        return;
    }
    match os.at("name").text() {
        "" => os.at("name").required(errors, "cannot be empty"),
        "linux" => contexts(spec, &["windowsOptions"], &["windowsOptions"], NOT_FOR_LINUX, errors),
        "windows" => windows(spec, errors),
        // The schema lists what there is.
        _ => {}
    }
}

fn windows(spec: &At<'_>, errors: &mut FieldErrors) {
    let said = POD.iter().map(|field| spec.at(field)).filter(At::is_set);
    let true_ = POD_IF_TRUE.iter().map(|field| spec.at(field)).filter(At::is_true);
    said.chain(true_).for_each(|field| field.forbidden(errors, NOT_FOR_WINDOWS));
    if spec.at("securityContext").items("sysctls").next().is_some() {
        spec.at("securityContext.sysctls").forbidden(errors, NOT_FOR_WINDOWS);
    }
    contexts(spec, &POD_CONTEXT, &CONTAINER_CONTEXT, NOT_FOR_WINDOWS, errors);
}

/// Forbids these fields of the security contexts of the pod and of its containers.
fn contexts(spec: &At<'_>, of_pod: &[&str], of_containers: &[&str], wrong: &str, errors: &mut FieldErrors) {
    let mut forbid = |context: At<'_>, fields: &[&str]| {
        for field in fields.iter().filter(|field| read::is_set(context.value, field)) {
            context.at(field).forbidden(errors, wrong);
        }
    };
    forbid(spec.at("securityContext"), of_pod);
    for container in CONTAINER_LISTS.iter().flat_map(|list| spec.items(list).collect::<Vec<_>>()) {
        forbid(container.at("securityContext"), of_containers);
    }
}
