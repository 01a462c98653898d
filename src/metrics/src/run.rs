//! Keeps the readings fresh and the APIService pointing here.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use client::Context;
use client::informer::Informer;
use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::api::{Labels, node_metrics, pod_metrics};
use crate::reading::{NodeUsage, Reading};
use crate::{Error, scrape, serve, tls};

/// How often agents are asked.
const INTERVAL: Duration = Duration::from_secs(15);
/// The first rate is wanted sooner: a cluster that has just come up should answer `kubectl top`.
const FIRST_INTERVAL: Duration = Duration::from_secs(2);
/// Agents asked at a time.
const MAX_PARALLEL: usize = 32;
/// Figures older than this are not shown.
const MAX_AGE: Duration = Duration::from_secs(90);

/// What the metrics server needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where HTTPS is listened on.
    pub listen: SocketAddr,
    /// The name that the API server expects in the certificate: `metrics.kube-system.svc`.
    pub host: String,
    /// The cluster's CA, by which agents are known.
    pub cluster_ca: PathBuf,
}

/// Runs until the context shuts down.
///
/// # Errors
/// Where the API refuses what is needed at the start, or the address cannot be listened on.
pub async fn run(config: Config, context: Context) -> Result<(), Error> {
    let ca_path = config.cluster_ca.display().to_string();
    let ca = std::fs::read_to_string(&config.cluster_ca).map_err(|source| Error::Read { path: ca_path, source })?;
    let agents = tls::agents(&ca)?;
    let (serving, authority) = tls::serving(&config.host, &front_proxy_ca(&context).await?)?;
    let board = Arc::new(Board::new(&context));
    board.nodes.synced().await;
    board.pods.synced().await;
    publish_authority(&context, &authority).await?;
    let server = tokio::spawn(serve::serve(config.listen, serving, board.clone(), context.shutdown.clone()));
    tracing::info!(address = %config.listen, "serving the metrics API");
    let rounds = async {
        board.read_all(&agents).await;
        tokio::time::sleep(FIRST_INTERVAL).await;
        loop {
            board.read_all(&agents).await;
            tokio::time::sleep(INTERVAL).await;
        }
    };
    tokio::select! {
        () = context.shutdown.cancelled() => Ok(()),
        () = rounds => Ok(()),
        ended = server => ended.map_err(|error| Error::Tls(error.to_string()))?,
    }
}

async fn front_proxy_ca(context: &Context) -> Result<String, Error> {
    let doing = "reading the front proxy's CA from the configuration of extension API servers";
    let maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), "kube-system");
    let map = maps
        .get("extension-apiserver-authentication")
        .await
        .map_err(|source| Error::Api { doing, source: Box::new(source) })?;
    let ca = map.data.and_then(|mut data| data.remove("requestheader-client-ca-file"));
    ca.ok_or_else(|| Error::Tls("the API server does not publish its front proxy's CA".to_string()))
}

/// The API server trusts this pod's certificate from here on.
async fn publish_authority(context: &Context, authority_pem: &str) -> Result<(), Error> {
    let services: Api<APIService> = Api::all(context.client.clone());
    let patch = json!({"spec": {"caBundle": ByteString(authority_pem.as_bytes().to_vec())}});
    services.patch("v1beta1.metrics.k8s.io", &PatchParams::default(), &Patch::Merge(patch)).await.map_err(
        |source| Error::Api { doing: "publishing this pod's CA in its APIService", source: Box::new(source) },
    )?;
    Ok(())
}

/// The latest figures of every node.
pub struct Board {
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    readings: Mutex<HashMap<String, (Reading, Option<NodeUsage>)>>,
}

impl Board {
    fn new(context: &Context) -> Self {
        let (nodes, pods) = (context.informers.all::<Node>(), context.informers.all::<Pod>());
        Self { nodes, pods, readings: Mutex::default() }
    }

    /// Every node that has figures.
    pub fn nodes(&self) -> Vec<Value> {
        let nodes = self.nodes.list(None);
        nodes.iter().filter_map(|node| self.node(node.metadata.name.as_deref()?)).collect()
    }

    /// One node, where it has figures.
    pub fn node(&self, name: &str) -> Option<Value> {
        let node = self.nodes.get("", name)?;
        let labels = Labels(node.metadata.labels.clone().unwrap_or_default());
        let readings = self.lock();
        let usage = fresh(readings.get(name)?)?;
        Some(node_metrics(name, &labels, usage))
    }

    /// Every pod that has figures, of one namespace or all.
    pub fn pods(&self, namespace: Option<&str>) -> Vec<Value> {
        let mut found = BTreeMap::new();
        for usage in self.lock().values().filter_map(fresh) {
            found.extend(pod_metrics(usage, |namespace, name| {
                let pod = self.pods.get(namespace, name)?;
                Some(Labels(pod.metadata.labels.clone().unwrap_or_default()))
            }));
        }
        let wanted = |of: &str| namespace.is_none_or(|namespace| namespace == of);
        found.into_iter().filter(|((of, _), _)| wanted(of)).map(|(_, object)| object).collect()
    }

    /// One pod, where it has figures.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<Value> {
        self.pods(Some(namespace)).into_iter().find(|object| object["metadata"]["name"] == name)
    }

    /// Asks every agent once.
    async fn read_all(&self, tls: &Arc<rustls::ClientConfig>) {
        let nodes = self.nodes.list(None);
        let targets = nodes.iter().filter_map(|node| Some((node.metadata.name.clone()?, internal_address(node)?)));
        let answers = futures::stream::iter(targets.collect::<Vec<_>>()).map(|(name, address)| {
            let tls = tls.clone();
            async move {
                let reading = scrape::scrape(&name, address, tls).await;
                (name, reading)
            }
        });
        let answers: Vec<_> = answers.buffer_unordered(MAX_PARALLEL).collect().await;
        let mut readings = self.lock();
        readings.retain(|name, _| self.nodes.get("", name).is_some());
        for (name, answer) in answers {
            match answer {
                Ok(reading) => {
                    let usage = readings.get(&name).and_then(|(earlier, _)| reading.since(earlier));
                    readings.insert(name, (reading, usage));
                }
                Err(error) => tracing::warn!(error = %stdx::error::chain(&error), "node left out"),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Reading, Option<NodeUsage>)>> {
        self.readings.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn fresh((_, usage): &(Reading, Option<NodeUsage>)) -> Option<&NodeUsage> {
    let age =
        |usage: &NodeUsage| Duration::try_from(jiff::Timestamp::now().duration_since(usage.at)).unwrap_or_default();
    usage.as_ref().filter(|usage| age(usage) <= MAX_AGE)
}

fn internal_address(node: &Node) -> Option<IpAddr> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    addresses.iter().find(|address| address.type_ == "InternalIP")?.address.parse().ok()
}
