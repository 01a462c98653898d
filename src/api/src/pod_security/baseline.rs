//! What leads out of a pod, one function a check.

use serde_json::Value;

use super::{Check, Pod, Violation, check, containers, plural, quoted, sorted};
use crate::read;

/// In order of their names.
pub(super) const CHECKS: &[Check] = &[
    check("appArmorProfile", 0, app_armor),
    check("capabilities_baseline", 0, capabilities),
    check("hostNamespaces", 0, host_namespaces),
    check("hostPathVolumes", 0, host_path_volumes),
    check("hostPorts", 0, host_ports),
    check("hostProbesAndHostLifecycle", 34, probe_hosts),
    check("privileged", 0, privileged),
    check("procMount", 0, |pod| if pod.minor >= 35 && pod.has_own_users() { None } else { proc_mount(pod) }),
    check("seLinuxOptions", 0, selinux),
    check("seccompProfile_baseline", 0, |pod| if pod.minor < 19 { seccomp_annotations(pod) } else { bad_seccomp(pod) }),
    check("sysctls", 0, sysctls),
    check("windowsHostProcess", 0, host_process),
];

const APP_ARMOR_PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_PREFIX: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// What runtimes give by default.
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Settings that are a pod's own, by the minor version that allows them first.
const SYSCTLS: [(u32, &str); 14] = [
    (0, "kernel.shm_rmid_forced"),
    (0, "net.ipv4.ip_local_port_range"),
    (0, "net.ipv4.tcp_syncookies"),
    (0, "net.ipv4.ping_group_range"),
    (0, "net.ipv4.ip_unprivileged_port_start"),
    (27, "net.ipv4.ip_local_reserved_ports"),
    (29, "net.ipv4.tcp_keepalive_time"),
    (29, "net.ipv4.tcp_fin_timeout"),
    (29, "net.ipv4.tcp_keepalive_intvl"),
    (29, "net.ipv4.tcp_keepalive_probes"),
    (32, "net.ipv4.tcp_rmem"),
    (32, "net.ipv4.tcp_wmem"),
    (37, "net.ipv4.tcp_slow_start_after_idle"),
    (37, "net.ipv4.tcp_notsent_lowat"),
];

/// Types of processes in containers, by the minor version that allows them first.
const SELINUX_TYPES: [(u32, &str); 5] =
    [(0, ""), (0, "container_t"), (0, "container_init_t"), (0, "container_kvm_t"), (31, "container_engine_t")];

fn is_confined(type_: &str) -> bool {
    matches!(type_, "RuntimeDefault" | "Localhost")
}

/// The type of a profile in a `securityContext`, where there is a profile.
fn profile<'a>(context: &'a Value, field: &str) -> Option<&'a str> {
    let profile = read::at(context, field);
    (!profile.is_null()).then(|| read::text(profile, "type"))
}

/// A profile that is there and confines nothing.
fn is_loose(context: &Value, field: &str) -> bool {
    profile(context, field).is_some_and(|type_| !is_confined(type_))
}

fn app_armor(pod: &Pod<'_>) -> Option<Violation> {
    const FIELD: &str = "appArmorProfile";
    let mut setters = pod.setters(|context| is_loose(context, FIELD));
    let types =
        sorted(pod.contexts().filter_map(|context| profile(context, FIELD)).filter(|type_| !is_confined(type_)));
    let mut values: Vec<String> = types.into_iter().map(str::to_string).collect();
    let is_allowed = |value: &str| value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
    let mut annotations: Vec<String> = pod
        .annotations()
        .filter(|(key, value)| key.starts_with(APP_ARMOR_PREFIX) && !is_allowed(value))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    annotations.sort();
    if !annotations.is_empty() {
        setters.push(plural("annotation", "annotations", annotations.len()).to_string());
    }
    values.extend(annotations);
    (!setters.is_empty()).then(|| {
        let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.len());
        let detail =
            format!("{} must not set AppArmor profile type to {}", setters.join(" and "), quoted(values.iter()));
        Violation::new(reason, detail)
    })
}

fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    added(pod, &CAPABILITIES).map(|detail| Violation::new("non-default capabilities", detail))
}

/// What is said of containers that add other capabilities than these.
pub(super) fn added(pod: &Pod<'_>, allowed: &[&str]) -> Option<String> {
    let others = |container| {
        let all = read::texts(container, "securityContext.capabilities.add");
        all.filter(|name| !allowed.contains(name))
    };
    let names = pod.named(|container| others(container).next().is_some());
    let added = sorted(pod.containers().flat_map(others));
    let what = quoted(&added);
    (!names.is_empty())
        .then(|| format!("{} must not include {what} in securityContext.capabilities.add", containers(&names)))
}

fn host_namespaces(pod: &Pod<'_>) -> Option<Violation> {
    let shared: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|field| read::flag(pod.spec, field))
        .map(|field| format!("{field}=true"))
        .collect();
    (!shared.is_empty()).then(|| Violation::new("host namespaces", shared.join(", ")))
}

fn host_path_volumes(pod: &Pod<'_>) -> Option<Violation> {
    let volumes = read::list(pod.spec, "volumes").iter().filter(|volume| read::is_set(volume, "hostPath"));
    let names: Vec<&str> = volumes.map(|volume| read::text(volume, "name")).collect();
    let detail = || format!("{} {}", plural("volume", "volumes", names.len()), quoted(&names));
    (!names.is_empty()).then(|| Violation::new("hostPath volumes", detail()))
}

fn host_ports(pod: &Pod<'_>) -> Option<Violation> {
    let ports = |container| {
        let all = read::list(container, "ports").iter().map(|port| read::int(port, "hostPort"));
        all.filter(|port| *port != 0).map(|port| port.to_string())
    };
    let names = pod.named(|container| ports(container).next().is_some());
    // In the order of their digits, as Kubernetes has them.
    let used: std::collections::BTreeSet<String> = pod.containers().flat_map(ports).collect();
    (!names.is_empty()).then(|| {
        let (use_, what) = (plural("uses", "use", names.len()), plural("hostPort", "hostPorts", used.len()));
        let used = used.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        Violation::new("hostPort", format!("{} {use_} {what} {used}", containers(&names)))
    })
}

/// Probes and hooks ask the pod itself and nobody else.
fn probe_hosts(pod: &Pod<'_>) -> Option<Violation> {
    const HANDLERS: [&str; 5] =
        ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle.postStart", "lifecycle.preStop"];
    let hosts = |container| {
        let handlers = HANDLERS.into_iter().map(move |handler| read::at(container, handler));
        let all =
            handlers.flat_map(|handler| [read::text(handler, "httpGet.host"), read::text(handler, "tcpSocket.host")]);
        all.filter(|host: &&str| !host.is_empty())
    };
    let names: Vec<&str> = sorted(pod.named(|container| hosts(container).next().is_some())).into_iter().collect();
    let asked = sorted(pod.containers().flat_map(hosts));
    (!names.is_empty()).then(|| {
        let use_ = plural("uses", "use", names.len());
        let what = plural("probe or lifecycle host", "probe or lifecycle hosts", asked.len());
        let detail = format!("{} {use_} {what} {}", containers(&names), quoted(&asked));
        Violation::new("probe or lifecycle host", detail)
    })
}

fn privileged(pod: &Pod<'_>) -> Option<Violation> {
    let names = pod.named(|container| read::flag(container, "securityContext.privileged"));
    let detail = || format!("{} must not set securityContext.privileged=true", containers(&names));
    (!names.is_empty()).then(|| Violation::new("privileged", detail()))
}

/// `/proc` is shown in part alone.
pub(super) fn proc_mount(pod: &Pod<'_>) -> Option<Violation> {
    let mount = |container| Some(read::text(container, "securityContext.procMount")).filter(|mount| !mount.is_empty());
    let is_other = |mount: &&str| *mount != "Default";
    let names = pod.named(|container| mount(container).is_some_and(|mount| is_other(&mount)));
    let mounts = sorted(pod.containers().filter_map(mount).filter(is_other));
    (!names.is_empty()).then(|| {
        let detail = format!("{} must not set securityContext.procMount to {}", containers(&names), quoted(&mounts));
        Violation::new("procMount", detail)
    })
}

