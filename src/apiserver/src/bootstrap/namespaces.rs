//! The namespaces every cluster has.

use async_trait::async_trait;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ObjectMeta, PostParams};

use crate::plugin::Bootstrap;

const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// Makes the system namespaces where they are missing.
pub struct SystemNamespaces;

#[async_trait]
impl Bootstrap for SystemNamespaces {
    fn name(&self) -> &'static str {
        "start-system-namespaces-controller"
    }

    async fn bootstrap(&self, client: &kube::Client) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let api: Api<Namespace> = Api::all(client.clone());
        try_join_all(NAMESPACES.map(|name| ensure(&api, name))).await?;
        Ok(())
    }
}

async fn ensure(api: &Api<Namespace>, name: &str) -> Result<(), kube::Error> {
    if api.get_opt(name).await?.is_some() {
        return Ok(());
    }
    let metadata = ObjectMeta { name: Some(name.to_string()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    match api.create(&PostParams::default(), &namespace).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        created => created.map(drop),
    }
}
