//! Follows Services and EndpointSlices and keeps the table equal to them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use client::Context;
use client::informer::{Change, Index};
use datapath::nft;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use stdx::backoff::Backoff;
use tokio::sync::Notify;

use crate::elements::{Contribution, Place, contribution};
use crate::health::{self, Checks};
use crate::table::{Content, Owner, TABLE, removal, skeleton};
use crate::{Error, conntrack};

/// The label of a slice that names its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label of a node that names its zone.
const ZONE: &str = "topology.kubernetes.io/zone";
/// Changes within this time share a batch: a rollout changes many endpoints at once.
const GATHER: Duration = Duration::from_millis(20);
/// How often it is checked that nobody removed the table, beside being told.
const RESYNC: Duration = Duration::from_secs(30);

/// What the proxy of a host needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name of this host's Node object, by which endpoints are local.
    pub node_name: String,
    /// The addresses of all pods of the cluster.
    pub cluster_cidr: Ipv4Net,
}

/// Namespace and name.
type Key = (String, String);

/// Which services have changed since they were last written.
#[derive(Default)]
struct Dirty {
    keys: Mutex<HashSet<Key>>,
    wake: Notify,
}

impl Dirty {
    fn mark(&self, key: Key) {
        lock(&self.keys).insert(key);
        self.wake.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Runs until the context shuts down; the rules stay, so that connections go on while the agent restarts.
/// A refused batch is logged and the whole table is built anew with back-off.
///
/// # Errors
/// None at present; the signature is that of every component.
pub async fn run(config: Config, context: Context) -> Result<(), Error> {
    let dirty = Arc::new(Dirty::default());
    let services = context.informers.all::<Service>();
    let slices = context.informers.all::<EndpointSlice>();
    let by_service = slices.index("service", |slice| service_of(slice).map(index_key).into_iter().collect());
    let of_slices = dirty.clone();
    slices.on_change(move |change| {
        let (Change::Added(slice) | Change::Updated(_, slice) | Change::Deleted(slice)) = change;
        service_of(slice).into_iter().for_each(|key| of_slices.mark(key));
    });
    let of_services = dirty.clone();
    services.on_change(move |change| {
        let (Change::Added(service) | Change::Updated(_, service) | Change::Deleted(service)) = change;
        of_services.mark(key_of(service));
    });
    // A host whose zone is not known yet follows no hints for zones.
    let node = context.informers.by_field::<Node>(&format!("metadata.name={}", config.node_name));
    let (of_node, known) = (dirty.clone(), services.clone());
    node.on_change(move |change| {
        if !matches!(change, Change::Updated(old, new) if zone_of(old) == zone_of(new)) {
            known.list(None).iter().for_each(|service| of_node.mark(key_of(service)));
        }
    });
    let zone = || node.get("", &config.node_name).and_then(|node| zone_of(&node).map(str::to_string));
    services.synced().await;
    slices.synced().await;

    let mut serving = Checks::default();
    let mut removals = nft::Removals::watch("ip", TABLE);
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30)).with_jitter(0.2);
    loop {
        let (content, held) = (Content::default(), HashMap::new());
        let checks = HashMap::new();
        let mut table = Table {
            config: &config,
            dirty: &dirty,
            slices: &by_service,
            zone: &zone,
            content,
            held,
            checks,
            serving: &mut serving,
        };
        let all: HashSet<Key> = services.list(None).iter().map(|service| key_of(service)).collect();
        let lookup = |key: &Key| services.get(&key.0, &key.1);
        let ended = async {
            table.rebuild(all, lookup).await?;
            backoff.reset();
            table.follow(lookup, &mut removals).await
        };
        tokio::select! {
            () = context.shutdown.cancelled() => return Ok(()),
            ended = ended => match ended {
                Ok(Gone) => {
                    tracing::warn!("somebody removed table {TABLE}: it is built anew");
                    continue;
                }
                Err(error) => tracing::error!(error = %stdx::error::chain(&error), "service rules are built anew"),
            }
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

fn zone_of(node: &Node) -> Option<&str> {
    node.metadata.labels.as_ref()?.get(ZONE).map(String::as_str)
}

fn key_of(service: &Service) -> Key {
    (service.metadata.namespace.clone().unwrap_or_default(), service.metadata.name.clone().unwrap_or_default())
}

fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    Some((slice.metadata.namespace.clone().unwrap_or_default(), name.clone()))
}

fn owner(key: &Key, service: Option<&Service>) -> Owner {
    let created = service.and_then(|service| service.metadata.creation_timestamp.as_ref());
    let created_s = created.map_or(0, |time| time.0.as_second());
    Owner { created_s, namespace: key.0.clone(), name: key.1.clone() }
}

fn index_key((namespace, name): Key) -> String {
    format!("{namespace}/{name}")
}

/// Somebody else removed the table.
struct Gone;

/// The table of this host as it was last written.
struct Table<'a> {
    config: &'a Config,
    dirty: &'a Dirty,
    slices: &'a Index<EndpointSlice>,
    /// The zone of this host.
    zone: &'a (dyn Fn() -> Option<String> + Sync),
    content: Content,
    held: HashMap<Key, (Owner, Contribution)>,
    /// What balancers are told of services, by port.
    checks: HashMap<Key, (u16, health::Check)>,
    serving: &'a mut Checks,
}

impl Table<'_> {
    /// Replaces whatever the kernel holds by the elements of these services.
    async fn rebuild(
        &mut self,
        keys: HashSet<Key>,
        lookup: impl Fn(&Key) -> Option<Arc<Service>>,
    ) -> Result<(), Error> {
        let mut batch = skeleton(self.config.cluster_cidr);
        self.write(keys, lookup, &mut batch);
        if let Err(error) = nft::apply(&batch).await {
            tracing::info!(error = %stdx::error::chain(&error), "the table that is there is taken away first");
            nft::apply(&(removal() + &batch)).await?;
        }
        tracing::info!(services = self.held.len(), "service rules written");
        // What was before is not known: endpoints may have gone while nobody looked.
        let stale = conntrack::survey(self.held.values().map(|(_, contribution)| contribution)).await;
        conntrack::forget(stale).await;
        Ok(())
    }

