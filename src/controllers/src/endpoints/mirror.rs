//! Endpoints that somebody keeps by hand, for a service without a selector, as EndpointSlices: proxies and DNS read
//! slices alone. A slice for each family of addresses and group of ports; what is written follows from the Endpoints
//! and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::informer::{Change, Index, Informer};
use client::queue::{Outcome, WorkQueue};
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, PostParams};

use super::slices::{MANAGED_LABEL, SERVICE_LABEL, endpoint_ports, ports_of};
use super::{Family, Port, selector};
use crate::Shared;
use crate::common::error::{Error, doing};
use crate::common::hash::hash_text;
use crate::common::key::Key;
use crate::common::owners::controller_reference;
use crate::common::{namespaces, ready};

const WORKERS: usize = 2;
const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// Endpoints with this label are nobody's to mirror: whoever writes them writes slices too.
const SKIP_LABEL: &str = "endpointslice.kubernetes.io/skip-mirror";
/// The older way of electing leaders kept its record here.
const LEADER_ANNOTATION: &str = "control-plane.alpha.kubernetes.io/leader";
/// What a slice need not repeat.
const APPLIED_ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Addresses of one subset that are mirrored, and of one slice, as in Kubernetes.
const SUBSET_ADDRESSES: usize = 1000;

struct Controller {
    client: kube::Client,
    services: Informer<Service>,
    endpoints: Informer<Endpoints>,
    slices: Index<EndpointSlice>,
}

/// What to do for one object.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub create: Vec<EndpointSlice>,
    pub update: Vec<EndpointSlice>,
    pub delete: Vec<String>,
}

/// Mirrors until shutdown.
///
/// # Errors
/// None; failures are retried.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let context = &shared.context;
    let queue = WorkQueue::new("endpointslicemirroring");
    let (services, endpoints) = (context.informers.all::<Service>(), context.informers.all::<Endpoints>());
    let slices = context.informers.all::<EndpointSlice>();
    let by_service = slices.index("mirrored", |slice| mirrored(slice).map(|key| key.to_string()).into_iter().collect());
    let controller = Arc::new(Controller {
        client: context.client.clone(),
        services: services.clone(),
        endpoints: endpoints.clone(),
        slices: by_service,
    });
    let enqueue = queue.clone();
    services.on_change(move |change| enqueue.add(Key::of(&change.object().metadata)));
    let enqueue = queue.clone();
    endpoints.on_change(move |change| enqueue.add(Key::of(&change.object().metadata)));
    let enqueue = queue.clone();
    slices.on_change(move |change: &Change<EndpointSlice>| {
        mirrored(change.object()).into_iter().for_each(|key| enqueue.add(key));
    });
    if !ready(context, async { tokio::join!(services.synced(), endpoints.synced(), slices.synced()) }).await {
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

/// The Endpoints that a slice of ours mirrors.
fn mirrored(slice: &EndpointSlice) -> Option<Key> {
    let ours = slice.labels().get(MANAGED_LABEL).map(String::as_str) == Some(MANAGER);
    let name = slice.labels().get(SERVICE_LABEL).filter(|_| ours)?;
    Some(Key::new(&slice.namespace().unwrap_or_default(), name))
}

/// Whether the Endpoints are kept by hand for a service that finds no pods by itself.
fn is_custom(endpoints: &Endpoints, service: &Service) -> bool {
    endpoints.metadata.deletion_timestamp.is_none()
        && selector(service).is_none()
        && endpoints.labels().get(SKIP_LABEL).map(String::as_str) != Some("true")
        && !endpoints.annotations().contains_key(LEADER_ANNOTATION)
}

impl Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let existing = self.slices.get(&key.to_string());
        let endpoints = self.endpoints.get(&key.namespace, &key.name);
        let service = self.services.get(&key.namespace, &key.name);
        let custom = endpoints.zip(service).filter(|(endpoints, service)| is_custom(endpoints, service));
        let planned = plan(custom.as_ref().map(|(endpoints, _)| endpoints.as_ref()), &existing);
        let api: Api<EndpointSlice> = Api::namespaced(self.client.clone(), &key.namespace);
        let params = PostParams::default();
        for slice in planned.create {
            match api.create(&params, &slice).await {
                // The namespace goes away and takes the Endpoints with it.
                Err(error) if namespaces::goes_away(&error) => {}
                done => drop(done.map_err(doing(format!("mirror Endpoints {key}")))?),
            }
        }
        for slice in planned.update {
            let done = api.replace(&slice.name_any(), &params, &slice).await;
            done.map_err(doing(format!("update EndpointSlice {}/{}", key.namespace, slice.name_any())))?;
        }
        for name in planned.delete {
            match api.delete(&name, &DeleteParams::default()).await {
                Err(error) if !client::is_not_found(&error) => {
                    return Err(doing(format!("delete EndpointSlice {}/{name}", key.namespace))(error));
                }
                _ => {}
            }
        }
        Ok(Outcome::Done)
    }
}

