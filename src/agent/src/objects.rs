//! The API's objects that pods refer to: ConfigMaps, Secrets, Services, tokens, certificates.
//!
//! A trait, so that pods can be tested without an API, and so that a node without API servers says clearly what it
//! lacks.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::authentication::v1::{TokenRequestSpec, TokenRequestStatus};
use k8s_openapi::api::certificates::v1::{ClusterTrustBundle, PodCertificateRequest};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use k8s_openapi::api::node::v1::RuntimeClass;

use self::certificates::Ask;
use crate::Error;

pub mod api;
pub mod certificates;
pub mod references;
pub mod watches;

/// Called with each change of an object that a pod refers to; must be quick.
pub type Changed = Arc<dyn Fn() + Send + Sync>;

/// See the module.
#[async_trait]
pub trait Objects: Send + Sync + 'static {
    /// A ConfigMap; an `is_not_found` error where there is none.
    async fn config_map(&self, namespace: &str, name: &str) -> Result<Arc<ConfigMap>, Error>;
    /// A Secret; an `is_not_found` error where there is none.
    async fn secret(&self, namespace: &str, name: &str) -> Result<Arc<Secret>, Error>;
    /// A token of a service account.
    async fn token(&self, namespace: &str, account: &str, spec: TokenRequestSpec) -> Result<TokenRequestStatus, Error>;
    /// The Services of a namespace, and the API's own of `default`.
    async fn services(&self, namespace: &str) -> Vec<Arc<Service>>;
    /// A RuntimeClass; an `is_not_found` error where there is none.
    async fn runtime_class(&self, name: &str) -> Result<Arc<RuntimeClass>, Error>;
    /// A ClusterTrustBundle; an `is_not_found` error where there is none.
    async fn trust_bundle(&self, name: &str) -> Result<Arc<ClusterTrustBundle>, Error>;
    /// The ClusterTrustBundles of a signer.
    async fn trust_bundles(&self, signer: &str) -> Result<Vec<Arc<ClusterTrustBundle>>, Error>;
    /// A request for a pod's certificate; `None` where it is gone.
    async fn certificate_request(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<PodCertificateRequest>>, Error>;
    /// Asks a signer for a pod's certificate.
    async fn ask_for_certificate(&self, ask: Ask<'_>) -> Result<PodCertificateRequest, Error>;
    /// Tells of changes of what a pod refers to, and of answers to what was asked for it, until [`Objects::forget`].
    /// Called again with a new version of the pod.
    fn follow(&self, pod: &Pod, changed: &Changed);
    /// A pod (UID) needs its objects no more.
    fn forget(&self, uid: &str);
}

/// A node without API servers.
pub struct Standalone;

#[async_trait]
impl Objects for Standalone {
    async fn config_map(&self, namespace: &str, name: &str) -> Result<Arc<ConfigMap>, Error> {
        Err(Error::Standalone { action: format!("get ConfigMap {namespace}/{name}") })
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Arc<Secret>, Error> {
        Err(Error::Standalone { action: format!("get Secret {namespace}/{name}") })
    }

    async fn token(&self, namespace: &str, account: &str, _: TokenRequestSpec) -> Result<TokenRequestStatus, Error> {
        Err(Error::Standalone { action: format!("request a token of {namespace}/{account}") })
    }

    async fn runtime_class(&self, name: &str) -> Result<Arc<RuntimeClass>, Error> {
        Err(Error::Standalone { action: format!("get RuntimeClass {name}") })
    }

    async fn trust_bundle(&self, name: &str) -> Result<Arc<ClusterTrustBundle>, Error> {
        Err(Error::Standalone { action: format!("get ClusterTrustBundle {name}") })
    }

    async fn trust_bundles(&self, signer: &str) -> Result<Vec<Arc<ClusterTrustBundle>>, Error> {
        Err(Error::Standalone { action: format!("list ClusterTrustBundles of {signer}") })
    }

    async fn certificate_request(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<PodCertificateRequest>>, Error> {
        Err(Error::Standalone { action: format!("get PodCertificateRequest {namespace}/{name}") })
    }

    async fn ask_for_certificate(&self, ask: Ask<'_>) -> Result<PodCertificateRequest, Error> {
        Err(Error::Standalone { action: format!("ask {} for a certificate", ask.projection.signer_name) })
    }

    async fn services(&self, _: &str) -> Vec<Arc<Service>> {
        Vec::new()
    }

    fn follow(&self, _: &Pod, _: &Changed) {}

    fn forget(&self, _: &str) {}
}
