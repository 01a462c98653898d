//! Writes into each Ingress where it is reached: the addresses of the nodes. One process of the cluster does it.

use std::time::Duration;

use client::Context;
use client::informer::Informer;
use client::leader::{Election, lead};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::routes::is_ours;
use crate::run::our_classes;

/// How often it is looked at; a new Ingress has its address after this long at most.
const PERIOD: Duration = Duration::from_secs(2);

/// Runs until the context shuts down.
pub async fn run(identity: String, context: Context) {
    let election = Election::new("kube-system", "rkctl-ingress", &identity);
    while !context.shutdown.is_cancelled() {
        let work = |_| write_all(context.clone());
        lead(&context.client, &election, &context.shutdown, work).await;
    }
}

async fn write_all(context: Context) {
    let ingresses = context.informers.all::<Ingress>();
    let classes = context.informers.all::<IngressClass>();
    let nodes = context.informers.all::<Node>();
    tokio::join!(ingresses.synced(), classes.synced(), nodes.synced());
    loop {
        let wanted = addresses(&nodes);
        let classes = our_classes(&classes);
        for ingress in ingresses.list(None).iter().filter(|ingress| is_ours(ingress, &classes)) {
            if present(ingress) != wanted {
                write(&context, ingress, &wanted).await;
            }
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// The addresses of the nodes that are ready, in order.
fn addresses(nodes: &Informer<Node>) -> Vec<String> {
    let all = nodes.list(None);
    let ready = all.iter().filter_map(|node| node.status.as_ref()).filter(|status| {
        status.conditions.iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    });
    let internal = ready.filter_map(|status| {
        let found = status.addresses.iter().flatten().find(|address| address.type_ == "InternalIP");
        found.map(|address| address.address.clone())
    });
    let mut addresses: Vec<String> = internal.collect();
    addresses.sort();
    addresses
}

fn present(ingress: &Ingress) -> Vec<String> {
    let balancer = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let entries = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    entries.filter_map(|entry| entry.ip.clone()).collect()
}

async fn write(context: &Context, ingress: &Ingress, addresses: &[String]) {
    let (Some(namespace), Some(name)) = (&ingress.metadata.namespace, &ingress.metadata.name) else { return };
    let entries: Vec<Value> = addresses.iter().map(|address| json!({"ip": address})).collect();
    let patch = json!({"status": {"loadBalancer": {"ingress": entries}}});
    let api: Api<Ingress> = Api::namespaced(context.client.clone(), namespace);
    if let Err(error) = api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await {
        tracing::warn!(namespace, name, error = %stdx::error::chain(&error), "cannot write the status of an Ingress");
    }
}
