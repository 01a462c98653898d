//! The objects that pods refer to, as the API has them: watched while a pod refers to them, else read one by one.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use client::informer::{Informer, Informers, Object};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec, TokenRequestStatus};
use k8s_openapi::api::certificates::v1::{ClusterTrustBundle, PodCertificateRequest};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::api::{Api, PostParams};
use kube::core::{NamespaceResourceScope, Status};

use super::certificates::{Ask, Certificates};
use super::references::{self, Kind, Reference};
use super::watches::Watches;
use super::{Changed, Objects};
use crate::Error;
use crate::pod::identity::{PodRef, is_static};

/// A watch that has not told its object in this time is passed over: the object is read, which also tells what is wrong.
const SYNC_LIMIT: Duration = Duration::from_secs(5);

/// See the module.
pub struct ApiObjects {
    client: kube::Client,
    services: Informer<Service>,
    informers: Informers,
    /// Watched from the first pod on that asks for one.
    classes: OnceLock<Informer<RuntimeClass>>,
    config_maps: Watches<ConfigMap>,
    secrets: Watches<Secret>,
    certificates: Certificates,
    /// What each pod (UID) refers to, with its namespace.
    pods: Mutex<HashMap<String, (String, BTreeSet<Reference>)>>,
}

impl ApiObjects {
    /// The objects of the API behind a context, for a node.
    pub fn new(context: &client::Context, node: &str) -> Self {
        Self {
            client: context.client.clone(),
            services: context.informers.all::<Service>(),
            informers: context.informers.clone(),
            classes: OnceLock::new(),
            config_maps: Watches::new(context.informers.clone()),
            secrets: Watches::new(context.informers.clone()),
            certificates: Certificates::new(context, node),
            pods: Mutex::default(),
        }
    }

    async fn read<K>(&self, watches: &Watches<K>, namespace: &str, name: &str) -> Result<Arc<K>, Error>
    where
        K: Object + kube::Resource<Scope = NamespaceResourceScope>,
    {
        let action = || format!("get {} {namespace}/{name}", K::kind(&()));
        if let Some(informer) = watches.get(namespace, name)
            && tokio::time::timeout(SYNC_LIMIT, informer.synced()).await.is_ok()
        {
            return informer.get(namespace, name).ok_or_else(|| api(action())(missing(&K::plural(&()), name)));
        }
        let read = Api::<K>::namespaced(self.client.clone(), namespace).get(name).await;
        read.map(Arc::new).map_err(api(action()))
    }

    fn pods(&self) -> MutexGuard<'_, HashMap<String, (String, BTreeSet<Reference>)>> {
        self.pods.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn drop_reference(&self, namespace: &str, (kind, name): &Reference, uid: &str) {
        match kind {
            Kind::ConfigMap => self.config_maps.remove(namespace, name, uid),
            Kind::Secret => self.secrets.remove(namespace, name, uid),
        }
    }
}

/// What the API itself would answer.
pub fn missing(plural: &str, name: &str) -> kube::Error {
    let message = format!("{plural} {name:?} not found");
    kube::Error::Api(Box::new(Status::failure(&message, "NotFound").with_code(404)))
}

/// For `map_err` on requests.
pub fn api(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
    let action = action.into();
    move |source| Error::Api { action, source: Box::new(source) }
}

#[async_trait]
impl Objects for ApiObjects {
    async fn config_map(&self, namespace: &str, name: &str) -> Result<Arc<ConfigMap>, Error> {
        self.read(&self.config_maps, namespace, name).await
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Arc<Secret>, Error> {
        self.read(&self.secrets, namespace, name).await
    }

    async fn token(&self, namespace: &str, account: &str, spec: TokenRequestSpec) -> Result<TokenRequestStatus, Error> {
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), namespace);
        let request = TokenRequest { spec: Some(spec), ..Default::default() };
        let action = format!("request a token of service account {namespace}/{account}");
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await;
        let answer = answer.map_err(api(action.clone()))?;
        answer.status.ok_or_else(|| Error::Pod(format!("{action}: the answer has no status")))
    }

    async fn services(&self, namespace: &str) -> Vec<Arc<Service>> {
        // Without the list, a pod would start without the variables it counts on.
        self.services.synced().await;
        let mut found = self.services.list(Some(namespace));
        if namespace != "default" {
            found.extend(self.services.get("default", "kubernetes"));
        }
        found
    }

    async fn runtime_class(&self, name: &str) -> Result<Arc<RuntimeClass>, Error> {
        let classes = self.classes.get_or_init(|| self.informers.all::<RuntimeClass>());
        let action = || format!("get RuntimeClass {name}");
        if tokio::time::timeout(SYNC_LIMIT, classes.synced()).await.is_ok()
            && let Some(class) = classes.get("", name)
        {
            return Ok(class);
        }
        // The watch may be behind, and the answer tells what is wrong.
        let read = Api::<RuntimeClass>::all(self.client.clone()).get(name).await;
        read.map(Arc::new).map_err(api(action()))
    }

    async fn trust_bundle(&self, name: &str) -> Result<Arc<ClusterTrustBundle>, Error> {
        self.certificates.bundle(name).await
    }

    async fn trust_bundles(&self, signer: &str) -> Result<Vec<Arc<ClusterTrustBundle>>, Error> {
        self.certificates.bundles_of(signer).await
    }

    async fn certificate_request(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<PodCertificateRequest>>, Error> {
        self.certificates.request(namespace, name).await
    }

    async fn ask_for_certificate(&self, ask: Ask<'_>) -> Result<PodCertificateRequest, Error> {
        self.certificates.ask(ask).await
    }

    fn follow(&self, pod: &Pod, changed: &Changed) {
        // The API knows no static pod of this UID, and lets the agent read nothing for it.
        if is_static(pod) {
            return;
        }
        self.certificates.follow(pod, changed);
        let PodRef { namespace, uid, .. } = PodRef::of(pod);
        let wanted = references::of(pod);
        let mut pods = self.pods();
        let (_, before) = pods.remove(&uid).unwrap_or_default();
        for (kind, name) in wanted.difference(&before) {
            match kind {
                Kind::ConfigMap => self.config_maps.add(&namespace, name, &uid, changed),
                Kind::Secret => self.secrets.add(&namespace, name, &uid, changed),
            }
        }
        for reference in before.difference(&wanted) {
            self.drop_reference(&namespace, reference, &uid);
        }
        pods.insert(uid, (namespace, wanted));
    }

    fn forget(&self, uid: &str) {
        self.certificates.forget(uid);
        let Some((namespace, references)) = self.pods().remove(uid) else { return };
        for reference in &references {
            self.drop_reference(&namespace, reference, uid);
        }
    }
}
