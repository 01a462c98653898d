//! `rkctl node facts`: what the cluster says about itself, for `rkctl up`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use client::list;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Service};
use kube::Resource as _;
use kube::api::{Api, ListParams};
use provision::cluster_facts::{AddonFacts, ClusterFacts, GitOpsFacts, MANAGED_ANNOTATION, NodeFacts};

use super::{addons, api};
use crate::config::{SERVER_CONFIG, ServerConfiguration};
use crate::{exit, output, runtime};

/// Print what the cluster says about itself, for `rkctl up`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// First wait this long for the API server to be ready, and fail where it is not.
    #[arg(long, value_parser = api::duration)]
    wait_ready: Option<Duration>,
}

pub fn run(args: Args) -> exit::Answer {
    runtime::operator(async {
        let client = api::client().await?;
        if let Some(limit) = args.wait_ready {
            let look = || async { api::unready(&client).await.map_or(Ok(()), Err) };
            api::wait_for(limit, "the API server is not ready", look).await?;
        }
        output::print(&(serde_json::to_string(&facts(&client).await?)? + "\n"))?;
        Ok(exit::DONE)
    })
}

async fn facts(client: &kube::Client) -> anyhow::Result<ClusterFacts> {
    let unready = api::unready(client).await;
    let nodes = async { Ok(list::page::<Node>(client, &Node::url_path(&(), None), &ListParams::default()).await?) };
    let (nodes, addons, gitops) = tokio::try_join!(nodes, addon_facts(client), gitops_facts(client))?;
    let dns_answers = if addons.contains_key("dns") { Some(dns_answers(client).await) } else { None };
    let nodes = nodes.objects.iter().filter_map(|node| Some((node.metadata.name.clone()?, node_facts(node)))).collect();
    let (ready, unready) = (unready.is_none(), unready.unwrap_or_default());
    Ok(ClusterFacts { ready, unready, nodes, addons, dns_answers, gitops })
}

async fn gitops_facts(client: &kube::Client) -> anyhow::Result<Option<GitOpsFacts>> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), gitops::NAMESPACE);
    let Some(stored) = maps.get_opt(gitops::STATUS_NAME).await? else { return Ok(None) };
    // One that cannot be read is told by `rkctl gitops status`, and holds up nobody here.
    let Ok(status) = gitops::read_status(&stored) else { return Ok(None) };
    let message = status.error.filter(|_| !status.ready).unwrap_or(status.message);
    Ok(Some(GitOpsFacts { ready: status.ready, suspended: status.suspended, message }))
}

fn node_facts(node: &Node) -> NodeFacts {
    let spec = node.spec.clone().unwrap_or_default();
    let status = node.status.clone().unwrap_or_default();
    let readiness = api::readiness(node);
    // Kinds of taints this program does not know are nobody's business here.
    let taints = spec.taints.unwrap_or_default().into_iter();
    let taints = taints.filter_map(|taint| serde_json::from_value(serde_json::to_value(taint).ok()?).ok()).collect();
    let managed = node.metadata.annotations.as_ref().and_then(|all| all.get(MANAGED_ANNOTATION));
    NodeFacts {
        ready: readiness.is_ok(),
        message: readiness.err().unwrap_or_default(),
        labels: node.metadata.labels.clone().unwrap_or_default(),
        taints,
        managed: managed.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
        unschedulable: spec.unschedulable.unwrap_or(false),
        version: status.node_info.map(|info| info.kubelet_version).unwrap_or_default(),
        address: status
            .addresses
            .unwrap_or_default()
            .into_iter()
            .find(|address| address.type_ == "InternalIP")
            .map(|address| address.address)
            .unwrap_or_default(),
    }
}

async fn addon_facts(client: &kube::Client) -> anyhow::Result<BTreeMap<String, AddonFacts>> {
    let mut facts = BTreeMap::new();
    for (name, record) in addons::records(client).await? {
        let ready = addons::missing(client, &name, &record).await.is_none();
        facts.insert(name, AddonFacts { hash: record.hash, ready });
    }
    Ok(facts)
}

/// Whether the cluster's DNS answers for the API's own name.
pub async fn dns_answers(client: &kube::Client) -> bool {
    let services: Api<Service> = Api::namespaced(client.clone(), "kube-system");
    let Ok(Some(service)) = services.get_opt("kube-dns").await else { return false };
    let address = service.spec.and_then(|spec| spec.cluster_ip).and_then(|ip| ip.parse::<IpAddr>().ok());
    let Some(address) = address else { return false };
    let domain = ServerConfiguration::load(std::path::Path::new(SERVER_CONFIG))
        .map_or_else(|_| "cluster.local".to_owned(), |config| config.cluster_domain);
    any_answers(SocketAddr::new(address, 53), &format!("kubernetes.default.svc.{domain}")).await
}

/// Questions that are asked side by side, each from a port of its own: the service leads some of them to a pod whose
/// host was lost a moment ago, and resolvers ask again too.
const QUESTIONS: usize = 6;

/// Whether one of several questions is answered.
async fn any_answers(server: SocketAddr, name: &str) -> bool {
    let mut questions = tokio::task::JoinSet::new();
    for _ in 0..QUESTIONS {
        let name = name.to_owned();
        questions.spawn_blocking(move || asks(server, &name).is_ok_and(|found| found));
    }
    while let Some(answered) = questions.join_next().await {
        if answered.is_ok_and(|found| found) {
            return true;
        }
    }
    false
}

/// Asks for an address record (RFC 1035) and answers whether one came without an error.
fn asks(server: SocketAddr, name: &str) -> std::io::Result<bool> {
    const ANSWER_WITHIN: Duration = Duration::from_millis(500);
    const ID: [u8; 2] = [0x72, 0x6b];
    let mut question = vec![ID[0], ID[1], 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).unwrap_or(63).min(63));
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.set_read_timeout(Some(ANSWER_WITHIN))?;
    socket.connect(server)?;
    socket.send(&question)?;
    let mut answer = [0u8; 512];
    let size = socket.recv(&mut answer)?;
    let answers = u16::from_be_bytes([answer[6], answer[7]]);
    Ok(size >= 12 && answer[..2] == ID && answer[3] & 0x0f == 0 && answers > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers with one record where `answers` says so, and keeps silent otherwise.
    fn server(answers: impl Fn(usize) -> bool + Send + 'static) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut question = [0u8; 512];
            for count in 0..QUESTIONS {
                let Ok((size, from)) = socket.recv_from(&mut question) else { return };
                question[7] = 1;
                if answers(count) {
                    let _sent = socket.send_to(&question[..size], from);
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn dns_answers_where_one_of_its_pods_is_lost_and_not_where_all_are() {
        let name = "kubernetes.default.svc.cluster.local";
        assert!(any_answers(server(|count| count == QUESTIONS - 1), name).await);
        assert!(!any_answers(server(|_| false), name).await);
    }
}
