//! Service account tokens of pods, asked for once and again before they end.

use std::collections::HashMap;
use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccountTokenProjection};

use crate::Error;
use crate::objects::Objects;

/// The life asked for where the pod names none.
const DEFAULT_SECONDS: i64 = 3600;
/// A token is renewed at the latest at this age.
const AGE_MAX: SignedDuration = SignedDuration::from_hours(24);
/// Tokens of more pods than a node can have are a leak.
const CACHE_MAX: usize = 4096;

/// The tokens of this node's pods; lost with the agent and then asked for anew.
#[derive(Default)]
pub struct Tokens(Mutex<HashMap<Key, Held>>);

#[derive(PartialEq, Eq, Hash, Clone)]
struct Key {
    uid: String,
    account: String,
    audience: Option<String>,
    seconds: i64,
}

struct Held {
    token: String,
    renew_at: Timestamp,
}

impl Tokens {
    /// The token for a projection of a pod; from memory while it is young.
    pub async fn get(
        &self,
        pod: &Pod,
        projection: &ServiceAccountTokenProjection,
        objects: &dyn Objects,
    ) -> Result<String, Error> {
        let spec = pod.spec.as_ref();
        let account = spec.and_then(|spec| spec.service_account_name.clone()).filter(|name| !name.is_empty());
        let key = Key {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            account: account.unwrap_or_else(|| "default".into()),
            audience: projection.audience.clone().filter(|audience| !audience.is_empty()),
            seconds: projection.expiration_seconds.unwrap_or(DEFAULT_SECONDS),
        };
        let now = Timestamp::now();
        if let Some(held) = self.lock().get(&key).filter(|held| held.renew_at > now) {
            return Ok(held.token.clone());
        }
        let request = TokenRequestSpec {
            audiences: Some(key.audience.clone().into_iter().collect()),
            expiration_seconds: Some(key.seconds),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            }),
            ..Default::default()
        };
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
        let answer = objects.token(namespace, &key.account, request).await?;
        let token = answer.token.filter(|token| !token.is_empty());
        let token =
            token.ok_or_else(|| Error::Pod(format!("the API gave no token for service account {:?}", key.account)))?;
        let expires = answer.expiration_timestamp.map_or(now, |time| time.0);
        let renew_at = renew_at(now, expires);
        let mut held = self.lock();
        if held.len() < CACHE_MAX {
            held.insert(key, Held { token: token.clone(), renew_at });
        }
        Ok(token)
    }

    /// Forgets a pod's tokens.
    pub fn forget(&self, uid: &str) {
        self.lock().retain(|key, _| key.uid != uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Held>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// At four fifths of the life, and at the latest after a day.
fn renew_at(now: Timestamp, expires: Timestamp) -> Timestamp {
    let life = expires.duration_since(now);
    now + (life * 4 / 5).min(AGE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_renewed_at_four_fifths_of_their_life() {
        let now = Timestamp::from_second(0).unwrap();
        assert_eq!(renew_at(now, Timestamp::from_second(1000).unwrap()).as_second(), 800);
        assert_eq!(renew_at(now, Timestamp::from_second(10_000_000).unwrap()).as_second(), 86_400);
    }
}
