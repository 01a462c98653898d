//! What must hold before anything is done on a host.

use super::belonging::other_name;
use super::{BINARY, Draft, View};

/// Peers with certificates tolerate this much; above it tokens and certificates are not valid yet or no more.
const MAX_CLOCK_SKEW_MS: i64 = 5_000;
/// Above this a person should know.
const NOTICE_CLOCK_SKEW_MS: i64 = 1_000;
/// Room for the state, images and logs to begin with.
const MIN_VAR_FREE_KIB: u64 = 512 << 10;
/// Room for the binary, twice while it is replaced.
const MIN_BIN_FREE_KIB: u64 = 160 << 10;

/// The overlay's, as templates/agent.yaml has it.
const OVERLAY_PORT: u16 = 8472;
/// Which the addon ingress takes on every node (`addons/ingress/daemonset.yaml`).
const INGRESS_PORTS: [u16; 2] = [80, 443];
/// What the script of facts calls the owner of a socket that no process has.
const KERNEL: &str = "the kernel";

/// Whether the host can be worked on; problems say why not.
pub(super) fn plan(view: &View<'_>, draft: &mut Draft<'_>) -> bool {
    let before = draft.plan.problems.len();
    let facts = view.facts;
    if facts.uid != Some(0) {
        draft.problem(
            "commands do not run as root",
            "log in as root, or set `become: {method: sudo}` and let sudo take the user",
        );
    }
    if facts.arch != view.release.arch {
        draft.problem(
            format!("the host is {}, this rkctl is for {}", facts.arch, view.release.arch),
            "use hosts of one architecture, and the rkctl that was built for it",
        );
    }
    if !facts.systemd {
        draft.problem("systemd is not the host's init", "rkctl needs a host that runs systemd");
    }
    membership(view, draft);
    clock(view, draft);
    disk(view, draft);
    ports(view, draft);
    selinux(view, draft);
    if !view.peers.addresses.contains_key(&view.host.name) {
        draft.problem("the host has no known IPv4 address", "set `privateAddress` of the host");
    } else if let Some(std::net::IpAddr::V4(address)) = view.peers.addresses.get(&view.host.name)
        && (address.is_loopback() || address.is_link_local() || address.is_unspecified())
    {
        draft.problem(
            format!("pods and the API server cannot reach the host at {address}"),
            "set `privateAddress` to an address of the host that is neither loopback nor link-local",
        );
    } else if let Some(std::net::IpAddr::V4(address)) = view.peers.addresses.get(&view.host.name)
        && !facts.local_addresses.is_empty()
        && !facts.local_addresses.contains(address)
    {
        draft.problem(
            format!("{address} is none of the host's own addresses"),
            "set `privateAddress` to the address that the other hosts reach it by",
        );
    }
    draft.plan.problems.len() == before
}

/// A host of another cluster is not taken over: what runs on it would be lost.
fn membership(view: &View<'_>, draft: &mut Draft<'_>) {
    let (facts, name) = (view.facts, &view.cluster.name);
    let remedy = "correct the inventory, or leave the other cluster first: `rkctl reset --host` with its inventory";
    if let Some(other) = facts.cluster_name.as_ref().filter(|other| *other != name) {
        draft.problem(format!("the host is a control plane of the cluster {other}, not of {name}"), remedy);
    } else if let Some(ca) = facts.sha256("/etc/rkctl/pki/ca.crt")
        && facts.joined
        && !view.host.role.is_control_plane()
        && view.peers.ca_sha256.as_deref() != Some(ca)
        && view.peers.controller_answered
    {
        draft.problem(format!("the host has joined a cluster with another authority than {name}'s"), remedy);
    } else if facts.server_state && !view.host.role.is_control_plane() {
        draft.problem(
            "the host has a control plane of its own, and the inventory makes it a worker",
            format!(
                "what it keeps is lost with it: `rkctl reset --host {}`, then run `rkctl up` again",
                view.host.name
            ),
        );
    } else if let Some(node) = other_name(view.host, facts) {
        let new = &view.host.name;
        draft.problem(
            format!("the host is the node {node}, and the inventory calls it {new}"),
            format!(
                "a node is not renamed: put the name {node} back; or let it leave first (`state: absent` under the \
                 name {node}, `rkctl up`) and add it as {new} then"
            ),
        );
    }
}

