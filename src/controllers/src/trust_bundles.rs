//! Publishes the cluster's certificate authority as the ClusterTrustBundle of `kubernetes.io/kube-apiserver-serving`,
//! by which pods know the API server. The bundle is named by what it holds, so that another authority is another
//! bundle; every other one of the signer is deleted.

use std::fmt::Write;
use std::sync::Arc;

use client::queue::{Outcome, WorkQueue};
use k8s_openapi::api::certificates::v1::{ClusterTrustBundle, ClusterTrustBundleSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, PostParams};
use sha2::{Digest, Sha256};

use crate::Shared;
use crate::common::error::{Error, doing};
use crate::common::ready;

const SIGNER: &str = "kubernetes.io/kube-apiserver-serving";
/// How much of the digest of a bundle is in its name.
const DIGEST_BYTES: usize = 12;

/// Publishes until shutdown.
///
/// # Errors
/// Where the certificate cannot be read.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let path = &shared.config.ca_certificate;
    let authority = tokio::fs::read_to_string(path).await;
    let authority: Arc<str> = Arc::from(authority.map_err(|source| Error::File { path: path.clone(), source })?);
    let context = &shared.context;
    let bundles = context.informers.by_field::<ClusterTrustBundle>(&format!("spec.signerName={SIGNER}"));
    // There is one thing to do, whatever has changed.
    let queue = WorkQueue::<()>::new("trust-bundle-publisher");
    let enqueue = queue.clone();
    bundles.on_change(move |_| enqueue.add(()));
    if !ready(context, bundles.synced()).await {
        return Ok(());
    }
    queue.add(());
    let client = context.client.clone();
    queue
        .run_until(&context.shutdown, 1, move |()| {
            let (there, client, authority) = (bundles.list(None), client.clone(), authority.clone());
            async move { publish(client, &there, &authority).await.map(|()| Outcome::Done) }
        })
        .await;
    Ok(())
}

/// The signer with a colon for its slash, and the beginning of the bundle's digest.
fn name(bundle: &str) -> String {
    let digest = Sha256::digest(bundle.as_bytes());
    let mut name = format!("{}:", SIGNER.replace('/', ":"));
    for byte in digest.iter().take(DIGEST_BYTES) {
        // Writing to a String does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

async fn publish(client: kube::Client, there: &[Arc<ClusterTrustBundle>], authority: &str) -> Result<(), Error> {
    let api: Api<ClusterTrustBundle> = Api::all(client);
    let own = name(authority);
    let wanted = ClusterTrustBundleSpec { signer_name: Some(SIGNER.to_string()), trust_bundle: authority.to_string() };
    let done = match there.iter().find(|bundle| bundle.name_any() == own) {
        Some(found) if found.spec.trust_bundle == authority => Ok(()),
        Some(found) => {
            let mut changed = ClusterTrustBundle::clone(found);
            changed.spec = wanted;
            api.replace(&own, &PostParams::default(), &changed).await.map(drop)
        }
        None => {
            let metadata = ObjectMeta { name: Some(own.clone()), ..ObjectMeta::default() };
            api.create(&PostParams::default(), &ClusterTrustBundle { metadata, spec: wanted }).await.map(drop)
        }
    };
    match done {
        Err(error) if client::is_already_exists(&error) => {}
        other => other.map_err(doing(format!("publish ClusterTrustBundle {own}")))?,
    }
    // The new one is there before the old ones go.
    for old in there.iter().map(|bundle| bundle.name_any()).filter(|name| *name != own) {
        match api.delete(&old, &DeleteParams::default()).await {
            Err(error) if client::is_not_found(&error) => {}
            other => drop(other.map_err(doing(format!("delete ClusterTrustBundle {old}")))?),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_named_by_what_it_holds() {
        assert_eq!(name("a"), "kubernetes.io:kube-apiserver-serving:ca978112ca1bbdcafac231b3");
    }
}
