//! Certificates for nodes and clients: requests of nodes are approved, approved ones signed, old ones cleaned up.
//!
//! `judge` decides who may have what; `cleanup` what is old; this file carries out.

use std::sync::Arc;
use std::time::Duration;

use client::informer::Informer;
use client::queue::{Outcome, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use pki::Authority;
use serde_json::{Value, json};

use crate::Shared;
use crate::common::error::{Error, doing};
use crate::common::ready;

mod cleanup;
mod judge;
#[cfg(test)]
mod tests;

use judge::{Approval, Signing};

const WORKERS: usize = 2;
/// Between looks for old requests.
const CLEANUP_PERIOD: Duration = Duration::from_secs(60);
/// How long to wait for a node's addresses before its request is looked at again.
const NODE_PERIOD: Duration = Duration::from_secs(2);

struct Controller {
    client: kube::Client,
    requests: Informer<CertificateSigningRequest>,
    nodes: Informer<Node>,
    authority: Option<Authority>,
    lifetime: Duration,
}

/// Approves and signs until shutdown.
///
/// # Errors
/// Where the authority cannot be read.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let context = &shared.context;
    let requests = context.informers.all::<CertificateSigningRequest>();
    let nodes = context.informers.all::<Node>();
    let controller = Arc::new(Controller {
        client: context.client.clone(),
        requests: requests.clone(),
        nodes: nodes.clone(),
        authority: load(&shared.config).await?,
        lifetime: shared.config.certificate_lifetime,
    });
    let queue = WorkQueue::<String>::new("certificates");
    let enqueue = queue.clone();
    requests.on_change(move |change| enqueue.add(change.object().name_any()));
    if !ready(context, async { tokio::join!(requests.synced(), nodes.synced()) }).await {
        return Ok(());
    }
    let cleaner = controller.clone();
    let clean = async {
        loop {
            cleaner.clean_up().await;
            tokio::time::sleep(CLEANUP_PERIOD).await;
        }
    };
    let work = queue.run_until(&context.shutdown, WORKERS, move |name| {
        let controller = controller.clone();
        async move { controller.reconcile(&name).await }
    });
    tokio::select! {
        () = clean => {}
        () = work => {}
    }
    Ok(())
}

async fn load(config: &crate::Config) -> Result<Option<Authority>, Error> {
    let Some(key_path) = &config.ca_key else { return Ok(None) };
    let read = async |path: &std::path::PathBuf| {
        tokio::fs::read_to_string(path).await.map_err(|source| Error::File { path: path.clone(), source })
    };
    let (certificate, key) = (read(&config.ca_certificate).await?, read(key_path).await?);
    let authority = Authority::from_pem(&config.ca_certificate.display().to_string(), &certificate, &key)?;
    Ok(Some(authority))
}

impl Controller {
    async fn reconcile(&self, name: &str) -> Result<Outcome, Error> {
        let Some(request) = self.requests.get("", name) else { return Ok(Outcome::Done) };
        let now = Timestamp::now();
        if !judge::is_decided(&request) {
            let node = judge::node_of(&request).and_then(|node| self.nodes.get("", &node));
            return match judge::approval(&request, node.as_deref()) {
                Approval::NotOurs => Ok(Outcome::Done),
                Approval::Later(why) => {
                    tracing::debug!(request = name, why, "not approved yet");
                    Ok(Outcome::After(NODE_PERIOD))
                }
                Approval::Approve(message) => self.approve(&request, message, now).await,
            };
        }
        let Some(authority) = &self.authority else { return Ok(Outcome::Done) };
        match judge::signing(&request, self.lifetime) {
            Signing::Nothing => Ok(Outcome::Done),
            Signing::Refuse(problem) => self.refuse(&request, &problem, now).await,
            Signing::Sign(pem, profile) => {
                let signed = authority.sign_request(&pem, &profile, now, &mut rand::rng())?;
                let certificate = k8s_openapi::ByteString(signed.into_bytes());
                let patch = json!({"metadata": {"uid": request.uid()}, "status": {"certificate": certificate}});
                self.patch(&request, "status", patch, "sign").await
            }
        }
    }

    async fn approve(
        &self,
        request: &CertificateSigningRequest,
        message: &str,
        now: Timestamp,
    ) -> Result<Outcome, Error> {
        let condition = judge::condition("Approved", "AutoApproved", message, now);
        let patch = json!({"metadata": {"uid": request.uid(), "resourceVersion": request.resource_version()},
            "status": {"conditions": judge::with(request, condition)}});
        self.patch(request, "approval", patch, "approve").await
    }

    async fn refuse(
        &self,
        request: &CertificateSigningRequest,
        problem: &str,
        now: Timestamp,
    ) -> Result<Outcome, Error> {
        let condition = judge::condition("Failed", "SignerValidationFailure", problem, now);
        let patch = json!({"metadata": {"uid": request.uid(), "resourceVersion": request.resource_version()},
            "status": {"conditions": judge::with(request, condition)}});
        self.patch(request, "status", patch, "refuse").await
    }

    async fn patch(
        &self,
        request: &CertificateSigningRequest,
        subresource: &str,
        patch: Value,
        verb: &str,
    ) -> Result<Outcome, Error> {
        let (api, name) = (Api::<CertificateSigningRequest>::all(self.client.clone()), request.name_any());
        let params = PatchParams::default();
        match api.patch_subresource(subresource, &name, &params, &Patch::Merge(patch)).await {
            Err(error) if !client::is_not_found(&error) => {
                Err(doing(format!("{verb} certificate request {name}"))(error))
            }
            _ => Ok(Outcome::Done),
        }
    }

    async fn clean_up(&self) {
        let api: Api<CertificateSigningRequest> = Api::all(self.client.clone());
        for request in self.requests.list(None) {
            if !cleanup::is_old(&request, Timestamp::now()) {
                continue;
            }
            let preconditions = Preconditions { uid: request.uid(), resource_version: request.resource_version() };
            let params = DeleteParams::default().preconditions(preconditions);
            match api.delete(&request.name_any(), &params).await {
                Err(error) if !client::is_not_found(&error) => {
                    let error = client::ApiError(error).to_string();
                    tracing::debug!(request = request.name_any(), error, "cannot delete an old request; will retry");
                }
                _ => {}
            }
        }
    }
}
