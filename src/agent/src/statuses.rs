//! Reports of pods to the API: the newest status of each, and the word that a deleted pod is gone.
//!
//! Only the newest matters: while one is on its way, later ones replace each other. A failed one is tried again until
//! the object is gone.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::eviction::EVICTED;
use crate::patch::{keep_own_conditions, whole};
use crate::pod::identity::{PodRef, is_static};
use crate::pod::status::conditions::{DISRUPTED, OWN};
use crate::pods::Sink;

/// Requests on their way at the same time.
const REQUESTS_MAX: usize = 8;
/// A request without an answer is given up after this: a connection may hang without being closed.
const REQUEST_LIMIT: Duration = Duration::from_secs(15);
/// What failed is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

/// See the module.
pub struct Statuses {
    client: kube::Client,
    pending: Mutex<HashMap<String, Report>>,
    changed: Notify,
}

#[derive(Clone)]
struct Report {
    pod: Arc<Pod>,
    status: Option<PodStatus>,
    gone: bool,
}

impl Statuses {
    /// Nothing to report yet; [`Statuses::run`] does it.
    pub fn new(client: kube::Client) -> Arc<Self> {
        Arc::new(Self { client, pending: Mutex::default(), changed: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Report>> {
        self.pending.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn add(&self, pod: &Arc<Pod>, change: impl FnOnce(&mut Report)) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let mut pending = self.lock();
        let report = pending.entry(uid).or_insert_with(|| Report { pod: pod.clone(), status: None, gone: false });
        report.pod = pod.clone();
        change(report);
        drop(pending);
        self.changed.notify_one();
    }

    /// Reports until `shutdown`. No report waits for another pod's, and each is given up after a time.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut busy = HashSet::new();
        let mut sending = FuturesUnordered::new();
        loop {
            while busy.len() < REQUESTS_MAX
                && let Some((uid, report)) = self.take(&busy)
            {
                busy.insert(uid.clone());
                sending.push(self.attempt(uid, report));
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.changed.notified() => {}
                Some(uid) = sending.next() => {
                    busy.remove(&uid);
                }
            }
        }
    }

    /// A pending report of a pod of which none is on its way.
    fn take(&self, busy: &HashSet<String>) -> Option<(String, Report)> {
        let mut pending = self.lock();
        let uid = pending.keys().find(|uid| !busy.contains(*uid))?.clone();
        pending.remove_entry(&uid)
    }

    /// Sends a report once; one that does not get through is pending again. Answers with the pod's UID.
    async fn attempt(&self, uid: String, report: Report) -> String {
        let pod = PodRef::of(&report.pod);
        match tokio::time::timeout(REQUEST_LIMIT, self.send(&report)).await {
            Ok(Ok(())) => return uid,
            Ok(Err(error)) => tracing::warn!(%pod, error = %stdx::error::chain(&error), "report a pod's status"),
            Err(_) => tracing::warn!(%pod, "report a pod's status: no answer"),
        }
        self.put_back(report);
        tokio::time::sleep(RETRY).await;
        uid
    }

    /// A newer report that came meanwhile stays.
    fn put_back(&self, report: Report) {
        let uid = report.pod.metadata.uid.clone().unwrap_or_default();
        let mut pending = self.lock();
        match pending.get_mut(&uid) {
            Some(newer) => {
                newer.gone |= report.gone;
                newer.status = newer.status.take().or(report.status);
            }
            None => {
                pending.insert(uid, report);
            }
        }
    }

    async fn send(&self, report: &Report) -> Result<(), kube::Error> {
        let reference = PodRef::of(&report.pod);
        let api = Api::<Pod>::namespaced(self.client.clone(), &reference.namespace);
        if let Some(status) = &report.status {
            let uid = (!is_static(&report.pod)).then_some(reference.uid.as_str());
            let body = patch(uid, status);
            let sent = api.patch_status(&reference.name, &PatchParams::default(), &Patch::Strategic(&body)).await;
            settled(sent.map(drop))?;
        }
        if report.gone && !is_static(&report.pod) {
            let preconditions = Preconditions { uid: Some(reference.uid.clone()), resource_version: None };
            let options = DeleteParams {
                grace_period_seconds: Some(0),
                preconditions: Some(preconditions),
                ..Default::default()
            };
            settled(api.delete(&reference.name, &options).await.map(drop))?;
        }
        Ok(())
    }
}

/// An object that is gone, or another one under the same name, wants no report.
fn settled(result: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        result => result,
    }
}

/// A strategic merge patch that makes the API's status this one: what is not in it any more is taken away. Conditions
/// of others are left out, and stay: readiness gates and `DisruptionTarget` may have been written a moment ago. A
/// mirror pod's, which has no `uid` here, are all the agent's.
fn patch(uid: Option<&str>, status: &PodStatus) -> Value {
    let mut body = serde_json::to_value(status).unwrap_or_else(|_| json!({}));
    let evicted = status.reason.as_deref() == Some(EVICTED);
    keep_own_conditions(&mut body, |type_| {
        OWN.contains(&type_) || uid.is_none() && type_ == "PodScheduled" || evicted && type_ == DISRUPTED
    });
    if let Some(fields) = body.as_object_mut() {
        for name in ["podIPs", "hostIPs"] {
            if let Some(list) = fields.remove(name) {
                fields.insert(name.into(), whole(list));
            }
        }
        for name in ["reason", "message", "podIP", "podIPs"] {
            fields.entry(name).or_insert(Value::Null);
        }
    }
    match uid {
        Some(uid) => json!({ "metadata": { "uid": uid }, "status": body }),
        None => json!({ "status": body }),
    }
}

impl Sink for Statuses {
    fn status(&self, pod: &Arc<Pod>, status: PodStatus) {
        self.add(pod, |report| report.status = Some(status));
    }

    fn gone(&self, pod: &Arc<Pod>) {
        self.add(pod, |report| report.gone = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_names_the_pod_and_clears_what_is_gone() {
        let status = PodStatus { phase: Some("Running".into()), ..Default::default() };
        let body = patch(Some("u"), &status);
        assert_eq!(body["metadata"]["uid"], "u");
        assert_eq!(body["status"]["phase"], "Running");
        assert!(body["status"]["podIP"].is_null() && body["status"].get("podIP").is_some());
        assert!(patch(None, &status).get("metadata").is_none());
    }

    #[test]
    fn a_patch_leaves_the_conditions_of_others_alone() {
        let status: PodStatus = serde_json::from_value(json!({
            "podIPs": [{ "ip": "10.42.1.2" }],
            "conditions": [
                { "type": "Ready", "status": "True" },
                { "type": "example.com/gate", "status": "False" },
                { "type": "DisruptionTarget", "status": "False" },
                { "type": "PodScheduled", "status": "True" },
            ],
        }))
        .unwrap();
        let of = |uid| patch(uid, &status)["status"].clone();
        let ready = json!({ "type": "Ready", "status": "True", "reason": null, "message": null });
        assert_eq!(of(Some("u"))["conditions"], json!([ready]));
        assert_eq!(of(None)["conditions"].as_array().unwrap().len(), 2, "nobody else schedules a mirror pod");
        assert_eq!(of(Some("u"))["podIPs"], json!([{ "$patch": "replace" }, { "ip": "10.42.1.2" }]));
    }
}
