//! Gives every namespace its ServiceAccount `default`.

use client::informer::Change;
use client::queue::{Outcome, WorkQueue};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::{Api, PostParams};

use crate::Shared;
use crate::common::error::{Error, doing};
use crate::common::namespaces::{self, is_active};
use crate::common::ready;

const NAME: &str = "default";

/// Keeps the accounts until shutdown.
///
/// # Errors
/// None; failures are retried.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let context = &shared.context;
    let queue = WorkQueue::<String>::new("service-account");
    let (namespaces, accounts) = (context.informers.all::<Namespace>(), context.informers.all::<ServiceAccount>());
    let enqueue = queue.clone();
    namespaces.on_change(move |change| enqueue.add(change.object().name_any()));
    let enqueue = queue.clone();
    accounts.on_change(move |change| {
        if matches!(change, Change::Deleted(account) if account.name_any() == NAME) {
            enqueue.add(change.object().namespace().unwrap_or_default());
        }
    });
    if !ready(context, async { tokio::join!(namespaces.synced(), accounts.synced()) }).await {
        return Ok(());
    }
    let client = context.client.clone();
    queue
        .run_until(&context.shutdown, 1, move |name| {
            let there = accounts.get(&name, NAME).is_some();
            let wanted = namespaces.get("", &name).is_some_and(|namespace| is_active(&namespace));
            let client = client.clone();
            async move {
                if wanted && !there {
                    create(client, &name).await?;
                }
                Ok::<_, Error>(Outcome::Done)
            }
        })
        .await;
    Ok(())
}

async fn create(client: kube::Client, namespace: &str) -> Result<(), Error> {
    let account = ServiceAccount {
        metadata: ObjectMeta { name: Some(NAME.to_string()), ..ObjectMeta::default() },
        ..ServiceAccount::default()
    };
    match Api::<ServiceAccount>::namespaced(client, namespace).create(&PostParams::default(), &account).await {
        Err(error) if client::is_already_exists(&error) || namespaces::goes_away(&error) => Ok(()),
        other => other.map(|_| ()).map_err(doing(format!("create ServiceAccount {namespace}/{NAME}"))),
    }
}
