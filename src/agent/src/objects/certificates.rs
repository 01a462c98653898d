//! What volumes with certificates are made from: bundles of roots, and requests for pods' certificates. Both are
//! watched from the first pod on that has such a volume.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use client::informer::{Change, Informer, Informers};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{ClusterTrustBundle, PodCertificateRequest, PodCertificateRequestSpec};
use k8s_openapi::api::core::v1::{Node, Pod, PodCertificateProjection, ServiceAccount, VolumeProjection};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;
use kube::api::{Api, PostParams};

use super::Changed;
use super::api::{api, missing};
use crate::Error;
use crate::pod::identity::PodRef;

/// A watch that has not told its objects in this time is no answer.
const SYNC_LIMIT: Duration = Duration::from_secs(5);

/// A certificate that a node asks for.
pub struct Ask<'a> {
    /// The pod that it is for.
    pub pod: &'a Pod,
    /// What the pod says of it.
    pub projection: &'a PodCertificateProjection,
    /// The PKCS#10 request, in DER.
    pub request: Vec<u8>,
}

/// See the module.
pub struct Certificates {
    client: kube::Client,
    informers: Informers,
    node: String,
    requests: OnceLock<Informer<PodCertificateRequest>>,
    bundles: OnceLock<Informer<ClusterTrustBundle>>,
    listeners: Listeners,
}

/// Who is told of changes, by the pod's UID.
type Listeners = Arc<Mutex<HashMap<String, Listener>>>;

struct Listener {
    wants: Wants,
    changed: Changed,
}

/// What of it a pod's volumes are made from.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wants {
    names: BTreeSet<String>,
    signers: BTreeSet<String>,
    certificates: bool,
}

impl Wants {
    fn of(pod: &Pod) -> Self {
        let mut wants = Self::default();
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let sources =
            volumes.flat_map(|volume| volume.projected.iter().flat_map(|found| found.sources.iter().flatten()));
        for VolumeProjection { cluster_trust_bundle, pod_certificate, .. } in sources {
            wants.certificates |= pod_certificate.is_some();
            wants.names.extend(cluster_trust_bundle.iter().filter_map(|bundle| bundle.name.clone()));
            wants.signers.extend(cluster_trust_bundle.iter().filter_map(|bundle| bundle.signer_name.clone()));
        }
        wants
    }

    fn bundles(&self) -> bool {
        !self.names.is_empty() || !self.signers.is_empty()
    }

    fn bundle(&self, bundle: &ClusterTrustBundle) -> bool {
        let signer = bundle.spec.signer_name.as_deref().unwrap_or_default();
        self.signers.contains(signer) || self.names.contains(&bundle.name_any())
    }
}

fn lock(listeners: &Listeners) -> MutexGuard<'_, HashMap<String, Listener>> {
    listeners.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn tell(listeners: &Listeners, concerned: impl Fn(&str, &Wants) -> bool) {
    let found: Vec<Changed> = lock(listeners)
        .iter()
        .filter(|(uid, listener)| concerned(uid, &listener.wants))
        .map(|(_, listener)| listener.changed.clone())
        .collect();
    found.iter().for_each(|changed| changed());
}

/// Whether the signer has said something, or nobody will any more.
fn is_news(change: &Change<PodCertificateRequest>) -> bool {
    let status = change.object().status.as_ref();
    let decided = status.and_then(|status| status.conditions.as_ref()).is_some_and(|conditions| !conditions.is_empty());
    decided || matches!(change, Change::Deleted(_))
}

impl Certificates {
    /// Those of a node.
    pub fn new(context: &client::Context, node: &str) -> Self {
        Self {
            client: context.client.clone(),
            informers: context.informers.clone(),
            node: node.to_string(),
            requests: OnceLock::new(),
            bundles: OnceLock::new(),
            listeners: Listeners::default(),
        }
    }

    /// Tells of changes of what the pod's volumes are made from until [`Certificates::forget`].
    pub fn follow(&self, pod: &Pod, changed: &Changed) {
        let (wants, uid) = (Wants::of(pod), PodRef::of(pod).uid);
        if wants == Wants::default() {
            return;
        }
        let (bundles, certificates) = (wants.bundles(), wants.certificates);
        lock(&self.listeners).insert(uid, Listener { wants, changed: changed.clone() });
        if bundles {
            self.bundles();
        }
        if certificates {
            self.requests();
        }
    }

    /// A pod (UID) is told nothing any more.
    pub fn forget(&self, uid: &str) {
        lock(&self.listeners).remove(uid);
    }

    fn bundles(&self) -> &Informer<ClusterTrustBundle> {
        self.bundles.get_or_init(|| {
            let informer = self.informers.all::<ClusterTrustBundle>();
            let listeners = self.listeners.clone();
            informer.on_change(move |change| tell(&listeners, |_, wants| wants.bundle(change.object())));
            informer
        })
    }

