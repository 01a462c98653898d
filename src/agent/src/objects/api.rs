//! The objects that pods refer to, read from the API one by one: the Node authorizer lets an agent read no others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use client::informer::Informer;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec, TokenRequestStatus};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use kube::api::{Api, PostParams};
use kube::core::NamespaceResourceScope;

use super::Objects;
use crate::Error;

/// Pods that start together read an object once.
const FRESH: Duration = Duration::from_secs(1);
/// The cluster's CA certificate hardly ever changes and every pod mounts it.
const FRESH_CA: Duration = Duration::from_secs(60);
/// The ConfigMap with the cluster's CA certificate in each namespace.
const CA_NAME: &str = "kube-root-ca.crt";

/// See the module.
pub struct ApiObjects {
    client: kube::Client,
    services: Informer<Service>,
    config_maps: Cache<ConfigMap>,
    secrets: Cache<Secret>,
}

impl ApiObjects {
    /// The objects of the API behind a context.
    pub fn new(context: &client::Context) -> Self {
        Self {
            client: context.client.clone(),
            services: context.informers.all::<Service>(),
            config_maps: Cache::default(),
            secrets: Cache::default(),
        }
    }
}

struct Cache<K>(Mutex<Held<K>>);

type Held<K> = HashMap<(String, String), (Instant, Arc<K>)>;

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K> Cache<K>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    async fn get(&self, client: &kube::Client, namespace: &str, name: &str) -> Result<Arc<K>, Error> {
        let key = (namespace.to_string(), name.to_string());
        if let Some((_, object)) = self.lock().get(&key).filter(|(read, _)| read.elapsed() < fresh(name)) {
            return Ok(object.clone());
        }
        let read = Api::<K>::namespaced(client.clone(), namespace).get(name).await;
        let object = Arc::new(read.map_err(api(format!("get {} {namespace}/{name}", K::kind(&()))))?);
        let mut held = self.lock();
        held.retain(|(_, name), (read, _)| read.elapsed() < fresh(name));
        held.insert(key, (Instant::now(), object.clone()));
        Ok(object)
    }

    fn lock(&self) -> MutexGuard<'_, Held<K>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn fresh(name: &str) -> Duration {
    if name == CA_NAME { FRESH_CA } else { FRESH }
}

/// For `map_err` on requests.
pub fn api(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
    let action = action.into();
    move |source| Error::Api { action, source: Box::new(source) }
}

#[async_trait]
impl Objects for ApiObjects {
    async fn config_map(&self, namespace: &str, name: &str) -> Result<Arc<ConfigMap>, Error> {
        self.config_maps.get(&self.client, namespace, name).await
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Arc<Secret>, Error> {
        self.secrets.get(&self.client, namespace, name).await
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
}