    /// Applies changes as they come, until the table is gone.
    async fn follow(
        &mut self,
        lookup: impl Fn(&Key) -> Option<Arc<Service>>,
        removals: &mut nft::Removals,
    ) -> Result<Gone, Error> {
        loop {
            let woken = tokio::select! {
                () = self.dirty.wake.notified() => true,
                () = removals.next() => false,
                () = tokio::time::sleep(RESYNC) => false,
            };
            if !woken {
                if !nft::has_table("ip", TABLE).await? {
                    return Ok(Gone);
                }
                continue;
            }
            tokio::time::sleep(GATHER).await;
            let keys = std::mem::take(&mut *lock(&self.dirty.keys));
            let mut batch = String::new();
            let stale = self.write(keys, &lookup, &mut batch);
            if !batch.is_empty() {
                nft::apply(&batch).await?;
            }
            conntrack::forget(stale).await;
        }
    }

    /// Adds to `batch` what changes for these services. Answers the UDP flows whose endpoint went away.
    fn write(
        &mut self,
        keys: HashSet<Key>,
        lookup: impl Fn(&Key) -> Option<Arc<Service>>,
        batch: &mut String,
    ) -> Vec<conntrack::Flow> {
        let mut stale = Vec::new();
        let nothing = Contribution::default();
        let zone = (self.zone)();
        let place = Place { node: &self.config.node_name, zone: zone.as_deref() };
        for key in keys {
            let slices = self.slices.get(&index_key(key.clone()));
            let service = lookup(&key);
            let new = service.as_ref().map(|service| contribution(service, &slices, place));
            match service.as_ref().and_then(|service| health::check(service, &slices, place.node)) {
                Some(check) => self.checks.insert(key.clone(), check),
                None => self.checks.remove(&key),
            };
            let (owner, new) = (owner(&key, service.as_deref()), new.unwrap_or_default());
            let (before, old) = self.held.remove(&key).unwrap_or_else(|| (owner.clone(), Contribution::default()));
            stale.extend(conntrack::stale_flows(&old, &new));
            // A service that was made anew under its name stands behind others that have its address now.
            let same = before == owner || service.is_none();
            let between = if same { &new } else { &nothing };
            batch.push_str(&self.content.transition(&before, &old, between));
            if !same {
                batch.push_str(&self.content.transition(&owner, &nothing, &new));
            }
            if new != nothing {
                self.held.insert(key, (owner, new));
            }
        }
        let mut checks: Vec<_> = self.checks.iter().collect();
        checks.sort_by_key(|(key, _)| *key);
        self.serving.set(checks.into_iter().map(|(_, check)| check.clone()));
        stale
    }
}

#[cfg(test)]
mod tests;
