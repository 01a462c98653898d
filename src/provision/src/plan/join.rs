//! The agent of a host: authority, configuration, token, unit, readiness.

use tera::Context;

use super::files::{self, Wanted};
use super::{Action, BINARY, Draft, NODE_PORT_RANGE, View, Wave};
use crate::error::Error;
use crate::render::yaml;

const CONFIG: &str = "/etc/rkctl/agent.yaml";
const CA: &str = "/etc/rkctl/pki/ca.crt";
const UNIT_FILE: &str = "/etc/systemd/system/rkctl-agent.service";
const UNIT: &str = "rkctl-agent";
const RELOAD: &str = "systemctl daemon-reload";

pub(super) fn plan(view: &View<'_>, draft: &mut Draft<'_>) -> Result<(), Error> {
    let facts = view.facts;
    let ca = facts.sha256(CA);
    // Where no control-plane host answered, what is there is not known to be wrong.
    let known = view.peers.controller_answered;
    if !view.host.role.is_control_plane() && (ca.is_none() || known && ca != view.peers.ca_sha256.as_deref()) {
        let reason = if ca.is_some() { "it is another cluster's" } else { "it is missing" };
        draft
            .step(
                Wave::Join,
                "authority",
                format!("write {CA}"),
                format!("the agent knows the API server by it: {reason}"),
            )
            .change(ca.map_or("missing", |_| "another cluster's"), "the control plane's")
            .by(Action::FetchAuthority);
        draft.restart(UNIT, "the cluster's authority changes");
    }
    let config = Wanted {
        id: "agent-config",
        wave: Wave::Host,
        path: CONFIG,
        mode: 0o600,
        content: config(view)?,
        purpose: "the agent's configuration",
        then: None,
    };
    if files::plan(view, draft, config) {
        draft.restart(UNIT, "its configuration changes");
    }
    let unit = Wanted {
        id: "agent-unit",
        wave: Wave::Host,
        path: UNIT_FILE,
        mode: 0o644,
        content: view.templates.render("rkctl-agent.service", &Context::new())?,
        purpose: "systemd starts the agent",
        then: Some(RELOAD),
    };
    if files::plan(view, draft, unit) {
        draft.restart(UNIT, "its unit changes");
    }
    if !facts.joined {
        draft
            .step(Wave::Join, "token", "hand over a bootstrap token", "the agent asks for its certificate with it")
            .change("not joined", "a token that is valid for ten minutes")
            .by(Action::HandToken { server: view.peers.servers.first().cloned().unwrap_or_default() });
        draft.restart(UNIT, "it has not joined yet");
    }
    start(view, draft);
    Ok(())
}

fn config(view: &View<'_>) -> Result<String, Error> {
    let network = &view.cluster.network;
    let mut context = Context::new();
    context.insert("node_name", &yaml(&view.host.name));
    context.insert("node_ip", &view.peers.addresses.get(&view.host.name).map(|address| address.to_string()));
    context.insert("servers", &yaml(&view.peers.servers));
    context.insert("cluster_dns", &network.dns_ip().to_string());
    context.insert("cluster_domain", &yaml(&network.cluster_domain));
    context.insert("pod_cidr", &network.pod_cidr.to_string());
    context.insert("service_cidr", &network.service_cidr.to_string());
    context.insert("node_port_range", &yaml(&NODE_PORT_RANGE));
    let agent = &view.host.agent;
    context.insert("eviction_hard", &yaml(&agent.eviction_hard));
    context.insert("image_gc_high_threshold_percent", &agent.image_gc_high_threshold_percent);
    // Labels and the other taints are set on the Node object: changing them must not restart the agent.
    let taints: Vec<inventory::Taint> = super::nodes::role_taint(view.host.role).into_iter().collect();
    context.insert("taints", &yaml(&taints));
    view.templates.render("agent.yaml", &context)
}

fn start(view: &View<'_>, draft: &mut Draft<'_>) {
    let unit = view.facts.unit(UNIT);
    let planned = draft.restarts.remove(UNIT);
    let reason = if !unit.is_active() {
        Some(if unit.active.is_empty() { "it was never started".to_owned() } else { format!("it is {}", unit.active) })
    } else if !unit.is_enabled() {
        Some("it does not start at boot".to_owned())
    } else {
        planned.or_else(|| files::changed_since_start(view, UNIT, &[BINARY, CONFIG, UNIT_FILE]))
    };
    if let Some(reason) = &reason {
        draft
            .step(Wave::Join, "agent", "start the agent", reason.clone())
            .change(unit.state(), "active, started at boot")
            .by(Action::Restart { unit: UNIT });
    }
    let node = view.peers.cluster.as_ref().and_then(|cluster| cluster.nodes.get(&view.host.name));
    let known = view.peers.controller_answered;
    if reason.is_some() || known && !node.is_some_and(|node| node.ready) {
        let (why, before) = match node {
            Some(node) if !node.ready => (format!("it is not: {}", node.message), "not Ready"),
            Some(_) => ("the agent starts anew".to_owned(), "Ready until then"),
            None => ("it is not in the cluster yet".to_owned(), "not in the cluster"),
        };
        draft
            .step(Wave::Join, "node-ready", "wait until the node is Ready", why)
            .change(before, "Ready")
            .by(Action::AwaitNode);
    }
}
