//! EndpointSlices of services that select pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::informer::{Change, Index, Informer};
use client::queue::{Outcome, WorkQueue};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode, ForZone,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, PostParams};

use super::{Family, Groups, Member, Port, families, is_headless, members, pod_changed, selector, selects};
use crate::Shared;
use crate::common::error::{Error, doing};
use crate::common::hash::hash_text;
use crate::common::key::Key;
use crate::common::owners::controller_reference;
use crate::common::{namespaces, ready};

const WORKERS: usize = 5;
/// Endpoints of one slice, as in Kubernetes.
const SLICE_ENDPOINTS: usize = 100;
pub(super) const SERVICE_LABEL: &str = "kubernetes.io/service-name";
pub(super) const MANAGED_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

struct Controller {
    client: kube::Client,
    services: Informer<Service>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    slices: Index<EndpointSlice>,
}

/// What to do for a service.
#[derive(Debug, Default)]
pub struct Plan {
    pub create: Vec<EndpointSlice>,
    pub update: Vec<EndpointSlice>,
    pub delete: Vec<String>,
}

/// Keeps slices until shutdown.
///
/// # Errors
/// None; failures are retried.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let context = &shared.context;
    let queue = WorkQueue::new("endpointslice");
    let (services, pods) = (context.informers.all::<Service>(), context.informers.all::<Pod>());
    let (nodes, slices) = (context.informers.all::<Node>(), context.informers.all::<EndpointSlice>());
    let by_service = slices.index("service", |slice| {
        let name = slice.labels().get(SERVICE_LABEL);
        let ours = slice.labels().get(MANAGED_LABEL).map(String::as_str) == Some(MANAGER);
        name.filter(|_| ours)
            .map(|name| format!("{}/{name}", slice.namespace().unwrap_or_default()))
            .into_iter()
            .collect()
    });
    let controller = Arc::new(Controller {
        client: context.client.clone(),
        services: services.clone(),
        pods: pods.clone(),
        nodes: nodes.clone(),
        slices: by_service,
    });
    let enqueue = queue.clone();
    services.on_change(move |change| enqueue.add(Key::of(&change.object().metadata)));
    let (enqueue, known) = (queue.clone(), services.clone());
    pods.on_change(move |change| pod_changed(change, &known, &enqueue));
    let enqueue = queue.clone();
    slices.on_change(move |change| slice_changed(change, &enqueue));
    let (enqueue, known) = (queue.clone(), services.clone());
    nodes.on_change(move |change| {
        if is_in_another_zone(change) {
            known.list(None).iter().for_each(|service| enqueue.add(Key::of(&service.metadata)));
        }
    });
    let synced = async { tokio::join!(services.synced(), pods.synced(), nodes.synced(), slices.synced()) };
    if !ready(context, synced).await {
        return Ok(());
    }
    queue
        .run_until(&context.shutdown, WORKERS, move |key| {
            let controller = controller.clone();
            async move { controller.reconcile(&key).await }
        })
        .await;
    Ok(())
}

/// Whether endpoints on the node are in another zone than before.
pub(super) fn is_in_another_zone(change: &Change<Node>) -> bool {
    let zone = |node: &Node| node.labels().get(ZONE_LABEL).cloned();
    match change {
        // A node may be seen after the pods on it.
        Change::Added(node) => zone(node).is_some(),
        Change::Updated(old, new) => zone(old) != zone(new),
        // Its pods go too.
        Change::Deleted(_) => false,
    }
}

/// Someone else changed or deleted a slice of ours.
fn slice_changed(change: &Change<EndpointSlice>, queue: &WorkQueue<Key>) {
    let slice = change.object();
    if slice.labels().get(MANAGED_LABEL).map(String::as_str) == Some(MANAGER)
        && let Some(service) = slice.labels().get(SERVICE_LABEL)
    {
        queue.add(Key::new(&slice.namespace().unwrap_or_default(), service));
    }
}

