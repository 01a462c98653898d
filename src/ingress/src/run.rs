//! Follows Ingresses, classes, services and slices, and keeps the table of routes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use client::Context;
use client::informer::{Index, Informer};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use tokio::sync::Notify;

use crate::certificates::{Follower, Store, server_config};
use crate::listener::Listener;
use crate::proxy::Proxy;
use crate::routes::{Backend, Port, Table, is_ours};
use crate::{Error, status};

/// `spec.controller` of the classes that are ours.
pub const CONTROLLER: &str = "rkctl.dev/ingress";
/// Changes within this time share one table.
const GATHER: Duration = Duration::from_millis(20);

/// What the controller needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where HTTP is listened on.
    pub listen: SocketAddr,
    /// Where HTTPS is listened on.
    pub listen_tls: SocketAddr,
    /// This process among the candidates for writing status: the pod's name.
    pub identity: String,
}

/// Runs until the context shuts down.
///
/// # Errors
/// Where an address cannot be listened on.
pub async fn run(config: Config, context: Context) -> Result<(), Error> {
    let store = Arc::new(Store::new()?);
    let tls = server_config(store.clone())?;
    let cluster = Arc::new(Cluster::new(&context, store));
    tokio::select! {
        () = context.shutdown.cancelled() => return Ok(()),
        () = cluster.synced() => {}
    }
    let proxy = Arc::new(Proxy::new(cluster.clone()));
    let (plain, encrypted) =
        (Listener::bind(config.listen, None).await?, Listener::bind(config.listen_tls, Some(tls)).await?);
    let plain = tokio::spawn(plain.serve(proxy.clone(), context.shutdown.clone()));
    let encrypted = tokio::spawn(encrypted.serve(proxy, context.shutdown.clone()));
    let writer = tokio::spawn(status::run(config.identity, context.clone()));
    tracing::info!(http = %config.listen, https = %config.listen_tls, "serving ingresses");
    let follow = async {
        loop {
            cluster.changed.notified().await;
            tokio::time::sleep(GATHER).await;
            cluster.rebuild();
        }
    };
    tokio::select! {
        () = context.shutdown.cancelled() => Ok(()),
        () = follow => Err(Error::TaskEnded("table")),
        _ = plain => Err(Error::TaskEnded("HTTP server")),
        _ = encrypted => Err(Error::TaskEnded("HTTPS server")),
        _ = writer => Err(Error::TaskEnded("status writer")),
    }
}

/// The cluster as a proxy needs it.
pub struct Cluster {
    ingresses: Informer<Ingress>,
    classes: Informer<IngressClass>,
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    by_service: Index<EndpointSlice>,
    table: RwLock<Arc<Table>>,
    certificates: Follower,
    turn: AtomicUsize,
    changed: Arc<Notify>,
}

impl Cluster {
    fn new(context: &Context, store: Arc<Store>) -> Self {
        let ingresses = context.informers.all::<Ingress>();
        let classes = context.informers.all::<IngressClass>();
        let services = context.informers.all::<Service>();
        let slices = context.informers.all::<EndpointSlice>();
        let by_service = slices.index("service", |slice| {
            let labels = slice.metadata.labels.as_ref();
            let name = labels.and_then(|labels| labels.get("kubernetes.io/service-name"));
            let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
            name.map(|name| format!("{namespace}/{name}")).into_iter().collect()
        });
        let changed = Arc::new(Notify::new());
        let (of_ingresses, of_classes) = (changed.clone(), changed.clone());
        ingresses.on_change(move |_| of_ingresses.notify_one());
        classes.on_change(move |_| of_classes.notify_one());
        let (table, turn) = (RwLock::default(), AtomicUsize::new(0));
        let certificates = Follower::new(store, context.informers.clone(), changed.clone());
        Self { ingresses, classes, services, slices, by_service, table, certificates, turn, changed }
    }

    /// Waits until everything is known, the certificates as well: nobody is to see another one at a start.
    async fn synced(&self) {
        tokio::join!(self.ingresses.synced(), self.classes.synced(), self.services.synced(), self.slices.synced());
        self.rebuild();
        self.certificates.synced().await;
        self.rebuild();
    }

    fn rebuild(&self) {
        let classes = our_classes(&self.classes);
        let mut ingresses = self.ingresses.list(None);
        ingresses.retain(|ingress| is_ours(ingress, &classes));
        self.certificates.follow(&ingresses);
        let table = Table::build(&ingresses);
        tracing::debug!(ingresses = ingresses.len(), hosts = table.hosts(), "routes rebuilt");
        *self.table.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(table);
    }

    /// Where a request goes.
    pub fn route(&self, host: &str, path: &str) -> Option<Arc<Backend>> {
        let table = self.table.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        table.find(host, path)
    }

    /// The endpoints of a backend that are ready, each time beginning with another.
    pub fn endpoints(&self, backend: &Backend) -> Vec<SocketAddr> {
        let Some(service) = self.services.get(&backend.namespace, &backend.service) else { return Vec::new() };
        let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        let wanted = ports.into_iter().find(|port| match &backend.port {
            Port::Number(number) => port.port == i32::from(*number),
            Port::Name(name) => port.name.as_ref() == Some(name),
        });
        let Some(port_name) = wanted.map(|port| port.name.clone().unwrap_or_default()) else { return Vec::new() };
        let mut found = Vec::new();
        for slice in self.by_service.get(&format!("{}/{}", backend.namespace, backend.service)) {
            let port = slice.ports.iter().flatten().find(|port| port.name.as_deref().unwrap_or_default() == port_name);
            let Some(number) = port.and_then(|port| u16::try_from(port.port?).ok()) else { continue };
            for endpoint in slice.endpoints.iter().flatten() {
                let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
                let address = endpoint.addresses.first().and_then(|address| address.parse().ok());
                found.extend(address.filter(|_| ready).map(|address| SocketAddr::new(address, number)));
            }
        }
        if !found.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % found.len();
            found.rotate_left(turn);
        }
        found
    }
}

/// The names of the classes whose controller we are.
pub fn our_classes(classes: &Informer<IngressClass>) -> Vec<String> {
    let all = classes.list(None);
    let ours =
        all.iter().filter(|class| class.spec.as_ref().and_then(|spec| spec.controller.as_deref()) == Some(CONTROLLER));
    ours.filter_map(|class| class.metadata.name.clone()).collect()
}
