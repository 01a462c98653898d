//! Exactly the ports the cluster needs, in the firewall that is active. A firewall is never stopped, and none is begun.

use std::collections::BTreeSet;
use std::net::IpAddr;

use inventory::{Cluster, Role};
use serde::Serialize;
use tera::Context;

use super::files::{self, Wanted};
use super::{Draft, Peers, View, Wave};
use crate::error::Error;

mod ufw;

/// Who may come in by an opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Everyone.
    Anyone,
    /// The cluster's other hosts.
    Hosts,
}

/// A range of ports that must be reachable on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// `6443` or `30000-32767`.
    pub ports: &'static str,
    /// Who may come in.
    pub source: Source,
    /// What for.
    pub purpose: &'static str,
}

/// What must be reachable on a host of that role.
pub fn openings(cluster: &Cluster, role: Role) -> Vec<Opening> {
    let open = |protocol, ports, source, purpose| Opening { protocol, ports, source, purpose };
    let mut all = Vec::new();
    if role.is_control_plane() {
        all.push(open("tcp", "6443", Source::Anyone, "API server"));
    }
    all.push(open("tcp", "10250", Source::Hosts, "agent: logs, exec, metrics"));
    all.push(open("udp", "8472", Source::Hosts, "overlay between hosts"));
    all.push(open("tcp", super::NODE_PORT_RANGE, Source::Anyone, "node ports"));
    all.push(open("udp", super::NODE_PORT_RANGE, Source::Anyone, "node ports"));
    if cluster.addons.ingress.enabled {
        all.push(open("tcp", "80", Source::Anyone, "ingress"));
        all.push(open("tcp", "443", Source::Anyone, "ingress"));
    }
    all
}

/// The addresses of the cluster's other hosts, in order.
fn sources(view: &View<'_>) -> Vec<String> {
    let peers: &Peers = view.peers;
    let others: BTreeSet<IpAddr> =
        peers.addresses.iter().filter(|(name, _)| **name != view.host.name).map(|(_, address)| *address).collect();
    others.into_iter().map(|address| address.to_string()).collect()
}

pub(super) fn plan(view: &View<'_>, draft: &mut Draft<'_>) -> Result<(), Error> {
    let facts = view.facts;
    let (firewalld, nftables) = (facts.unit("firewalld"), facts.unit("nftables"));
    let refusing: Vec<_> = facts.nft_chains.iter().filter(|chain| chain.refuses).collect();
    if !view.host.prepare.firewall {
        if firewalld.is_active() || facts.ufw_enabled || !refusing.is_empty() {
            let ports: Vec<String> = openings(view.cluster, view.host.role)
                .iter()
                .map(|opening| format!("{}/{} ({})", opening.ports, opening.protocol, opening.purpose))
                .collect();
            draft.notice("the host's firewall is left to you", format!("open {}", ports.join(", ")));
        }
        return Ok(());
    }
    if firewalld.is_active() {
        return plan_firewalld(view, draft);
    }
    if facts.ufw_enabled {
        ufw::plan(view, draft, &sources(view));
        return Ok(());
    }
    if refusing.is_empty() {
        return Ok(());
    }
    if nftables.is_active() || nftables.is_enabled() {
        return plan_nftables(view, draft, &refusing);
    }
    let chains: Vec<String> =
        refusing.iter().map(|chain| format!("{} {} {}", chain.family, chain.table, chain.chain)).collect();
    draft.notice(
        format!("the chains {} refuse packets and no firewall that rkctl knows keeps them", chains.join(", ")),
        "open the cluster's ports in what made them; firewalld, ufw and nftables.service are known",
    );
    Ok(())
}

#[derive(Serialize)]
struct Line {
    protocol: &'static str,
    ports: &'static str,
    sources: Vec<String>,
}

fn context(view: &View<'_>) -> Context {
    let sources = sources(view);
    let lines = |wanted: Source| -> Vec<Line> {
        openings(view.cluster, view.host.role)
            .into_iter()
            .filter(|opening| opening.source == wanted && (wanted == Source::Anyone || !sources.is_empty()))
            .map(|opening| Line { protocol: opening.protocol, ports: opening.ports, sources: sources.clone() })
            .collect()
    };
    let mut context = Context::new();
    context.insert("public", &lines(Source::Anyone));
    context.insert("restricted", &lines(Source::Hosts));
    context.insert("pod_cidr", &view.cluster.network.pod_cidr.to_string());
    context
}

/// Two policies of our own, so that the operator's zones stay as they are.
fn plan_firewalld(view: &View<'_>, draft: &mut Draft<'_>) -> Result<(), Error> {
    for (template, path) in [
        ("firewalld-host.xml", "/etc/firewalld/policies/rkctl-host.xml"),
        ("firewalld-forward.xml", "/etc/firewalld/policies/rkctl-forward.xml"),
    ] {
        let wanted = Wanted {
            id: "firewalld",
            wave: Wave::Host,
            path,
            mode: 0o644,
            content: view.templates.render(template, &context(view))?,
            purpose: "firewalld lets exactly the cluster's ports through",
            then: Some("firewall-cmd --reload >/dev/null"),
        };
        files::plan(view, draft, wanted);
    }
    Ok(())
}

#[derive(Serialize)]
struct Chain<'a> {
    family: &'a str,
    table: &'a str,
    chain: &'a str,
    hook: &'a str,
}

/// Our rules in the operator's own chains, since a chain that accepts does not overrule one that drops.
fn plan_nftables(view: &View<'_>, draft: &mut Draft<'_>, refusing: &[&crate::observe::NftChain]) -> Result<(), Error> {
    let chains: Vec<Chain<'_>> = refusing
        .iter()
        .map(|chain| Chain { family: &chain.family, table: &chain.table, chain: &chain.chain, hook: &chain.hook })
        .collect();
    let mut context = context(view);
    context.insert("chains", &chains);
    let purpose = "nftables lets exactly the cluster's ports through";
    let mut changed = false;
    for (template, path, then) in [
        ("firewall.nft", "/etc/rkctl/firewall.nft", None),
        ("firewall.sh", "/etc/rkctl/firewall.sh", None),
        ("firewall-dropin.conf", "/etc/systemd/system/nftables.service.d/rkctl.conf", Some("systemctl daemon-reload")),
    ] {
        let content = view.templates.render(template, &context)?;
        changed |= files::plan(
            view,
            draft,
            Wanted { id: "nftables", wave: Wave::Host, path, mode: 0o600, content, purpose, then },
        );
    }
    let closed: Vec<String> = refusing
        .iter()
        .filter(|chain| !chain.opened)
        .map(|chain| format!("{} {} {}", chain.family, chain.table, chain.chain))
        .collect();
    if changed || !closed.is_empty() {
        let ports: Vec<String> = openings(view.cluster, view.host.role)
            .iter()
            .map(|opening| format!("{}/{}", opening.ports, opening.protocol))
            .collect();
        draft
            .step(Wave::Host, "nftables", "open the cluster's ports", purpose)
            .change(
                if closed.is_empty() {
                    "open, other ports".to_owned()
                } else {
                    format!("closed: {}", closed.join(", "))
                },
                ports.join(", "),
            )
            .script("sh /etc/rkctl/firewall.sh", vec![]);
    }
    Ok(())
}
