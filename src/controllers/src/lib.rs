//! The loops that make the cluster be what its objects say.
//!
//! One file or folder a controller, one line in [`CONTROLLERS`] to add one. Each has a pure plan with table tests and
//! a thin executor; none knows another, and all of them speak to the API through the client and to nothing else.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use client::Context;
use ipnet::IpNet;
use tokio::task::JoinSet;

pub mod account_tokens;
pub mod bootstrap_token;
pub mod certificates;
pub mod common;
pub mod cronjob;
pub mod daemonset;
pub mod deployment;
pub mod disruption;
pub mod endpoints;
pub mod garbage;
pub mod ipam;
pub mod job;
pub mod job_ttl;
pub mod namespace;
pub mod node_lifecycle;
pub mod pod_certificates;
pub mod pod_gc;
pub mod quota;
pub mod replicaset;
pub mod root_ca;
pub mod service_account;
pub mod statefulset;
pub mod storage_migration;
pub mod storage_protection;
pub mod trust_bundles;

pub use common::error::Error;

/// How the controllers work.
#[derive(Debug, Clone)]
pub struct Config {
    /// The network that nodes' pod networks are cut from; none are given out where it is `None`.
    pub pod_cidr: Option<IpNet>,
    /// The network of services, whose addresses no node serves under.
    pub service_cidr: Option<IpNet>,
    /// The DNS domain of services; likewise.
    pub cluster_domain: String,
    /// Names and addresses of the API server, under which only nodes on its hosts serve.
    pub server_names: Vec<pki::San>,
    /// The prefix length of one node's pod network.
    pub node_cidr_prefix: u8,
    /// The certificate of the cluster's authority, published to every namespace.
    pub ca_certificate: PathBuf,
    /// Its key, for signing; requests stay unsigned where it is `None`.
    pub ca_key: Option<PathBuf>,
    /// The private key that tokens of service accounts are signed with.
    pub service_account_key: PathBuf,
    /// How often nodes are looked at.
    pub node_monitor_period: Duration,
    /// How long a node may be silent.
    pub node_monitor_grace: Duration,
    /// Pods that have ended are kept up to this many.
    pub terminated_pods: usize,
    /// How often leftover pods are looked for.
    pub pod_gc_period: Duration,
    /// How long pods of a node that is gone are left alone.
    pub orphaned_pod_grace: Duration,
    /// How long requests for pods' certificates are kept.
    pub pod_certificate_request_ttl: Duration,
    /// How often old ones are looked for.
    pub pod_certificate_request_period: Duration,
    /// How often new kinds are looked for.
    pub discovery_period: Duration,
    /// How long certificates live that ask for no time.
    pub certificate_lifetime: Duration,
}

impl Config {
    /// Kubernetes' own times, and an authority in `pki`.
    pub fn new(pki: &std::path::Path) -> Self {
        Self {
            pod_cidr: None,
            service_cidr: None,
            cluster_domain: "cluster.local".to_string(),
            server_names: Vec::new(),
            node_cidr_prefix: 24,
            ca_certificate: pki.join("ca.crt"),
            ca_key: Some(pki.join("ca.key")),
            service_account_key: pki.join("sa.key"),
            node_monitor_period: Duration::from_secs(5),
            node_monitor_grace: Duration::from_secs(40),
            terminated_pods: 12_500,
            pod_gc_period: Duration::from_secs(20),
            orphaned_pod_grace: Duration::from_secs(40),
            pod_certificate_request_ttl: Duration::from_secs(15 * 60),
            pod_certificate_request_period: Duration::from_secs(5 * 60),
            discovery_period: Duration::from_secs(30),
            certificate_lifetime: Duration::from_secs(365 * 24 * 3600),
        }
    }
}

/// What each controller is given.
#[derive(Clone)]
pub struct Shared {
    pub config: Arc<Config>,
    pub context: Context,
}

type Running = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// A controller's name, the service account of `kube-system` that it writes as, and how it is run.
type Controller = (&'static str, &'static str, fn(Shared) -> Running);

