//! The ConfigMap from which servers behind the aggregation layer learn whom to trust: the cluster's CAs and the
//! headers in which users are named.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::config::Config;
use crate::plugin::Bootstrap;

/// How often what is published is put right: certificate authorities change.
const KEEP_EVERY: Duration = Duration::from_secs(60);
const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";

/// Publishes the CAs.
pub struct AuthenticationInfo {
    client_ca: PathBuf,
    front_proxy_ca: Option<PathBuf>,
}

impl AuthenticationInfo {
    /// The CAs of a configuration; the files are read when they are published.
    pub fn new(config: &Config) -> Self {
        Self { client_ca: config.client_ca.clone(), front_proxy_ca: config.front_proxy_ca.clone() }
    }
}

#[async_trait]
impl Bootstrap for AuthenticationInfo {
    fn name(&self) -> &'static str {
        "start-cluster-authentication-info-controller"
    }

    fn every(&self) -> Option<Duration> {
        Some(KEEP_EVERY)
    }

    async fn bootstrap(&self, client: &kube::Client) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut data = json!({"client-ca-file": tokio::fs::read_to_string(&self.client_ca).await?});
        if let Some(path) = &self.front_proxy_ca {
            data["requestheader-client-ca-file"] = tokio::fs::read_to_string(path).await?.into();
            // Whatever else that CA signs speaks for nobody.
            data["requestheader-allowed-names"] = "[\"front-proxy-client\"]".into();
            data["requestheader-username-headers"] = "[\"X-Remote-User\"]".into();
            data["requestheader-uid-headers"] = "[\"X-Remote-Uid\"]".into();
            data["requestheader-group-headers"] = "[\"X-Remote-Group\"]".into();
            data["requestheader-extra-headers-prefix"] = "[\"X-Remote-Extra-\"]".into();
        }
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
        if api.get_opt(NAME).await?.is_some() {
            api.patch(NAME, &PatchParams::default(), &Patch::Merge(json!({"data": data}))).await?;
            return Ok(());
        }
        let metadata = ObjectMeta { name: Some(NAME.to_string()), ..ObjectMeta::default() };
        let map = ConfigMap { metadata, data: Some(serde_json::from_value(data)?), ..ConfigMap::default() };
        api.create(&PostParams::default(), &map).await?;
        Ok(())
    }
}