/// Compares the slices that Endpoints should have with those that they do; `None` should have none.
pub fn plan(endpoints: Option<&Endpoints>, existing: &[Arc<EndpointSlice>]) -> Plan {
    let mut plan = Plan::default();
    let mut wanted = endpoints.map(slices).unwrap_or_default();
    for slice in existing {
        let name = slice.name_any();
        let Some(fresh) = wanted.remove(&name) else {
            plan.delete.push(name);
            continue;
        };
        let same = slice.labels() == fresh.labels()
            && slice.annotations() == fresh.annotations()
            && slice.endpoints.as_deref().unwrap_or_default() == fresh.endpoints.as_deref().unwrap_or_default()
            && ports_of(slice) == ports_of(&fresh);
        if !same {
            let metadata = ObjectMeta {
                labels: fresh.metadata.labels,
                annotations: fresh.metadata.annotations,
                ..slice.metadata.clone()
            };
            plan.update.push(EndpointSlice { metadata, ..fresh });
        }
    }
    plan.create = wanted.into_values().collect();
    plan
}

/// The slices of Endpoints by their names, which follow from family and ports.
fn slices(endpoints: &Endpoints) -> BTreeMap<String, EndpointSlice> {
    let mut groups: BTreeMap<(Family, Vec<Port>), Vec<Endpoint>> = BTreeMap::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let unready = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        for (address, ready) in ready.chain(unready).take(SUBSET_ADDRESSES) {
            let family = if Family::V6.has(&address.ip) { Family::V6 } else { Family::V4 };
            let group = groups.entry((family, ports(subset))).or_default();
            let fresh = endpoint(address, ready);
            // Subsets with equal ports may repeat an address.
            if group.len() < SUBSET_ADDRESSES && !group.iter().any(|known| known.addresses == fresh.addresses) {
                group.push(fresh);
            }
        }
    }
    let of = |((family, ports), members): ((Family, Vec<Port>), Vec<Endpoint>)| {
        let text = format!("{}/{}/{ports:?}", endpoints.uid().unwrap_or_default(), family.as_str());
        let hash = hash_text(&text);
        let name = format!("{}-{}", endpoints.name_any(), &hash[..hash.len().min(8)]);
        (name.clone(), slice(endpoints, name, family, &ports, members))
    };
    groups.into_iter().map(of).collect()
}