    fn requests(&self) -> &Informer<PodCertificateRequest> {
        self.requests.get_or_init(|| {
            let informer = self.informers.by_field::<PodCertificateRequest>(&format!("spec.nodeName={}", self.node));
            let listeners = self.listeners.clone();
            informer.on_change(move |change| {
                if is_news(change) {
                    tell(&listeners, |uid, _| change.object().spec.pod_uid == uid);
                }
            });
            informer
        })
    }

    async fn listed_bundles(&self) -> Result<&Informer<ClusterTrustBundle>, Error> {
        let bundles = self.bundles();
        match tokio::time::timeout(SYNC_LIMIT, bundles.synced()).await {
            Ok(()) => Ok(bundles),
            Err(_) => Err(Error::Pod("the API server has not listed ClusterTrustBundles yet".to_string())),
        }
    }

    /// The bundle of a name; an `is_not_found` error where there is none.
    pub async fn bundle(&self, name: &str) -> Result<Arc<ClusterTrustBundle>, Error> {
        let found = self.listed_bundles().await?.get("", name);
        found.ok_or_else(|| api(format!("get ClusterTrustBundle {name}"))(missing("clustertrustbundles", name)))
    }

    /// The bundles of a signer.
    pub async fn bundles_of(&self, signer: &str) -> Result<Vec<Arc<ClusterTrustBundle>>, Error> {
        let mut found = self.listed_bundles().await?.list(None);
        found.retain(|bundle| bundle.spec.signer_name.as_deref() == Some(signer));
        Ok(found)
    }

    /// A request; `None` where there is none any more.
    pub async fn request(&self, namespace: &str, name: &str) -> Result<Option<Arc<PodCertificateRequest>>, Error> {
        if let Some(found) = self.requests().get(namespace, name) {
            return Ok(Some(found));
        }
        // The watch may be behind what was just asked.
        let requests = Api::<PodCertificateRequest>::namespaced(self.client.clone(), namespace);
        let found = requests.get_opt(name).await;
        found.map(|found| found.map(Arc::new)).map_err(api(format!("get PodCertificateRequest {namespace}/{name}")))
    }

    /// Asks the signer that a pod names.
    pub async fn ask(&self, ask: Ask<'_>) -> Result<PodCertificateRequest, Error> {
        let PodRef { namespace, name, uid } = PodRef::of(ask.pod);
        let account = ask.pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
        let account = account.filter(|account| !account.is_empty()).unwrap_or_else(|| "default".to_string());
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), &namespace);
        let found = accounts.get(&account).await.map_err(api(format!("get ServiceAccount {namespace}/{account}")))?;
        let node = Api::<Node>::all(self.client.clone()).get(&self.node).await;
        let node = node.map_err(api(format!("get Node {}", self.node)))?;
        let owner = OwnerReference {
            api_version: "v1".to_string(),
            kind: "Pod".to_string(),
            name: name.clone(),
            uid: uid.clone(),
            ..OwnerReference::default()
        };
        let request = PodCertificateRequest {
            metadata: ObjectMeta {
                generate_name: Some("req-".to_string()),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            spec: PodCertificateRequestSpec {
                signer_name: ask.projection.signer_name.clone(),
                pod_name: name.clone(),
                pod_uid: uid,
                service_account_name: account,
                service_account_uid: found.metadata.uid.unwrap_or_default(),
                node_name: self.node.clone(),
                node_uid: node.metadata.uid.unwrap_or_default(),
                max_expiration_seconds: ask.projection.max_expiration_seconds,
                stub_pkc_s10_request: ByteString(ask.request),
                unverified_user_annotations: ask.projection.user_annotations.clone(),
            },
            status: None,
        };
        let requests = Api::<PodCertificateRequest>::namespaced(self.client.clone(), &namespace);
        let action = format!("ask {} for a certificate for pod {namespace}/{name}", request.spec.signer_name);
        requests.create(&PostParams::default(), &request).await.map_err(api(action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_is_told_of_the_bundles_that_it_shows() {
        let source = |source: serde_json::Value| json!({ "clusterTrustBundle": source });
        let sources = json!([
            source(json!({ "name": "plain", "path": "a" })),
            source(json!({ "signerName": "example.com/own", "path": "b" })),
        ]);
        let volumes = json!([{ "name": "v", "projected": { "sources": sources } }]);
        let pod: Pod =
            serde_json::from_value(json!({ "metadata": {}, "spec": { "containers": [], "volumes": volumes } }))
                .unwrap();
        let wants = Wants::of(&pod);
        assert!(wants.bundles() && !wants.certificates);
        for (name, signer, expected) in [
            ("plain", None, true),
            ("other", None, false),
            ("example.com:own:v1", Some("example.com/own"), true),
            ("example.com:other:v1", Some("example.com/other"), false),
        ] {
            let spec = json!({ "signerName": signer, "trustBundle": "" });
            let bundle = serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec })).unwrap();
            assert_eq!(wants.bundle(&bundle), expected, "{name}");
        }
    }
}