impl Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        // Slices of a service that is gone are the garbage collector's.
        let Some(service) = self.services.get(&key.namespace, &key.name) else { return Ok(Outcome::Done) };
        let Some(selector) = selector(&service) else { return Ok(Outcome::Done) };
        if service.metadata.deletion_timestamp.is_some() {
            return Ok(Outcome::Done);
        }
        let mut pods = self.pods.list(Some(&key.namespace));
        pods.retain(|pod| selects(selector, pod));
        let wanted: Vec<(Family, Groups)> =
            families(&service).into_iter().map(|family| (family, members(&service, &pods, family))).collect();
        let zone = |node: &str| self.nodes.get("", node).and_then(|node| node.labels().get(ZONE_LABEL).cloned());
        let existing = self.slices.get(&key.to_string());
        let planned = plan(&service, &wanted, &existing, zone);
        self.carry_out(key, planned).await?;
        Ok(Outcome::Done)
    }

    async fn carry_out(&self, key: &Key, plan: Plan) -> Result<(), Error> {
        let api: Api<EndpointSlice> = Api::namespaced(self.client.clone(), &key.namespace);
        let params = PostParams::default();
        for slice in plan.create {
            let done = api.create(&params, &slice).await;
            match done {
                // The namespace goes away and takes the service with it.
                Err(error) if namespaces::goes_away(&error) => {}
                other => {
                    other.map_err(doing(format!("create an EndpointSlice of service {key}")))?;
                }
            }
        }
        for slice in plan.update {
            let done = api.replace(&slice.name_any(), &params, &slice).await;
            done.map_err(doing(format!("update EndpointSlice {}/{}", key.namespace, slice.name_any())))?;
        }
        for name in plan.delete {
            match api.delete(&name, &DeleteParams::default()).await {
                Err(error) if !client::is_not_found(&error) => {
                    return Err(doing(format!("delete EndpointSlice {}/{name}", key.namespace))(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// For whom the endpoint is, by the service's `trafficDistribution`; nobody is sent to one that is not ready.
fn hints(service: &Service, member: &Member, zone: Option<&String>) -> Option<EndpointHints> {
    let wanted = service.spec.as_ref()?.traffic_distribution.as_deref().filter(|_| member.ready)?;
    let for_zones = zone.map(|zone| vec![ForZone { name: zone.clone() }]);
    let for_nodes = member.node.as_ref().map(|node| vec![ForNode { name: node.clone() }]);
    let hints = match wanted {
        "PreferClose" | "PreferSameZone" => EndpointHints { for_zones, for_nodes: None },
        "PreferSameNode" => EndpointHints { for_zones, for_nodes },
        _ => return None,
    };
    (hints != EndpointHints::default()).then_some(hints)
}

fn endpoint(service: &Service, member: &Member, zone: &impl Fn(&str) -> Option<String>) -> Endpoint {
    let zone = member.node.as_deref().and_then(zone);
    Endpoint {
        addresses: vec![member.address.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(member.ready),
            serving: Some(member.serving),
            terminating: Some(member.terminating),
        }),
        hostname: member.hostname.clone(),
        node_name: member.node.clone(),
        target_ref: Some(member.target.clone()),
        hints: hints(service, member, zone.as_ref()),
        zone,
        ..Endpoint::default()
    }
}

pub(super) fn endpoint_ports(ports: &[Port]) -> Vec<EndpointPort> {
    let port = |port: &Port| EndpointPort {
        name: Some(port.name.clone()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone()),
        app_protocol: port.app_protocol.clone(),
    };
    ports.iter().map(port).collect()
}

pub(super) fn ports_of(slice: &EndpointSlice) -> Vec<Port> {
    let port = |port: &EndpointPort| Port {
        name: port.name.clone().unwrap_or_default(),
        protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_string()),
        port: port.port.unwrap_or(0),
        app_protocol: port.app_protocol.clone(),
    };
    let mut ports: Vec<Port> = slice.ports.iter().flatten().map(port).collect();
    ports.sort();
    ports
}

/// What tells endpoints apart: the pod and its address.
fn identity(endpoint: &Endpoint) -> (Option<String>, Option<String>) {
    (endpoint.target_ref.as_ref().and_then(|target| target.uid.clone()), endpoint.addresses.first().cloned())
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.labels().clone();
    labels.insert(SERVICE_LABEL.to_string(), service.name_any());
    labels.insert(MANAGED_LABEL.to_string(), MANAGER.to_string());
    if is_headless(service) {
        labels.insert(HEADLESS_LABEL.to_string(), String::new());
    } else {
        labels.remove(HEADLESS_LABEL);
    }
    labels
}

/// Compares what a service's slices should hold with what they do. An endpoint stays in its slice, so that a change
/// of one pod is a change of one slice.
pub fn plan(
    service: &Service,
    wanted: &[(Family, Groups)],
    existing: &[Arc<EndpointSlice>],
    zone: impl Fn(&str) -> Option<String>,
) -> Plan {
    let mut plan = Plan::default();
    let mut left: Vec<Arc<EndpointSlice>> = existing.to_vec();
    left.sort_by_key(|slice| slice.name_any());
    let mut taken: Vec<String> = left.iter().map(|slice| slice.name_any()).collect();
    for (family, groups) in wanted {
        // A service without endpoints has one empty slice, which says that it has none.
        let nothing = Groups::from([(Vec::new(), Vec::new())]);
        for (ports, members) in if groups.is_empty() { &nothing } else { groups } {
            let (same, other): (Vec<_>, Vec<_>) =
                left.into_iter().partition(|slice| slice.address_type == family.as_str() && ports_of(slice) == *ports);
            left = other;
            let endpoints = members.iter().map(|member| endpoint(service, member, &zone)).collect();
            fill(service, *family, ports, endpoints, same, &mut taken, &mut plan);
        }
    }
    plan.delete.extend(left.iter().map(|slice| slice.name_any()));
    plan
}

/// One group of equal ports.
fn fill(
    service: &Service,
    family: Family,
    ports: &[Port],
    wanted: Vec<Endpoint>,
    slices: Vec<Arc<EndpointSlice>>,
    taken: &mut Vec<String>,
    plan: &mut Plan,
) {
    let mut left: BTreeMap<_, Endpoint> = wanted.into_iter().map(|endpoint| (identity(&endpoint), endpoint)).collect();
    let mut filled: Vec<(Arc<EndpointSlice>, Vec<Endpoint>)> = slices
        .into_iter()
        .map(|slice| {
            let kept =
                slice.endpoints.iter().flatten().filter_map(|endpoint| left.remove(&identity(endpoint))).collect();
            (slice, kept)
        })
        .collect();
    let mut left = left.into_values();
    // The fullest first, so that the others empty.
    let mut order: Vec<usize> = (0..filled.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(filled[*at].1.len()));
    for at in order {
        let room = SLICE_ENDPOINTS.saturating_sub(filled[at].1.len());
        filled[at].1.extend(left.by_ref().take(room));
    }
    let labels = labels(service);
    let mut kept = 0;
    let total: usize = filled.iter().map(|(_, endpoints)| endpoints.len()).sum();
    let more: Vec<Endpoint> = left.collect();
    for (slice, endpoints) in filled {
        if endpoints.is_empty() && (total > 0 || kept > 0) {
            plan.delete.push(slice.name_any());
            continue;
        }
        kept += 1;
        let unchanged = slice.endpoints.as_deref().unwrap_or_default() == endpoints && *slice.labels() == labels;
        if !unchanged {
            let mut slice = slice.as_ref().clone();
            slice.endpoints = Some(endpoints);
            slice.metadata.labels = Some(labels.clone());
            plan.update.push(slice);
        }
    }
    let chunks: Vec<Vec<Endpoint>> = if more.is_empty() && kept == 0 {
        vec![Vec::new()]
    } else {
        more.chunks(SLICE_ENDPOINTS).map(<[Endpoint]>::to_vec).collect()
    };
    for endpoints in chunks {
        let name = free_name(service, family, ports, taken);
        taken.push(name.clone());
        plan.create.push(EndpointSlice {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: service.namespace(),
                labels: Some(labels.clone()),
                owner_references: Some(vec![controller_reference(service)]),
                ..ObjectMeta::default()
            },
            address_type: family.as_str().to_string(),
            endpoints: Some(endpoints),
            ports: Some(endpoint_ports(ports)),
        });
    }
}

/// A name that follows from the content: made twice from a stale cache, it is refused the second time.
fn free_name(service: &Service, family: Family, ports: &[Port], taken: &[String]) -> String {
    let uid = service.uid().unwrap_or_default();
    let candidates = (0..).map(|n: u32| {
        let hash = hash_text(&format!("{uid}/{}/{ports:?}/{n}", family.as_str()));
        format!("{}-{}", service.name_any(), &hash[..hash.len().min(8)])
    });
    let mut candidates = candidates;
    candidates.find(|name| !taken.contains(name)).unwrap_or_default()
}
