//! The control plane of a host: configuration, certificates, unit, health.

use tera::Context;

use super::files::{self, Wanted};
use super::{Action, BINARY, Draft, NODE_PORT_RANGE, View, Wave, access, repository};
use crate::error::Error;
use crate::render::yaml;

const CONFIG: &str = "/etc/rkctl/server.yaml";
const UNIT_FILE: &str = "/etc/systemd/system/rkctl-server.service";
const UNIT: &str = "rkctl-server";
const RELOAD: &str = "systemctl daemon-reload";

pub(super) fn plan(view: &View<'_>, draft: &mut Draft<'_>) -> Result<(), Error> {
    let content = config(view)?;
    let config = Wanted {
        id: "server-config",
        wave: Wave::Host,
        path: CONFIG,
        mode: 0o600,
        content,
        purpose: "the control plane's configuration",
        then: None,
    };
    let config_changed = files::plan(view, draft, config);
    if config_changed {
        draft.restart(UNIT, "its configuration changes");
    }
    repository::plan(view, draft);
    access::plan(view, draft);
    certificates(view, draft, config_changed);
    let unit = Wanted {
        id: "server-unit",
        wave: Wave::Host,
        path: UNIT_FILE,
        mode: 0o644,
        content: view.templates.render("rkctl-server.service", &Context::new())?,
        purpose: "systemd starts the control plane",
        then: Some(RELOAD),
    };
    if files::plan(view, draft, unit) {
        draft.restart(UNIT, "its unit changes");
    }
    start(view, draft);
    Ok(())
}

fn config(view: &View<'_>) -> Result<String, Error> {
    let cluster = view.cluster;
    let mut sans = vec![view.host.name.clone(), view.host.address.clone()];
    sans.extend(view.host.private_address.map(|address| address.to_string()));
    sans.extend(view.peers.addresses.get(&view.host.name).map(|address| address.to_string()));
    sans.extend(cluster.api.endpoint.as_deref().map(endpoint_host));
    sans.extend(cluster.api.sans.iter().cloned());
    sans.sort();
    sans.dedup();
    let mut context = Context::new();
    context.insert("cluster_name", &yaml(&cluster.name));
    context.insert("port", &inventory::cluster::API_PORT);
    context.insert("advertise_address", &view.peers.addresses.get(&view.host.name).map(|address| address.to_string()));
    context.insert("api_sans", &yaml(&sans));
    context.insert("pod_cidr", &cluster.network.pod_cidr.to_string());
    context.insert("service_cidr", &cluster.network.service_cidr.to_string());
    context.insert("cluster_domain", &yaml(&cluster.network.cluster_domain));
    context.insert("node_port_range", &yaml(&NODE_PORT_RANGE));
    context.insert("access", &access::configuration(&cluster.security));
    context.insert("datastore", &access::datastore(&cluster.security));
    context.insert("limits", &access::limits(&cluster.security));
    context.insert("gitops", &cluster.gitops.as_ref().map(repository::configuration));
    view.templates.render("server.yaml", &context)
}

/// The host part of `HOST`, `HOST:PORT`, `ADDRESS` or `[ADDRESS]:PORT`.
fn endpoint_host(endpoint: &str) -> String {
    if endpoint.parse::<std::net::IpAddr>().is_ok() {
        return endpoint.to_owned();
    }
    let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

fn certificates(view: &View<'_>, draft: &mut Draft<'_>, config_changed: bool) {
    let (reason, before, after) = match &view.facts.pki_due {
        // Whether names change with the configuration can only be seen on the host, after it was written.
        Some(due) if due.is_empty() && config_changed => (
            "the configuration changes".to_owned(),
            "for the names of the old configuration".to_owned(),
            "for the names of the new one".to_owned(),
        ),
        Some(due) if due.is_empty() => return,
        Some(due) => {
            let files = due.iter().map(|due| due.file.as_str()).collect::<Vec<_>>().join(", ");
            let reasons = due.iter().map(|due| format!("{}: {}", due.file, due.reason)).collect::<Vec<_>>();
            (reasons.join("; "), files.clone(), format!("{files} made anew"))
        }
        None => (
            "keys and certificates are made on the host they belong to".to_owned(),
            "missing".to_owned(),
            "the cluster's authorities, keys and certificates".to_owned(),
        ),
    };
    draft
        .step(Wave::Host, "certificates", "make or renew certificates", reason)
        .change(before, after)
        .by(Action::Certificates);
    draft.restart(UNIT, "its certificates change");
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
    let ready = view.facts.cluster.as_ref().is_some_and(|cluster| cluster.ready);
    if let Some(reason) = &reason {
        draft
            .step(Wave::Host, "server", "start the control plane", reason.clone())
            .change(unit.state(), "active, started at boot")
            .by(Action::Restart { unit: UNIT });
    }
    if reason.is_some() || !ready {
        draft
            .step(Wave::Host, "server-ready", "wait for the API server", "nothing joins before /readyz says so")
            .change(if reason.is_some() { "it starts anew" } else { "not ready" }, "ready")
            .by(Action::AwaitServer);
    }
}
