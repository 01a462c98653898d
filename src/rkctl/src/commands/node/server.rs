//! `rkctl node server`: store, API server, controllers and scheduler in one process.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use apiserver::authn::webhook::Settings as TokenWebhook;
use apiserver::config::{KeyPair, Limits};
use apiserver::request::User;
use apiserver::{audit, policy};
use client::informer::Informers;
use store::Store;
use store::embedded::{Embedded, Options};
use store::etcd::Etcd;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{git_worker, pki};
use crate::config::{Access, AuditLogMode, SERVER_CONFIG, ServerConfiguration};
use crate::{exit, notify, runtime};

/// How often the server asks itself whether it is ready while it starts.
const READY_POLL: Duration = Duration::from_millis(5);
/// The parts as `kubectl get componentstatuses` names them.
const CONTROLLERS: &str = "controller-manager";
const SCHEDULER: &str = "scheduler";
/// The database in the data folder.
pub const DATABASE: &str = "state.db";

/// Run the control plane.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The server's configuration.
    #[arg(long, default_value = SERVER_CONFIG)]
    config: PathBuf,
}

pub fn run(args: Args) -> exit::Answer {
    runtime::log_to_stderr("info");
    let config = ServerConfiguration::load(&args.config)?;
    renew_certificates(&config);
    runtime::node(async move {
        serve(config, runtime::shutdown_token()?).await?;
        Ok(exit::DONE)
    })
}

/// A server whose certificates cannot be renewed works with those it has for as long as they hold.
fn renew_certificates(config: &ServerConfiguration) {
    match pki::renew(config, jiff::Timestamp::now()) {
        Ok(renewed) => {
            for step in renewed {
                tracing::info!(file = step.item.files().0, reason = step.reason, "renewed");
            }
        }
        Err(error) => tracing::warn!(error = format!("{error:#}"), "cannot renew the server's certificates"),
    }
}

/// Runs until `shutdown`, or until a part fails: systemd starts the whole anew then.
async fn serve(config: ServerConfiguration, shutdown: CancellationToken) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.data_dir)
        .with_context(|| format!("create {}", config.data_dir.display()))?;
    let store = open_store(&config).await?;
    let plugins = policy::plugins(&settings(&config), store.clone()).await?;
    let server = apiserver::Server::new(server_config(&config)?, store.clone(), plugins).await?;

    // Each acts by its role, which the server has seen to when it is ready. The controllers read together, and each
    // writes as its service account.
    let accounts = server.account_clients();
    let controllers = context(server.client(User::new("system:kube-controller-manager", &[])), &shutdown);
    // The scheduler reads what the controllers read, and acts in its own name.
    let scheduler =
        client::Context { client: server.client(User::new("system:kube-scheduler", &[])), ..controllers.clone() };
    let follower = client::Context { client: server.client(User::new(gitops::USER, &[])), ..controllers.clone() };
    let health = controllers.client.clone();
    let components = server.components();
    [CONTROLLERS, SCHEDULER].into_iter().for_each(|name| components.expect(name));
    let mut parts = JoinSet::new();
    let ends = shutdown.clone();
    parts.spawn(async move { server.run(ends).await.context("the API server failed") });
    parts.spawn(keep_to(store, shutdown.clone()));
    wait_until_ready(&health, &shutdown).await;
    notify::ready();
    let controller_config = controllers::Config {
        pod_cidr: Some(config.pod_cidr.into()),
        service_cidr: Some(config.service_cidr.into()),
        cluster_domain: config.cluster_domain.clone(),
        server_names: config.wanted_certificates().server_sans,
        ..controllers::Config::new(&config.pki_dir)
    };
    let told = components.clone();
    parts.spawn(async move {
        let running = controllers::run(controller_config, controllers, accounts);
        told.run(CONTROLLERS, running).await.context("the controllers failed")
    });
    parts.spawn(async move {
        let running = scheduler::run(scheduler::Config::default(), scheduler);
        components.run(SCHEDULER, running).await.context("the scheduler failed")
    });
    if let Some(gitops) = &config.gitops {
        let gitops = git_worker::gitops_config(&config, gitops)?;
        parts.spawn(follow_repository(gitops, follower));
    } else {
        git_worker::remove_copies(&config);
        parts.spawn(async move {
            gitops::forget(follower.clone()).await;
            follower.shutdown.cancelled().await;
            Ok(())
        });
    }

    let mut outcome = Ok(());
    while let Some(ended) = parts.join_next().await {
        let ended = ended.context("a part of the control plane panicked").and_then(|ended| ended);
        if outcome.is_ok() && ended.is_err() {
            outcome = ended;
        }
        // Whatever ends first ends the others, so that nothing half works.
        shutdown.cancel();
    }
    outcome
}

/// A store that has given up takes no write any more, until the process is started anew and reads it again.
async fn keep_to(store: Arc<dyn Store>, shutdown: CancellationToken) -> anyhow::Result<()> {
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        () = store.ended() => anyhow::bail!("the store has given up; what was wrong is in the log above"),
    }
}