fn selinux(pod: &Pod<'_>) -> Option<Violation> {
    let allowed = |type_: &str| SELINUX_TYPES.iter().any(|(since, name)| *since <= pod.minor && *name == type_);
    let options = |context| read::at(context, "seLinuxOptions");
    let has = |context, field: &str| !read::text(options(context), field).is_empty();
    let is_bad =
        |context| !allowed(read::text(options(context), "type")) || has(context, "user") || has(context, "role");
    let setters = pod.setters(is_bad);
    if setters.is_empty() {
        return None;
    }
    let types = pod.contexts().map(|context| read::text(options(context), "type")).filter(|type_| !allowed(type_));
    let types = sorted(types);
    let mut wrong = Vec::new();
    if !types.is_empty() {
        wrong.push(format!("{} {}", plural("type", "types", types.len()), quoted(&types)));
    }
    for field in ["user", "role"] {
        if pod.contexts().any(|context| has(context, field)) {
            wrong.push(format!("{field} may not be set"));
        }
    }
    let detail =
        format!("{} set forbidden securityContext.seLinuxOptions: {}", setters.join(" and "), wrong.join("; "));
    Some(Violation::new("seLinuxOptions", detail))
}

/// Before there were fields for it.
fn seccomp_annotations(pod: &Pod<'_>) -> Option<Violation> {
    let is_allowed =
        |value: &str| matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/");
    let containers = pod.named(|_| true);
    let is_ours = |key: &str| {
        key == SECCOMP_POD || key.strip_prefix(SECCOMP_PREFIX).is_some_and(|name| containers.contains(&name))
    };
    let mut wrong: Vec<String> = pod
        .annotations()
        .filter(|(key, value)| is_ours(key) && !is_allowed(value))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    wrong.sort();
    let detail = || format!("forbidden {} {}", plural("annotation", "annotations", wrong.len()), wrong.join(", "));
    (!wrong.is_empty()).then(|| Violation::new("seccompProfile", detail()))
}

/// Profiles that are set and confine nothing.
pub(super) fn bad_seccomp(pod: &Pod<'_>) -> Option<Violation> {
    const FIELD: &str = "seccompProfile";
    let setters = pod.setters(|context| is_loose(context, FIELD));
    let types =
        sorted(pod.contexts().filter_map(|context| profile(context, FIELD)).filter(|type_| !is_confined(type_)));
    (!setters.is_empty()).then(|| {
        let (who, what) = (setters.join(" and "), quoted(&types));
        Violation::new("seccompProfile", format!("{who} must not set securityContext.seccompProfile.type to {what}"))
    })
}

/// A profile that confines is set.
pub(super) fn has_seccomp(context: &Value) -> bool {
    profile(context, "seccompProfile").is_some_and(is_confined)
}

/// A profile is set, whatever it is.
pub(super) fn says_seccomp(context: &Value) -> bool {
    profile(context, "seccompProfile").is_some()
}

fn sysctls(pod: &Pod<'_>) -> Option<Violation> {
    let is_allowed = |name: &&str| SYSCTLS.iter().any(|(since, known)| *since <= pod.minor && known == name);
    let all = read::list(pod.spec, "securityContext.sysctls").iter().map(|sysctl| read::text(sysctl, "name"));
    let others: Vec<&str> = all.filter(|name| !is_allowed(name)).collect();
    (!others.is_empty()).then(|| Violation::new("forbidden sysctls", others.join(", ")))
}

fn host_process(pod: &Pod<'_>) -> Option<Violation> {
    let setters = pod.setters(|context| read::flag(context, "windowsOptions.hostProcess"));
    let detail = || format!("{} must not set securityContext.windowsOptions.hostProcess=true", setters.join(" and "));
    (!setters.is_empty()).then(|| Violation::new("hostProcess", detail()))
}
