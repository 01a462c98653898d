//! Publishes the cluster's certificate authority to every namespace as the ConfigMap `kube-root-ca.crt`.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::queue::{Outcome, WorkQueue};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::Shared;
use crate::common::error::{Error, doing};
use crate::common::namespaces::{self, is_active};
use crate::common::ready;

const NAME: &str = "kube-root-ca.crt";
const KEY: &str = "ca.crt";
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the \
     internal service IP or kubernetes.default.svc.",
);

/// Publishes until shutdown.
///
/// # Errors
/// Where the certificate cannot be read.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let path = &shared.config.ca_certificate;
    let authority = tokio::fs::read_to_string(path).await;
    let authority: Arc<str> = Arc::from(authority.map_err(|source| Error::File { path: path.clone(), source })?);
    let context = &shared.context;
    let queue = WorkQueue::<String>::new("root-ca-publisher");
    let namespaces = context.informers.all::<Namespace>();
    let published = context.informers.by_field::<ConfigMap>("metadata.name=kube-root-ca.crt");
    let enqueue = queue.clone();
    namespaces.on_change(move |change| enqueue.add(change.object().name_any()));
    let enqueue = queue.clone();
    published.on_change(move |change| enqueue.add(change.object().namespace().unwrap_or_default()));
    if !ready(context, async { tokio::join!(namespaces.synced(), published.synced()) }).await {
        return Ok(());
    }
    let client = context.client.clone();
    queue
        .run_until(&context.shutdown, 1, move |name| {
            let there = published.get(&name, NAME);
            let wanted = namespaces.get("", &name).is_some_and(|namespace| is_active(&namespace));
            let (client, authority) = (client.clone(), authority.clone());
            async move {
                if wanted {
                    publish(client, &name, there.as_deref(), &authority).await?;
                }
                Ok::<_, Error>(Outcome::Done)
            }
        })
        .await;
    Ok(())
}

async fn publish(client: kube::Client, namespace: &str, there: Option<&ConfigMap>, ca: &str) -> Result<(), Error> {
    let data = BTreeMap::from([(KEY.to_string(), ca.to_string())]);
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let done = match there {
        Some(there) if there.data.as_ref() == Some(&data) => return Ok(()),
        Some(there) => {
            let mut wanted = json!({KEY: ca});
            for extra in there.data.iter().flatten().map(|(key, _)| key).filter(|key| *key != KEY) {
                wanted[extra] = serde_json::Value::Null;
            }
            api.patch(NAME, &PatchParams::default(), &Patch::Merge(json!({"data": wanted}))).await
        }
        None => {
            let map = ConfigMap {
                metadata: ObjectMeta {
                    name: Some(NAME.to_string()),
                    annotations: Some([(DESCRIPTION.0.to_string(), DESCRIPTION.1.to_string())].into()),
                    ..ObjectMeta::default()
                },
                data: Some(data),
                ..ConfigMap::default()
            };
            api.create(&PostParams::default(), &map).await
        }
    };
    match done {
        Err(error) if client::is_already_exists(&error) || namespaces::goes_away(&error) => Ok(()),
        other => other.map(|_| ()).map_err(doing(format!("publish ConfigMap {namespace}/{NAME}"))),
    }
}