/// Opens the store that the configuration names.
async fn open_store(config: &ServerConfiguration) -> anyhow::Result<Arc<dyn Store>> {
    let file = config.datastore.encryption_config_file.as_deref();
    let encryption = Arc::new(file.map(apiserver::encryption::load).transpose()?.unwrap_or_default());
    let Some(datastore) = &config.datastore.etcd else {
        let options = Options { encryption, ..Options::default() };
        return Ok(Embedded::open(&config.data_dir.join(DATABASE), options)?);
    };
    let tls = store::etcd::Tls {
        ca: datastore.ca_file.clone(),
        certificate: datastore.certificate_file.clone(),
        key: datastore.key_file.clone(),
    };
    let options = store::etcd::Options {
        prefix: datastore.prefix.clone(),
        encryption,
        ..store::etcd::Options::new(datastore.endpoints.clone(), Some(tls))
    };
    Ok(Etcd::open(options).await?)
}

/// A repository that can never be followed is told in the log; the cluster goes on without it.
async fn follow_repository(config: gitops::Config, context: client::Context) -> anyhow::Result<()> {
    let shutdown = context.shutdown.clone();
    if let Err(error) = gitops::run(config, context).await {
        tracing::error!(error = stdx::error::chain(&error), "the repository cannot be followed");
        shutdown.cancelled().await;
    }
    Ok(())
}

fn context(client: kube::Client, shutdown: &CancellationToken) -> client::Context {
    let informers = Informers::new(client.clone(), shutdown.clone());
    client::Context { client, informers, shutdown: shutdown.clone() }
}

/// Waits for `/readyz`: default roles and namespaces are there then.
async fn wait_until_ready(client: &kube::Client, shutdown: &CancellationToken) {
    loop {
        let request = http::Request::get("/readyz").body(Vec::new());
        if let Ok(request) = request
            && client.request_text(request).await.is_ok()
        {
            return;
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(READY_POLL) => {}
        }
    }
}

fn settings(config: &ServerConfiguration) -> policy::Settings {
    policy::Settings {
        service_account_key: config.pki_dir.join("sa.key"),
        service_account_public_keys: vec![config.pki_dir.join("sa.pub")],
        cluster_domain: config.cluster_domain.clone(),
        server_url: format!("https://{}", SocketAddr::new(config.advertise_address, config.port)),
        access: access(&config.access),
    }
}

fn access(config: &Access) -> policy::Access {
    let log = || audit::log::Settings {
        path: config.audit_log.path.clone(),
        max_size_bytes: config.audit_log.max_size_mb.saturating_mul(1 << 20).max(1 << 20),
        max_age_days: config.audit_log.max_age_days,
        max_backups: config.audit_log.max_backups,
        mode: match config.audit_log.mode {
            AuditLogMode::Batch => audit::log::Mode::Batch,
            AuditLogMode::Blocking => audit::log::Mode::Blocking,
            AuditLogMode::BlockingStrict => audit::log::Mode::BlockingStrict,
        },
    };
    let webhook = |kubeconfig: &PathBuf| TokenWebhook {
        kubeconfig: kubeconfig.clone(),
        cache_ttl: Duration::from_secs(config.token_webhook_cache_seconds),
    };
    policy::Access {
        audit: config.audit_policy_file.clone().map(|policy| audit::Settings { policy, log: log() }),
        authentication: config.authentication_config_file.clone(),
        token_webhook: config.token_webhook_config_file.as_ref().map(webhook),
        authorization: config.authorization_config_file.clone(),
    }
}

fn server_config(config: &ServerConfiguration) -> anyhow::Result<apiserver::Config> {
    let pair = |name: &str| KeyPair {
        certificate: config.pki_dir.join(format!("{name}.crt")),
        key: config.pki_dir.join(format!("{name}.key")),
    };
    Ok(apiserver::Config {
        listen: SocketAddr::new(config.bind_address, config.port),
        serving: pair("apiserver"),
        client_ca: config.pki_dir.join("ca.crt"),
        front_proxy_ca: Some(config.pki_dir.join("front-proxy-ca.crt")),
        advertise_address: config.advertise_address,
        advertise_port: Some(config.port),
        service_cidr: config.service_cidr.into(),
        node_port_range: port_range(&config.node_port_range)?,
        kubelet_client: Some(pair("apiserver-kubelet-client")),
        local_targets: false,
        proxy_client: Some(pair("front-proxy-client")),
        limits: limits(&config.limits),
    })
}

fn limits(config: &crate::config::Limits) -> Limits {
    let own = Limits::default();
    let connections_per_address = config.connections_per_address.map_or(own.connections_per_address, Into::into);
    Limits { connections_per_address, ..own }
}

fn port_range(text: &str) -> anyhow::Result<RangeInclusive<u16>> {
    let parsed = text.split_once('-').and_then(|(from, to)| Some(from.trim().parse().ok()?..=to.trim().parse().ok()?));
    parsed
        .filter(|range: &RangeInclusive<u16>| !range.is_empty())
        .with_context(|| format!("nodePortRange {text:?} is not two ports such as 30000-32767"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_ranges_are_two_ports_in_order() {
        assert_eq!(port_range("30000-32767").unwrap(), 30000..=32767);
        for wrong in ["30000", "2-1", "a-b", "1-70000"] {
            assert!(port_range(wrong).unwrap_err().to_string().contains("30000-32767"), "{wrong}");
        }
    }
}
