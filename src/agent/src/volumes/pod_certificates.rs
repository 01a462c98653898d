//! Certificates of pods: a key made here, a signer asked, its answer waited for, and all of it again before the
//! certificate ends. Nothing of it outlasts the agent: a new one asks anew.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use client::events::EventType;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::PodCertificateRequest;
use k8s_openapi::api::core::v1::{Pod, PodCertificateProjection};
use kube::ResourceExt;
use stdx::clock::later;
use stdx::pem;

use crate::Error;
use crate::host::Events;
use crate::objects::Objects;
use crate::objects::certificates::Ask;

/// Renewals of many pods that began together are spread over this time, or over a quarter of what is left where that
/// is less.
const SPREAD_MAX: SignedDuration = SignedDuration::from_mins(5);
/// A renewal that has taken this long is told of.
const OVERDUE: SignedDuration = SignedDuration::from_mins(10);
/// Certificates of more pods than a node can have.
const HELD_MAX: usize = 4096;

/// The certificates of this node's pods.
#[derive(Default)]
pub struct PodCertificates(Mutex<HashMap<Key, Held>>);

/// One source of one projected volume of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The pod's UID.
    pub uid: String,
    /// The volume's name.
    pub volume: String,
    /// Which of the volume's sources.
    pub source: usize,
}

/// A key and what was signed for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// PKCS#8 PEM.
    pub key_pem: String,
    /// PEM, the pod's own certificate first.
    pub chain_pem: String,
    refresh_at: Timestamp,
    not_after: Timestamp,
}

#[derive(Clone, Default)]
struct Held {
    current: Option<Credentials>,
    asked: Option<Asked>,
    /// Why the signer gives none: it is not asked again.
    refusal: Option<String>,
    told_overdue: bool,
    told_expired: bool,
}

#[derive(Clone)]
struct Asked {
    /// The request's name.
    name: String,
    key_pem: String,
}

/// What is to be done.
#[derive(PartialEq, Eq)]
enum Next {
    Keep,
    Ask,
    Take(Credentials),
    Refused { reason: &'static str, message: String },
}

/// What is decided by the state of things: `seen` is the request that was asked with, where it is there.
fn decide(held: &Held, seen: Option<&PodCertificateRequest>, spread: f64, now: Timestamp) -> Next {
    if held.refusal.is_some() {
        return Next::Keep;
    }
    let Some(asked) = &held.asked else {
        let due = held.current.as_ref().is_none_or(|current| current.refresh_at <= now);
        return if due { Next::Ask } else { Next::Keep };
    };
    // Somebody deleted the request before it was answered.
    let Some(request) = seen else { return Next::Ask };
    let Some(status) = &request.status else { return Next::Keep };
    for condition in status.conditions.iter().flatten().filter(|condition| condition.status == "True") {
        let about = || format!("{}/{}", request.namespace().unwrap_or_default(), request.name_any());
        let why = || format!("reason={:?}, message={:?}", condition.reason, condition.message);
        match condition.type_.as_str() {
            "Denied" => {
                let message = format!("PodCertificateRequest {} was denied, {}", about(), why());
                return Next::Refused { reason: "Denied", message };
            }
            "Failed" => {
                let message = format!("PodCertificateRequest {} failed, {}", about(), why());
                return Next::Refused { reason: "Failed", message };
            }
            "Issued" => {}
            _ => continue,
        }
        let (Some(begin), Some(end)) = (&status.begin_refresh_at, &status.not_after) else { return Next::Keep };
        return Next::Take(Credentials {
            key_pem: asked.key_pem.clone(),
            chain_pem: clean(status.certificate_chain.as_deref().unwrap_or_default()),
            refresh_at: later(begin.0, delay(end.0.duration_since(begin.0), spread)),
            not_after: end.0,
        });
    }
    Next::Keep
}

/// How much later than at the earliest a certificate is renewed that has `left` to live then; `spread` is drawn
/// from [0, 1).
fn delay(left: SignedDuration, spread: f64) -> SignedDuration {
    let longest = (left / 4).clamp(SignedDuration::ZERO, SPREAD_MAX);
    SignedDuration::from_millis((longest.as_millis() as f64 * spread) as i64)
}

/// The blocks alone, without what the signer wrote between them.
fn clean(chain: &str) -> String {
    pem::blocks(chain).iter().map(|block| pem::encode(pem::CERTIFICATE, &block.data)).collect()
}

impl PodCertificates {
    /// The certificate for a source of a volume as it is now; asks for one where there is none or it is to be renewed.
    pub async fn get(
        &self,
        pod: &Pod,
        key: Key,
        projection: &PodCertificateProjection,
        objects: &dyn Objects,
        events: &Events,
    ) -> Result<Credentials, Error> {
        let mut held = self.held(&key)?;
        let done = step(&mut held, pod, projection, objects, events).await;
        tell(&mut held, pod, events, Timestamp::now());
        let answer = match (held.current.clone(), &held.refusal, done) {
            // What is there is good until it ends, whatever becomes of its renewal.
            (Some(current), _, Err(error)) => {
                tracing::warn!(pod = ?pod.metadata.name, error = %stdx::error::chain(&error), "renew a pod's certificate");
                Ok(current)
            }
            (Some(current), _, Ok(_)) => Ok(current),
            (None, Some(refusal), _) => Err(Error::Pod(refusal.clone())),
            (None, None, Err(error)) => Err(error),
            (None, None, Ok(asked_now)) => {
                let message = format!("credential bundle is not issued yet by signer {:?}", projection.signer_name);
                Err(if asked_now { Error::Waiting(message) } else { Error::Pod(message) })
            }
        };
        self.lock().insert(key, held);
        answer
    }

