//! Kernel parameters that a pod may set for itself: those that concern its own namespaces alone and cannot hurt the
//! node.

use k8s_openapi::api::core::v1::PodSpec;

/// What kubelet holds to be safe.
const SAFE: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// Why the pod's sysctls are not set; `None` where they all may be.
pub fn forbidden(spec: &PodSpec) -> Option<String> {
    let wanted = spec.security_context.as_ref()?.sysctls.as_deref()?;
    wanted.iter().find_map(|sysctl| {
        let name = sysctl.name.replace('/', ".");
        let shown = &sysctl.name;
        if !SAFE.contains(&name.as_str()) {
            return Some(format!("forbidden sysctl: {shown:?} not allowlisted"));
        }
        // In the host's namespace it would be the host's.
        if name.starts_with("net.") && spec.host_network == Some(true) {
            return Some(format!("forbidden sysctl: {shown:?} not allowed with host net enabled"));
        }
        let shared_ipc = name.starts_with("kernel.") && spec.host_ipc == Some(true);
        shared_ipc.then(|| format!("forbidden sysctl: {shown:?} not allowed with host ipc enabled"))
    })
}
