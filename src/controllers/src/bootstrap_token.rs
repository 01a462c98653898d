//! Deletes bootstrap tokens whose time is over.

use std::time::Duration;

use client::queue::{Outcome, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Preconditions};

use crate::Shared;
use crate::common::error::{Error, doing};
use crate::common::ready;

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";

/// Deletes until shutdown.
///
/// # Errors
/// None; failures are retried.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let context = &shared.context;
    let queue = WorkQueue::<String>::new("bootstrap-token-cleaner");
    let secrets = context.informers.by_field::<Secret>("type=bootstrap.kubernetes.io/token");
    let enqueue = queue.clone();
    secrets.on_change(move |change| enqueue.add(change.object().name_any()));
    if !ready(context, secrets.synced()).await {
        return Ok(());
    }
    let client = context.client.clone();
    queue
        .run_until(&context.shutdown, 1, move |name| {
            let (secret, client) = (secrets.get(NAMESPACE, &name), client.clone());
            async move {
                let Some(secret) = secret else { return Ok(Outcome::Done) };
                let Some(left) = time_left(&secret, Timestamp::now()) else { return Ok(Outcome::Done) };
                if !left.is_zero() {
                    return Ok(Outcome::After(left));
                }
                let api: Api<Secret> = Api::namespaced(client, NAMESPACE);
                let preconditions = Preconditions { uid: secret.uid(), resource_version: None };
                match api.delete(&name, &DeleteParams::default().preconditions(preconditions)).await {
                    Err(error) if !client::is_not_found(&error) => {
                        Err(doing(format!("delete the expired token Secret {NAMESPACE}/{name}"))(error))
                    }
                    _ => Ok(Outcome::Done),
                }
            }
        })
        .await;
    Ok(())
}

/// How long the token is still good; zero where it has expired, `None` where it never does. An expiration that
/// cannot be read counts as expired, so that a mistake does not keep a token alive.
pub fn time_left(secret: &Secret, now: Timestamp) -> Option<Duration> {
    if secret.type_.as_deref() != Some(TYPE) {
        return None;
    }
    let expiration = secret.data.as_ref()?.get("expiration")?;
    let expires: Option<Timestamp> = std::str::from_utf8(&expiration.0).ok().and_then(|text| text.trim().parse().ok());
    Some(expires.and_then(|expires| Duration::try_from(expires.duration_since(now)).ok()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    #[test]
    fn tokens_end_at_their_expiration() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let secret = |type_: &str, expiration: Option<&str>| Secret {
            type_: Some(type_.to_string()),
            data: Some(
                expiration.map(|text| ("expiration".to_string(), ByteString(text.into()))).into_iter().collect(),
            ),
            ..Secret::default()
        };
        for (secret, expected) in [
            (secret(TYPE, Some("2026-01-01T00:10:00Z")), Some(600)),
            (secret(TYPE, Some("2025-12-31T23:59:59Z")), Some(0)),
            (secret(TYPE, Some("tomorrow")), Some(0)),
            (secret(TYPE, None), None),
            (secret("Opaque", Some("2025-12-31T23:59:59Z")), None),
        ] {
            assert_eq!(time_left(&secret, now).map(|left| left.as_secs()), expected);
        }
    }
}
