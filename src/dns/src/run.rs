//! Wires the API, the zone and the sockets together.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::Context;
use client::informer::{Index, Informer};
use hickory_proto::rr::Name;
use hickory_resolver::TokioResolver;
use hickory_server::server::Server as DnsServer;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::net::{TcpListener, UdpSocket};

use crate::Error;
use crate::server::Server;
use crate::upstream;
use crate::zone::{View, cluster_addresses, service_of};

/// An idle TCP connection is closed after this long.
const TCP_TIMEOUT: Duration = Duration::from_secs(10);
/// Answers that wait on one TCP connection.
const TCP_BUFFERED: usize = 32;

/// The cluster's own DNS, as every Kubernetes cluster calls it (`addons/dns/service.yaml`).
const SYSTEM: &str = "kube-system";
const SERVICE: &str = "kube-dns";

/// What the DNS server needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where UDP and TCP are listened on.
    pub listen: SocketAddr,
    /// `cluster.local`.
    pub domain: String,
    /// Whose name servers are asked for names outside of the cluster.
    pub resolv_conf: PathBuf,
    /// Where `/health` and `/ready` are answered over HTTP.
    pub health_listen: SocketAddr,
}

/// Runs until the context shuts down.
///
/// # Errors
/// Where an address cannot be listened on or the configuration is wrong.
pub async fn run(config: Config, context: Context) -> Result<(), Error> {
    let zone = zone_name(&config.domain)?;
    let view = Arc::new(Cluster::new(&context));
    let health = tokio::spawn(crate::health::serve(config.health_listen, view.clone(), context.shutdown.clone()));
    view.synced().await;
    let resolver = resolver(&config, &view)?;
    let refused = |source| Error::Listen { address: config.listen, source };
    let mut server = DnsServer::new(Server::new(view.clone(), zone, resolver));
    server.register_socket(UdpSocket::bind(config.listen).await.map_err(refused)?);
    server.register_listener(TcpListener::bind(config.listen).await.map_err(refused)?, TCP_TIMEOUT, TCP_BUFFERED);
    view.set_ready();
    tracing::info!(address = %config.listen, domain = config.domain, "answering");
    tokio::select! {
        () = context.shutdown.cancelled() => {
            let _ = server.shutdown_gracefully().await;
            Ok(())
        }
        ended = server.block_until_done() => Err(Error::Stopped(format!("{ended:?}"))),
        ended = health => ended.map_err(|error| Error::Stopped(error.to_string()))?,
    }
}

fn zone_name(domain: &str) -> Result<Name, Error> {
    let mut zone = Name::from_ascii(domain).map_err(|_| Error::Domain(domain.to_string()))?;
    zone.set_fqdn(true);
    Ok(zone)
}

/// The resolvers of the file; none where it names none, as on a host without a network beyond the cluster.
fn resolver(config: &Config, view: &Cluster) -> Result<Option<TokioResolver>, Error> {
    let path = config.resolv_conf.display();
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Resolvers { path: path.to_string(), source };
    let text = match std::fs::read_to_string(&config.resolv_conf) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(Box::new(error))),
    };
    let is_own = |address| upstream::is_here(address) || view.is_cluster_dns(address);
    let upstream = upstream::read(&text, is_own).map_err(|error| failed(Box::new(error)))?;
    if !upstream.refused.is_empty() {
        tracing::warn!(%path, servers = ?upstream.refused, "not asked: these name servers are this one");
    }
    let resolver = upstream.resolver().map_err(|error| failed(Box::new(error)))?;
    if resolver.is_none() {
        tracing::warn!(%path, "no name server; names outside of the cluster are refused");
    }
    Ok(resolver)
}

/// The cluster as the informers see it.
pub struct Cluster {
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    by_namespace: Index<Service>,
    by_cluster_address: Index<Service>,
    by_service: Index<EndpointSlice>,
    by_endpoint: Index<EndpointSlice>,
    ready: std::sync::atomic::AtomicBool,
}

impl Cluster {
    fn new(context: &Context) -> Self {
        let services = context.informers.all::<Service>();
        let slices = context.informers.all::<EndpointSlice>();
        let endpoints = |slice: &EndpointSlice| {
            let all = slice.endpoints.iter().flatten().flat_map(|endpoint| endpoint.addresses.iter());
            all.filter_map(|address| address.parse::<IpAddr>().ok()).map(|address| address.to_string()).collect()
        };
        Self {
            by_namespace: services.index("namespace", |service| service.metadata.namespace.iter().cloned().collect()),
            by_cluster_address: services
                .index("cluster address", |service| cluster_addresses(service).iter().map(IpAddr::to_string).collect()),
            by_service: slices.index("service", |slice| {
                service_of(slice).map(|(namespace, name)| format!("{namespace}/{name}")).into_iter().collect()
            }),
            by_endpoint: slices.index("endpoint", endpoints),
            services,
            slices,
            ready: false.into(),
        }
    }

    async fn synced(&self) {
        self.services.synced().await;
        self.slices.synced().await;
    }

    /// Whether it is the address of the service that leads to servers as this one.
    fn is_cluster_dns(&self, address: IpAddr) -> bool {
        let service = self.service_at(address);
        service.is_some_and(|service| {
            service.metadata.namespace.as_deref() == Some(SYSTEM) && service.metadata.name.as_deref() == Some(SERVICE)
        })
    }

    fn set_ready(&self) {
        self.ready.store(true, std::sync::atomic::Ordering::Release);
    }

    /// Whether questions are answered.
    pub fn is_ready(&self) -> bool {
        self.ready.load(std::sync::atomic::Ordering::Acquire)
    }
}

impl View for Cluster {
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        self.services.get(namespace, name)
    }
    fn slices(&self, namespace: &str, name: &str) -> Vec<Arc<EndpointSlice>> {
        self.by_service.get(&format!("{namespace}/{name}"))
    }
    fn has_namespace(&self, namespace: &str) -> bool {
        self.by_namespace.count(namespace) > 0
    }
    fn service_at(&self, address: IpAddr) -> Option<Arc<Service>> {
        self.by_cluster_address.get(&address.to_string()).into_iter().next()
    }
    fn slices_at(&self, address: IpAddr) -> Vec<Arc<EndpointSlice>> {
        self.by_endpoint.get(&address.to_string())
    }
}