    /// What is held for a source; an error where there is no room for it, since nothing is asked that is not kept.
    fn held(&self, key: &Key) -> Result<Held, Error> {
        let all = self.lock();
        match all.get(key) {
            Some(held) => Ok(held.clone()),
            None if all.len() >= HELD_MAX => {
                Err(Error::Pod(format!("this node holds {HELD_MAX} certificates of pods: delete pods that have some")))
            }
            None => Ok(Held::default()),
        }
    }

    /// Forgets a pod's keys.
    pub fn forget(&self, uid: &str) {
        self.lock().retain(|key, _| key.uid != uid);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Held>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Decides and carries out; true where the signer was asked just now.
async fn step(
    held: &mut Held,
    pod: &Pod,
    projection: &PodCertificateProjection,
    objects: &dyn Objects,
    events: &Events,
) -> Result<bool, Error> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let seen = match &held.asked {
        Some(asked) => objects.certificate_request(namespace, &asked.name).await?,
        None => None,
    };
    match decide(held, seen.as_deref(), rand::random(), Timestamp::now()) {
        Next::Keep => Ok(false),
        Next::Take(credentials) => {
            *held = Held { current: Some(credentials), ..Held::default() };
            Ok(false)
        }
        Next::Refused { reason, message } => {
            events.pod(pod, None, EventType::Warning, reason, &message);
            (held.refusal, held.asked) = (Some(message), None);
            Ok(false)
        }
        Next::Ask => {
            held.asked = None;
            let key_type = projection.key_type.clone();
            // RSA keys take long.
            let made = tokio::task::spawn_blocking(move || pki::pod_key(&key_type)).await;
            let failed = |message: String| Error::Certificate { action: "make a pod's key", message };
            let made = made.map_err(|error| failed(error.to_string()))?;
            let made = made.map_err(|error| failed(stdx::error::chain(&error).to_string()))?;
            let request = objects.ask_for_certificate(Ask { pod, projection, request: made.request }).await?;
            held.asked = Some(Asked { name: request.name_any(), key_pem: made.key_pem });
            Ok(true)
        }
    }
}

/// Tells once that a certificate should have been renewed, and once that it has ended.
fn tell(held: &mut Held, pod: &Pod, events: &Events, now: Timestamp) {
    let Some(current) = &held.current else { return };
    if now > later(current.refresh_at, OVERDUE) && !held.told_overdue {
        held.told_overdue = true;
        let message = "PodCertificate refresh overdue";
        events.pod(pod, None, EventType::Warning, "CertificateOverdueForRefresh", message);
    }
    if now > current.not_after && !held.told_expired {
        held.told_expired = true;
        events.pod(pod, None, EventType::Warning, "CertificateExpired", "PodCertificate expired");
    }
}

#[cfg(test)]
mod tests;