fn clock(view: &View<'_>, draft: &mut Draft<'_>) {
    let Some(ahead_ms) = view.facts.clock_ahead_ms() else { return };
    let direction = if ahead_ms < 0 { "behind" } else { "ahead" };
    let skew = format!("the host's clock is {:.1} s {direction}", ahead_ms.abs() as f64 / 1000.0);
    let remedy = "set the host's clock by chrony or systemd-timesyncd, or this machine's where that one is wrong";
    if ahead_ms.abs() > MAX_CLOCK_SKEW_MS {
        draft.problem(skew, remedy);
    } else if ahead_ms.abs() > NOTICE_CLOCK_SKEW_MS {
        draft.notice(skew, remedy);
    }
}

fn disk(view: &View<'_>, draft: &mut Draft<'_>) {
    let needs_binary = view.facts.sha256(BINARY) != Some(&view.release.sha256);
    let needs = [("/var/lib", MIN_VAR_FREE_KIB, true), ("/usr/local/bin", MIN_BIN_FREE_KIB, needs_binary)];
    for (dir, least_kib, matters) in needs {
        if let Some(free_kib) = view.facts.disk_free_kib.get(dir).filter(|free| matters && **free < least_kib) {
            draft.problem(
                format!("{dir} has {} MiB free, {} MiB are needed", free_kib >> 10, least_kib >> 10),
                "make room on the disk",
            );
        }
    }
}

fn ports(view: &View<'_>, draft: &mut Draft<'_>) {
    let mut ours: Vec<(&str, u16)> = vec![("tcp", 10250), ("tcp", 10248), ("tcp", 6444)];
    if view.host.role.is_control_plane() {
        ours.push(("tcp", inventory::cluster::API_PORT));
    }
    ours.push(("udp", OVERLAY_PORT));
    for (protocol, port) in ours {
        if let Some(who) = other_listener(view, protocol, port) {
            draft.problem(
                format!("port {port}/{protocol} is in use by {who}"),
                format!("stop {who}, or take it off this host"),
            );
        }
    }
    for port in INGRESS_PORTS.into_iter().filter(|_| view.cluster.addons.ingress.enabled) {
        let Some(who) = other_listener(view, "tcp", port) else { continue };
        let message = format!("port {port}/tcp is in use by {who}, and the addon ingress takes it over");
        let remedy = format!("stop {who}, or leave the addon out: `spec.addons: {{ingress: {{enabled: false}}}}`");
        // What has come to a node since then is not to hold up the rest.
        if view.facts.joined { draft.notice(message, remedy) } else { draft.problem(message, remedy) }
    }
}

/// Who listens there that is not of ours. The kernel's own socket is that of a VXLAN link, which others may share.
fn other_listener<'a>(view: &'a View<'_>, protocol: &str, port: u16) -> Option<&'a String> {
    let who = view.facts.listeners.get(&(protocol.to_owned(), port))?;
    (who != "rkctl" && who != KERNEL).then_some(who)
}

fn selinux(view: &View<'_>, draft: &mut Draft<'_>) {
    let Some(mode) = &view.facts.selinux else { return };
    for package in &view.facts.selinux_lacks {
        let message = format!("SELinux is {mode} and its policy for containers is missing");
        let remedy = format!("install {package}; rkctl never switches SELinux off");
        if mode == "enforcing" {
            draft.problem(message, remedy);
        } else {
            draft.notice(message, remedy);
        }
    }
}