/// Every controller.
pub const CONTROLLERS: &[Controller] = &[
    ("bootstrap-token-cleaner", "token-cleaner", |shared| Box::pin(bootstrap_token::run(shared))),
    ("certificates", "certificate-controller", |shared| Box::pin(certificates::run(shared))),
    ("cronjob", "cronjob-controller", |shared| Box::pin(cronjob::run(shared))),
    ("daemonset", "daemon-set-controller", |shared| Box::pin(daemonset::run(shared))),
    ("deployment", "deployment-controller", |shared| Box::pin(deployment::run(shared))),
    ("disruption", "disruption-controller", |shared| Box::pin(disruption::run(shared))),
    ("endpoints", "endpoint-controller", |shared| Box::pin(endpoints::legacy::run(shared))),
    ("endpointslice", "endpointslice-controller", |shared| Box::pin(endpoints::slices::run(shared))),
    ("endpointslice-mirroring", "endpointslicemirroring-controller", |shared| Box::pin(endpoints::mirror::run(shared))),
    ("garbage-collector", "generic-garbage-collector", |shared| Box::pin(garbage::run(shared))),
    ("job", "job-controller", |shared| Box::pin(job::run(shared))),
    ("namespace", "namespace-controller", |shared| Box::pin(namespace::run(shared))),
    ("node-ipam", "node-controller", |shared| Box::pin(ipam::run(shared))),
    ("node-lifecycle", "node-controller", |shared| Box::pin(node_lifecycle::run(shared))),
    ("pod-certificate-request-cleaner", "podcertificaterequestcleaner", |shared| {
        Box::pin(pod_certificates::run(shared))
    }),
    ("pod-gc", "pod-garbage-collector", |shared| Box::pin(pod_gc::run(shared))),
    ("persistentvolume-protection", "pv-protection-controller", |shared| {
        Box::pin(storage_protection::run_volumes(shared))
    }),
    ("persistentvolumeclaim-protection", "pvc-protection-controller", |shared| {
        Box::pin(storage_protection::run_claims(shared))
    }),
    ("replicaset", "replicaset-controller", |shared| {
        Box::pin(replicaset::run::<k8s_openapi::api::apps::v1::ReplicaSet>(shared))
    }),
    ("replication-controller", "replication-controller", |shared| {
        Box::pin(replicaset::run::<k8s_openapi::api::core::v1::ReplicationController>(shared))
    }),
    ("resource-quota", "resourcequota-controller", |shared| Box::pin(quota::run(shared))),
    ("statefulset", "statefulset-controller", |shared| Box::pin(statefulset::run(shared))),
    ("storage-version-migrator", "storage-version-migrator-controller", |shared| {
        Box::pin(storage_migration::run(shared))
    }),
    ("ttl-after-finished", "ttl-after-finished-controller", |shared| Box::pin(job_ttl::run(shared))),
    ("root-ca-publisher", "root-ca-cert-publisher", |shared| Box::pin(root_ca::run(shared))),
    ("trust-bundle-publisher", "kube-apiserver-serving-clustertrustbundle-publisher", |shared| {
        Box::pin(trust_bundles::run(shared))
    }),
    ("service-account", "service-account-controller", |shared| Box::pin(service_account::run(shared))),
    ("service-account-token", "service-account-token-controller", |shared| Box::pin(account_tokens::run(shared))),
];

/// Runs every controller until the context is shut down, or one of them fails. They share the context's informers,
/// and each makes its other requests through the client that `clients` gives for its service account.
///
/// # Errors
/// The first controller's that cannot go on.
pub async fn run(config: Config, context: Context, clients: impl Fn(&str) -> kube::Client + Send) -> Result<(), Error> {
    let config = Arc::new(config);
    let mut running = JoinSet::new();
    for (name, account, start) in CONTROLLERS {
        let context = Context { client: clients(account), ..context.clone() };
        let ended = start(Shared { config: config.clone(), context });
        running.spawn(async move { (*name, ended.await) });
    }
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok((_, Ok(()))) if context.shutdown.is_cancelled() => {}
            // A controller that has nothing to do in this cluster.
            Ok((name, Ok(()))) => tracing::info!(controller = name, "not needed; stopped"),
            Ok((name, Err(source))) => return Err(Error::Controller { name, source: Box::new(source) }),
            Err(_) => return Err(Error::Panicked),
        }
    }
    Ok(())
}