fn ports(subset: &EndpointSubset) -> Vec<Port> {
    let ports = subset.ports.iter().flatten().map(|port| Port {
        name: port.name.clone().unwrap_or_default(),
        protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_string()),
        port: port.port,
        app_protocol: port.app_protocol.clone(),
    });
    let mut ports: Vec<Port> = ports.collect();
    ports.sort();
    ports
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn slice(endpoints: &Endpoints, name: String, family: Family, ports: &[Port], members: Vec<Endpoint>) -> EndpointSlice {
    let mut labels = endpoints.labels().clone();
    labels.insert(SERVICE_LABEL.to_string(), endpoints.name_any());
    labels.insert(MANAGED_LABEL.to_string(), MANAGER.to_string());
    let mut annotations = endpoints.annotations().clone();
    annotations.remove(APPLIED_ANNOTATION);
    EndpointSlice {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: endpoints.namespace(),
            labels: Some(labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            owner_references: Some(vec![controller_reference(endpoints)]),
            ..ObjectMeta::default()
        },
        address_type: family.as_str().to_string(),
        endpoints: Some(members),
        ports: Some(endpoint_ports(ports)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn endpoints(subsets: Value) -> Endpoints {
        let annotations = json!({"a": "b", APPLIED_ANNOTATION: "{}"});
        serde_json::from_value(json!({"metadata": {"name": "db", "namespace": "n", "uid": "u", "labels": {"x": "y"},
            "annotations": annotations}, "subsets": subsets}))
        .unwrap()
    }

    fn made(subsets: Value) -> Vec<EndpointSlice> {
        plan(Some(&endpoints(subsets)), &[]).create
    }

    #[test]
    fn subsets_become_a_slice_for_each_family_and_group_of_ports() {
        let slices = made(json!([
            {"addresses": [{"ip": "192.0.2.1", "hostname": "one"}, {"ip": "2001:db8::1"}],
             "notReadyAddresses": [{"ip": "192.0.2.2"}], "ports": [{"name": "sql", "port": 5432}]},
            {"addresses": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.3"}], "ports": [{"name": "sql", "port": 5432}]},
            {"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80, "protocol": "UDP"}]}
        ]));
        let mut shown: Vec<String> = slices
            .iter()
            .map(|slice| {
                let of = |endpoint: &Endpoint| {
                    let ready = endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap();
                    format!("{}{}", endpoint.addresses[0], if ready { "" } else { "!" })
                };
                let members: Vec<_> = slice.endpoints.iter().flatten().map(of).collect();
                format!("{} {} {}", slice.address_type, ports_of(slice)[0].port, members.join(","))
            })
            .collect();
        shown.sort();
        assert_eq!(shown, ["IPv4 5432 192.0.2.1,192.0.2.2!,192.0.2.3", "IPv4 80 192.0.2.1", "IPv6 5432 2001:db8::1"]);
        let metadata = &slices[0].metadata;
        let labels = metadata.labels.as_ref().unwrap();
        assert_eq!(
            (labels[SERVICE_LABEL].as_str(), labels[MANAGED_LABEL].as_str(), labels["x"].as_str()),
            ("db", MANAGER, "y")
        );
        assert_eq!(metadata.annotations.as_ref().unwrap().len(), 1, "what kubectl applied is not repeated");
        assert_eq!(metadata.owner_references.as_ref().unwrap()[0].kind, "Endpoints");
    }

    #[test]
    fn a_change_is_a_change_of_its_slice_and_the_end_takes_all() {
        let subsets = |ip: &str| json!([{"addresses": [{"ip": ip}], "ports": [{"port": 80}]}]);
        let first: Vec<_> = made(subsets("192.0.2.1")).into_iter().map(Arc::new).collect();
        assert_eq!(plan(Some(&endpoints(subsets("192.0.2.1"))), &first), Plan::default());
        let changed = plan(Some(&endpoints(subsets("192.0.2.9"))), &first);
        assert_eq!((changed.create.len(), changed.update.len(), changed.delete.len()), (0, 1, 0));
        assert_eq!(changed.update[0].metadata.name, first[0].metadata.name);
        let moved =
            plan(Some(&endpoints(json!([{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 81}]}]))), &first);
        assert_eq!((moved.create.len(), moved.update.len(), moved.delete.len()), (1, 0, 1));
        assert_eq!(plan(None, &first).delete, [first[0].name_any()]);
    }

    #[test]
    fn only_what_is_kept_by_hand_is_mirrored() {
        let service = |spec: Value| serde_json::from_value::<Service>(json!({"metadata": {}, "spec": spec})).unwrap();
        let plain = endpoints(json!([]));
        assert!(is_custom(&plain, &service(json!({"clusterIP": "10.43.0.1"}))));
        assert!(!is_custom(&plain, &service(json!({"selector": {"a": "b"}}))));
        let mut skipped = plain.clone();
        skipped.metadata.labels.get_or_insert_default().insert(SKIP_LABEL.into(), "true".into());
        assert!(!is_custom(&skipped, &service(json!({}))));
        let mut elected = plain;
        elected.metadata.annotations.get_or_insert_default().insert(LEADER_ANNOTATION.into(), "{}".into());
        assert!(!is_custom(&elected, &service(json!({}))));
    }
}
