//! What a hardened pod has to say and may not ask for, one function a check.

use serde_json::Value;

use super::{Check, Pod, Violation, baseline, check, containers, plural, quoted, sorted};
use crate::read;

/// In order of their names.
pub(super) const CHECKS: &[Check] = &[
    check("allowPrivilegeEscalation", 8, |pod| unless_windows(pod, privilege_escalation)),
    Check {
        overrides: "capabilities_baseline",
        ..check("capabilities_restricted", 22, |pod| unless_windows(pod, capabilities))
    },
    Check { overrides: "procMount", ..check("procMount_restricted", 35, baseline::proc_mount) },
    Check { overrides: "hostPathVolumes", ..check("restrictedVolumes", 0, volumes) },
    check("runAsNonRoot", 0, |pod| if pod.minor >= 35 && pod.has_own_users() { None } else { non_root(pod) }),
    check("runAsUser", 23, |pod| if pod.minor >= 35 && pod.has_own_users() { None } else { user(pod) }),
    Check {
        overrides: "seccompProfile_baseline",
        ..check("seccompProfile_restricted", 19, |pod| unless_windows(pod, seccomp))
    },
];

/// Kinds of volumes that show nothing of the host.
const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// The others that have names.
const OTHER_VOLUMES: [&str; 21] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];

/// From 1.25 on, pods that say they are for Windows need not say what only Linux knows.
fn unless_windows(pod: &Pod<'_>, run: fn(&Pod<'_>) -> Option<Violation>) -> Option<Violation> {
    if pod.minor >= 25 && pod.is_windows() { None } else { run(pod) }
}

fn privilege_escalation(pod: &Pod<'_>) -> Option<Violation> {
    let says_no = |container| read::at(container, "securityContext.allowPrivilegeEscalation") == &Value::Bool(false);
    let names = pod.named(|container| !says_no(container));
    let detail = || format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&names));
    (!names.is_empty()).then(|| Violation::new("allowPrivilegeEscalation != false", detail()))
}

fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    let drops_all = |container| read::texts(container, "securityContext.capabilities.drop").any(|name| name == "ALL");
    let keeping = pod.named(|container| !drops_all(container));
    let mut wrong = Vec::new();
    if !keeping.is_empty() {
        wrong.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keeping)));
    }
    wrong.extend(baseline::added(pod, &["NET_BIND_SERVICE"]));
    (!wrong.is_empty()).then(|| Violation::new("unrestricted capabilities", wrong.join("; ")))
}

fn volumes(pod: &Pod<'_>) -> Option<Violation> {
    let all = read::list(pod.spec, "volumes").iter();
    let others: Vec<&Value> = all.filter(|volume| !VOLUMES.iter().any(|kind| read::is_set(volume, kind))).collect();
    let kind = |volume: &&Value| OTHER_VOLUMES.into_iter().find(|kind| read::is_set(volume, kind)).unwrap_or("unknown");
    let kinds = sorted(others.iter().map(kind));
    (!others.is_empty()).then(|| {
        let names = quoted(others.iter().map(|volume| read::text(volume, "name")));
        let (volume, use_) = (plural("volume", "volumes", others.len()), plural("uses", "use", others.len()));
        let type_ = plural("restricted volume type", "restricted volume types", kinds.len());
        Violation::new("restricted volume types", format!("{volume} {names} {use_} {type_} {}", quoted(&kinds)))
    })
}

fn non_root(pod: &Pod<'_>) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    let says = |context| read::at(context, "runAsNonRoot").as_bool();
    let setters = pod.setters(|context| says(context) == Some(false));
    if !setters.is_empty() {
        let detail = format!("{} must not set securityContext.runAsNonRoot=false", setters.join(" and "));
        return Some(Violation::new(REASON, detail));
    }
    let pod_says = says(read::at(pod.spec, "securityContext")) == Some(true);
    let silent = pod.named(|container| !pod_says && says(read::at(container, "securityContext")).is_none());
    let detail = || format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&silent));
    (!silent.is_empty()).then(|| Violation::new(REASON, detail()))
}

fn user(pod: &Pod<'_>) -> Option<Violation> {
    let setters = pod.setters(|context| read::at(context, "runAsUser").as_i64() == Some(0));
    let detail = || format!("{} must not set runAsUser=0", setters.join(" and "));
    (!setters.is_empty()).then(|| Violation::new("runAsUser=0", detail()))
}

fn seccomp(pod: &Pod<'_>) -> Option<Violation> {
    if let Some(bad) = baseline::bad_seccomp(pod) {
        return Some(bad);
    }
    let pod_says = baseline::has_seccomp(read::at(pod.spec, "securityContext"));
    let silent = pod.named(|container| !pod_says && !baseline::says_seccomp(read::at(container, "securityContext")));
    let detail = || {
        let who = containers(&silent);
        format!("pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"")
    };
    (!silent.is_empty()).then(|| Violation::new("seccompProfile", detail()))
}
