//! Endpoints, the form of before EndpointSlices, of services that select pods.

use std::sync::Arc;

use client::informer::Informer;
use client::queue::{Outcome, WorkQueue};
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, PostParams};

use super::{Member, Port, families, is_headless, members, pod_changed, selector, selects};
use crate::Shared;
use crate::common::error::{Error, doing};
use crate::common::key::Key;
use crate::common::{namespaces, ready};

const WORKERS: usize = 5;
/// Addresses of one object, as in Kubernetes: its size is bounded.
const MOST_ADDRESSES: usize = 1000;
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const MANAGED_LABEL: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";

struct Controller {
    client: kube::Client,
    services: Informer<Service>,
    pods: Informer<Pod>,
    endpoints: Informer<Endpoints>,
}

/// Keeps Endpoints until shutdown.
///
/// # Errors
/// None; failures are retried.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let context = &shared.context;
    let queue = WorkQueue::new("endpoints");
    let (services, pods) = (context.informers.all::<Service>(), context.informers.all::<Pod>());
    let endpoints = context.informers.all::<Endpoints>();
    let controller = Arc::new(Controller {
        client: context.client.clone(),
        services: services.clone(),
        pods: pods.clone(),
        endpoints: endpoints.clone(),
    });
    let enqueue = queue.clone();
    services.on_change(move |change| enqueue.add(Key::of(&change.object().metadata)));
    let (enqueue, known) = (queue.clone(), services.clone());
    pods.on_change(move |change| pod_changed(change, &known, &enqueue));
    let enqueue = queue.clone();
    endpoints.on_change(move |change| enqueue.add(Key::of(&change.object().metadata)));
    if !ready(context, async { tokio::join!(services.synced(), pods.synced(), endpoints.synced()) }).await {
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

impl Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let api: Api<Endpoints> = Api::namespaced(self.client.clone(), &key.namespace);
        let existing = self.endpoints.get(&key.namespace, &key.name);
        let Some(service) = self.services.get(&key.namespace, &key.name) else {
            let ours =
                |endpoints: &Arc<Endpoints>| endpoints.labels().get(MANAGED_LABEL).map(String::as_str) == Some(MANAGER);
            if existing.as_ref().is_some_and(ours) {
                match api.delete(&key.name, &DeleteParams::default()).await {
                    Err(error) if !client::is_not_found(&error) => {
                        return Err(doing(format!("delete Endpoints {key}"))(error));
                    }
                    _ => {}
                }
            }
            return Ok(Outcome::Done);
        };
        let Some(selector) = selector(&service) else { return Ok(Outcome::Done) };
        let mut pods = self.pods.list(Some(&key.namespace));
        pods.retain(|pod| selects(selector, pod));
        let Some(wanted) = plan(&service, &pods, existing.as_deref()) else { return Ok(Outcome::Done) };
        let params = PostParams::default();
        let done = match existing {
            Some(_) => api.replace(&key.name, &params, &wanted).await,
            None => api.create(&params, &wanted).await,
        };
        match done {
            // The namespace goes away and takes the service with it.
            Err(error) if namespaces::goes_away(&error) => {}
            other => {
                other.map_err(doing(format!("write Endpoints {key}")))?;
            }
        }
        Ok(Outcome::Done)
    }
}

fn address(member: &Member) -> EndpointAddress {
    EndpointAddress {
        ip: member.address.clone(),
        hostname: member.hostname.clone(),
        node_name: member.node.clone(),
        target_ref: Some(member.target.clone()),
    }
}

fn port(port: &Port) -> EndpointPort {
    EndpointPort {
        name: Some(port.name.clone()).filter(|name| !name.is_empty()),
        port: port.port,
        protocol: Some(port.protocol.clone()),
        app_protocol: port.app_protocol.clone(),
    }
}

/// The object as it should be; `None` where it is so already.
pub fn plan(service: &Service, pods: &[Arc<Pod>], existing: Option<&Endpoints>) -> Option<Endpoints> {
    let publish = service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false);
    let family = *families(service).first()?;
    let mut room = MOST_ADDRESSES;
    let mut truncated = false;
    let mut subsets = Vec::new();
    for (ports, mut members) in members(service, pods, family) {
        members.retain(|member| publish || !member.terminating);
        // Where not all fit, those that can be used are kept.
        members.sort_by_key(|member| !member.ready);
        truncated |= members.len() > room;
        members.truncate(room);
        room -= members.len();
        let (ready, not_ready): (Vec<_>, Vec<_>) = members.iter().partition(|member| member.ready);
        let list = |members: Vec<&Member>| {
            let addresses: Vec<EndpointAddress> = members.into_iter().map(address).collect();
            Some(addresses).filter(|addresses| !addresses.is_empty())
        };
        let (addresses, not_ready_addresses) = (list(ready), list(not_ready));
        if addresses.is_some() || not_ready_addresses.is_some() {
            let ports = Some(ports.iter().map(port).collect::<Vec<_>>()).filter(|ports| !ports.is_empty());
            subsets.push(EndpointSubset { addresses, not_ready_addresses, ports });
        }
    }
    let mut wanted = existing.cloned().unwrap_or_else(|| Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.namespace(),
            ..ObjectMeta::default()
        },
        subsets: None,
    });
    let mut labels = service.labels().clone();
    labels.insert(MANAGED_LABEL.to_string(), MANAGER.to_string());
    if is_headless(service) {
        labels.insert(HEADLESS_LABEL.to_string(), String::new());
    }
    *wanted.labels_mut() = labels;
    if truncated {
        wanted.annotations_mut().insert(OVER_CAPACITY.to_string(), "truncated".to_string());
    } else if let Some(annotations) = &mut wanted.metadata.annotations {
        annotations.remove(OVER_CAPACITY);
    }
    wanted.subsets = Some(subsets).filter(|subsets| !subsets.is_empty());
    let same = existing.is_some_and(|existing| {
        *existing.labels() == *wanted.labels()
            && *existing.annotations() == *wanted.annotations()
            && existing.subsets.as_deref().unwrap_or_default() == wanted.subsets.as_deref().unwrap_or_default()
    });
    (!same).then_some(wanted)
}
