//! Deletes requests for pods' certificates that are old: whatever became of them, their agents have seen it by then.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::PodCertificateRequest;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Preconditions};

use crate::Shared;
use crate::common::error::Error;
use crate::common::ready;

/// Deletes until shutdown.
///
/// # Errors
/// None; failures are retried.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let (context, config) = (&shared.context, &shared.config);
    let requests = context.informers.all::<PodCertificateRequest>();
    if !ready(context, requests.synced()).await {
        return Ok(());
    }
    loop {
        let now = Timestamp::now();
        for request in requests.list(None) {
            if is_old(&request, config.pod_certificate_request_ttl, now) {
                delete(&context.client, &request).await;
            }
        }
        tokio::select! {
            () = context.shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(config.pod_certificate_request_period) => {}
        }
    }
}

async fn delete(client: &kube::Client, request: &PodCertificateRequest) {
    let (namespace, name) = (request.namespace().unwrap_or_default(), request.name_any());
    let api: Api<PodCertificateRequest> = Api::namespaced(client.clone(), &namespace);
    // Another of the name is another's.
    let preconditions = Preconditions { uid: request.uid(), resource_version: None };
    match api.delete(&name, &DeleteParams::default().preconditions(preconditions)).await {
        Err(error) if !client::is_not_found(&error) => {
            let error = client::ApiError(error).to_string();
            tracing::debug!(namespace, name, error, "cannot delete an old request for a certificate; will retry");
        }
        _ => {}
    }
}

/// Whether a request was made `ttl` ago or earlier.
fn is_old(request: &PodCertificateRequest, ttl: Duration, now: Timestamp) -> bool {
    let ttl = SignedDuration::try_from(ttl).unwrap_or(SignedDuration::MAX);
    let created = request.metadata.creation_timestamp.as_ref().map(|time| time.0);
    created.is_some_and(|created| now.duration_since(created) >= ttl)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn requests_are_kept_for_their_time() {
        let now: Timestamp = "2026-01-01T00:15:00Z".parse().unwrap();
        let ttl = Duration::from_secs(900);
        for (created, expected) in [("2026-01-01T00:00:00Z", true), ("2026-01-01T00:00:01Z", false)] {
            let metadata = json!({"name": "r", "creationTimestamp": created});
            let spec = json!({"nodeName": "n", "nodeUID": "n", "podName": "p", "podUID": "p", "serviceAccountName": "s",
                "serviceAccountUID": "s", "signerName": "example.com/own", "stubPKCS10Request": ""});
            let request = serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
            assert_eq!(is_old(&request, ttl, now), expected, "{created}");
        }
    }
}
