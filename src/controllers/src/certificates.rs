//! Certificates for nodes and clients: requests of nodes are approved, approved ones signed, old ones cleaned up.
//!
//! `judge` decides who may have what, `serving` under which names nodes may serve, `cleanup` what is old; this file
//! carries out.

use std::sync::Arc;
use std::time::Duration;

use client::informer::{Change, Informer};
use client::queue::{Outcome, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use pki::Authority;
use serde_json::{Value, json};

use crate::Shared;
use crate::common::error::{Error, doing};
use crate::common::ready;

mod cleanup;
mod judge;
mod serving;
#[cfg(test)]
mod tests;

use judge::{Approval, Permission, Signing};
use serving::Reserved;

const WORKERS: usize = 2;
/// Between looks for old requests.
const CLEANUP_PERIOD: Duration = Duration::from_secs(60);
/// Roles are not followed here: whether who may not have what they ask for may have it now is asked this often.
const ACCESS_PERIOD: Duration = Duration::from_secs(30);

struct Controller {
    client: kube::Client,
    requests: Informer<CertificateSigningRequest>,
    nodes: Informer<Node>,
    authority: Option<Authority>,
    lifetime: Duration,
    reserved: Reserved,
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
        reserved: reserved(&shared.config),
    });
    let queue = WorkQueue::<String>::new("certificates");
    let enqueue = queue.clone();
    requests.on_change(move |change| enqueue.add(change.object().name_any()));
    let (enqueue, waiting) = (queue.clone(), requests.clone());
    nodes.on_change(move |change| {
        if matches!(change, Change::Updated(old, new) if !judge::matters(old, new)) {
            return;
        }
        let waiting = waiting.list(None).into_iter().filter(|request| judge::waits_for_nodes(request));
        waiting.for_each(|request| enqueue.add(request.name_any()));
    });
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

fn reserved(config: &crate::Config) -> Reserved {
    Reserved {
        server: config.server_names.clone(),
        networks: config.service_cidr.into_iter().chain(config.pod_cidr).collect(),
        domain: config.cluster_domain.to_ascii_lowercase(),
    }
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
            return match judge::approval(&request, &self.nodes.list(None), &self.reserved) {
                Approval::NotOurs => Ok(Outcome::Done),
                Approval::Later(why) => {
                    tracing::info!(request = name, user = request.spec.username, why, "not approved");
                    Ok(Outcome::Done)
                }
                Approval::Ask(permissions) => match self.permitted(&request, permissions).await? {
                    Some(message) => self.approve(&request, message, now).await,
                    None => Ok(Outcome::After(ACCESS_PERIOD)),
                },
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

    /// The message of the first permission that whoever asked has.
    async fn permitted(
        &self,
        request: &CertificateSigningRequest,
        permissions: &'static [Permission],
    ) -> Result<Option<&'static str>, Error> {
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        for permission in permissions {
            let asked = ResourceAttributes {
                group: Some("certificates.k8s.io".to_string()),
                version: Some("*".to_string()),
                resource: Some("certificatesigningrequests".to_string()),
                subresource: Some(permission.subresource.to_string()),
                verb: Some("create".to_string()),
                ..ResourceAttributes::default()
            };
            let spec = SubjectAccessReviewSpec {
                user: request.spec.username.clone(),
                groups: request.spec.groups.clone(),
                uid: request.spec.uid.clone(),
                extra: request.spec.extra.clone(),
                resource_attributes: Some(asked),
                ..SubjectAccessReviewSpec::default()
            };
            let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
            let name = request.name_any();
            let answer = api.create(&PostParams::default(), &review).await;
            let answer = answer.map_err(doing(format!("ask whether certificate request {name} may be approved")))?;
            if answer.status.is_some_and(|status| status.allowed) {
                return Ok(Some(permission.message));
            }
            let (user, subresource) = (request.spec.username.as_deref(), permission.subresource);
            tracing::info!(request = name, user, subresource, "not approved: whoever asked may not create these");
        }
        Ok(None)
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
