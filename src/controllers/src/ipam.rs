//! Gives every node a network for its pods, cut from the cluster's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use client::events::Recorder;
use client::informer::Informer;
use client::queue::{Outcome, WorkQueue};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::Shared;
use crate::common::error::{Error, doing};
use crate::common::ready;

/// Networks given out whose nodes the cache may not show yet, by node.
type Given = Arc<Mutex<BTreeMap<String, IpNet>>>;

/// Gives networks out until shutdown; nothing to do where the cluster has none.
///
/// # Errors
/// None; failures are retried.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let Some(cluster) = shared.config.pod_cidr else { return Ok(()) };
    let context = &shared.context;
    let queue = WorkQueue::<String>::new("node-ipam");
    let nodes = context.informers.all::<Node>();
    let enqueue = queue.clone();
    let given = Given::default();
    let forget = given.clone();
    nodes.on_change(move |change| {
        let name = change.object().name_any();
        if matches!(change, client::informer::Change::Deleted(_)) {
            forget.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        } else if network(change.object()).is_none() {
            enqueue.add(name);
        }
    });
    if !ready(context, nodes.synced()).await {
        return Ok(());
    }
    let recorder = Recorder::new(context.client.clone(), "cidrAllocator", "");
    let (client, prefix) = (context.client.clone(), shared.config.node_cidr_prefix);
    // One worker: two nodes must not be given the same network.
    queue
        .run_until(&context.shutdown, 1, move |name| {
            let (client, nodes, given, recorder) = (client.clone(), nodes.clone(), given.clone(), recorder.clone());
            async move { assign(client, &nodes, &given, &recorder, (cluster, prefix), &name).await }
        })
        .await;
    Ok(())
}

fn network(node: &Node) -> Option<IpNet> {
    node.spec.as_ref()?.pod_cidr.as_ref()?.parse().ok()
}

/// The first network of this prefix length in `cluster` that overlaps none of `used`.
pub fn next_free(cluster: IpNet, prefix: u8, used: &[IpNet]) -> Option<IpNet> {
    let mut subnets = cluster.subnets(prefix).ok()?;
    subnets.find(|subnet| !used.iter().any(|used| used.contains(subnet) || subnet.contains(used)))
}

async fn assign(
    client: kube::Client,
    nodes: &Informer<Node>,
    given: &Given,
    recorder: &Recorder,
    (cluster, prefix): (IpNet, u8),
    name: &str,
) -> Result<Outcome, Error> {
    let Some(node) = nodes.get("", name).filter(|node| network(node).is_none()) else { return Ok(Outcome::Done) };
    let chosen = {
        let mut given = given.lock().unwrap_or_else(PoisonError::into_inner);
        let others = nodes.list(None);
        let shown = others.iter().filter_map(|node| network(node));
        let used: Vec<IpNet> = shown.chain(given.values().copied()).collect();
        // What a node was given once stays its own while the request is repeated.
        let chosen = given.get(name).copied().or_else(|| next_free(cluster, prefix, &used));
        if let Some(chosen) = chosen {
            given.insert(name.to_string(), chosen);
        }
        chosen
    };
    let Some(chosen) = chosen else {
        recorder.warning(node.as_ref(), "CIDRNotAvailable", &format!("Node {name} status is now: CIDRNotAvailable"));
        return Err(Error::Object {
            object: format!("Node {name}"),
            problem: format!(
                "no /{prefix} is left in the pod network {cluster}; remove nodes or give the cluster more"
            ),
        });
    };
    let text = chosen.to_string();
    let patch = json!({"metadata": {"uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version},
        "spec": {"podCIDR": text, "podCIDRs": [text]}});
    let api: Api<Node> = Api::all(client);
    match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Err(error) if !client::is_not_found(&error) => {
            Err(doing(format!("give node {name} the network {chosen}"))(error))
        }
        _ => Ok(Outcome::Done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_given_out_in_order_without_overlap() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let cluster = net("10.42.0.0/16");
        for (used, expected) in [
            (vec![], Some("10.42.0.0/24")),
            (vec!["10.42.0.0/24", "10.42.2.0/24"], Some("10.42.1.0/24")),
            (vec!["10.42.0.0/23"], Some("10.42.2.0/24")),
            (vec!["10.42.0.128/25"], Some("10.42.1.0/24")),
            (vec!["10.0.0.0/8"], None),
        ] {
            let used: Vec<IpNet> = used.into_iter().map(net).collect();
            assert_eq!(next_free(cluster, 24, &used), expected.map(net), "{used:?}");
        }
    }
}
