//! Fills Secrets of type `kubernetes.io/service-account-token` for the account that they name, and deletes them when
//! that account is gone.
//!
//! The token in them has no end of its own: the API server accepts it while the secret holds it and the account lives.

use std::sync::Arc;

use client::informer::Informer;
use client::queue::{Outcome, WorkQueue};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};

use crate::Shared;
use crate::common::error::{Error, doing};
use crate::common::ready;

mod plan;
mod sign;

use plan::Step;
use sign::Signer;

const WORKERS: usize = 4;

/// Namespace and name of a secret.
type Key = (String, String);

struct Filler {
    client: kube::Client,
    secrets: Informer<Secret>,
    accounts: Informer<ServiceAccount>,
    signer: Signer,
    /// The certificate of the cluster's authority, in PEM.
    authority: String,
}

/// Fills and deletes until shutdown.
///
/// # Errors
/// Where the certificate or the signing key cannot be read.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let read = async |path: &std::path::Path| {
        tokio::fs::read_to_string(path).await.map_err(|source| Error::File { path: path.to_path_buf(), source })
    };
    let config = &shared.config;
    let key = &config.service_account_key;
    let signer = Signer::new(&read(key).await?).ok_or_else(|| Error::SigningKey { path: key.clone() })?;
    let authority = read(&config.ca_certificate).await?;
    let context = &shared.context;
    let secrets = context.informers.by_field::<Secret>("type=kubernetes.io/service-account-token");
    let accounts = context.informers.all::<ServiceAccount>();
    let queue = WorkQueue::<Key>::new("service-account-token");
    let enqueue = queue.clone();
    secrets.on_change(move |change| enqueue.add(key_of(change.object())));
    let (enqueue, of_account) = (queue.clone(), secrets.clone());
    accounts.on_change(move |change| {
        let account = change.object();
        let namespace = account.namespace().unwrap_or_default();
        let secrets = of_account.list(Some(&namespace));
        let its = secrets.iter().filter(|secret| plan::account_name(secret) == account.name_any());
        its.for_each(|secret| enqueue.add(key_of(secret)));
    });
    if !ready(context, async { tokio::join!(secrets.synced(), accounts.synced()) }).await {
        return Ok(());
    }
    let filler = Arc::new(Filler { client: context.client.clone(), secrets, accounts, signer, authority });
    queue
        .run_until(&context.shutdown, WORKERS, move |key| {
            let filler = Arc::clone(&filler);
            async move { filler.sync(&key).await }
        })
        .await;
    Ok(())
}

fn key_of(secret: &Secret) -> Key {
    (secret.namespace().unwrap_or_default(), secret.name_any())
}

impl Filler {
    async fn sync(&self, (namespace, name): &Key) -> Result<Outcome, Error> {
        let Some(secret) = self.secrets.get(namespace, name) else { return Ok(Outcome::Done) };
        let Some(account) = self.account(&secret, namespace).await? else {
            return self.delete(&secret, namespace, name).await;
        };
        match plan::step(&secret, &account, &self.authority) {
            Step::Nothing => Ok(Outcome::Done),
            Step::Delete => self.delete(&secret, namespace, name).await,
            Step::Fill { token } => {
                let token = token.then(|| self.signer.sign(&account, namespace, name)).transpose()?;
                self.fill(&secret, &account, token.as_deref()).await
            }
            Step::Immutable => Err(Error::Object {
                object: format!("Secret {namespace}/{name}"),
                problem: "it is immutable and lacks what its type promises; make it anew without `immutable`".into(),
            }),
        }
    }

    /// The account that the secret is for. One that the cache does not know, or knows another of, is asked for.
    async fn account(&self, secret: &Secret, namespace: &str) -> Result<Option<Arc<ServiceAccount>>, Error> {
        let name = plan::account_name(secret);
        if let Some(account) = self.accounts.get(namespace, name).filter(|account| plan::is_for(secret, account)) {
            return Ok(Some(account));
        }
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let account = api.get_opt(name).await.map_err(doing(format!("read ServiceAccount {namespace}/{name}")))?;
        Ok(account.map(Arc::new))
    }

    async fn fill(&self, secret: &Secret, account: &ServiceAccount, token: Option<&str>) -> Result<Outcome, Error> {
        let (namespace, name) = key_of(secret);
        let patch = plan::filling(secret, account, &self.authority, token);
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
        match api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await {
            // What has changed comes round again.
            Err(error) if client::is_not_found(&error) || client::is_conflict(&error) => Ok(Outcome::Done),
            filled => filled.map(|_| Outcome::Done).map_err(doing(format!("fill Secret {namespace}/{name}"))),
        }
    }

    async fn delete(&self, secret: &Secret, namespace: &str, name: &str) -> Result<Outcome, Error> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let preconditions = Preconditions { uid: secret.uid(), resource_version: secret.resource_version() };
        match api.delete(name, &DeleteParams::default().preconditions(preconditions)).await {
            Err(error) if client::is_not_found(&error) || client::is_conflict(&error) => Ok(Outcome::Done),
            deleted => deleted
                .map(|_| Outcome::Done)
                .map_err(doing(format!("delete Secret {namespace}/{name}, whose account is gone"))),
        }
    }
}
