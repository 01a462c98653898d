//! Events as `kubectl describe` shows them, without a flood: equal ones are counted, similar ones combined, and each
//! source and object has a budget. The limits are those of Kubernetes' own clients.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use serde_json::json;
use stdx::clock::{Clock, SystemClock};
use tokio::sync::mpsc;

use crate::is_not_found;

mod correlate;

use correlate::{Correlator, Decision, Occurrence};

/// Events that wait to be sent; more are dropped, since nothing may wait for an event.
const WAITING_EVENTS: usize = 1000;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// For information.
    Normal,
    /// Something is wrong.
    Warning,
}

impl EventType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Records events of one component. Cheap to clone; never blocks.
#[derive(Clone)]
pub struct Recorder {
    sender: mpsc::Sender<Occurrence>,
    clock: Arc<dyn Clock>,
}

impl Recorder {
    /// A recorder for a component (`kubelet`, `default-scheduler`) on `host` (empty where it has none). Called inside
    /// a tokio runtime; what waits is sent by a task of its own that ends with the last clone.
    pub fn new(client: Client, component: &str, host: &str) -> Self {
        let (sender, mut receiver) = mpsc::channel::<Occurrence>(WAITING_EVENTS);
        let source = EventSource {
            component: Some(component.to_string()),
            host: Some(host.to_string()).filter(|host| !host.is_empty()),
        };
        tokio::spawn(async move {
            let mut correlator = Correlator::default();
            while let Some(occurrence) = receiver.recv().await {
                send(&client, &source, &mut correlator, occurrence).await;
            }
        });
        Self { sender, clock: Arc::new(SystemClock) }
    }

    /// Records that something happened to an object.
    pub fn event<K: Resource<DynamicType = ()>>(&self, object: &K, type_: EventType, reason: &str, message: &str) {
        self.about(object.object_ref(&()), type_, reason, message);
    }

    /// Records for information.
    pub fn normal<K: Resource<DynamicType = ()>>(&self, object: &K, reason: &str, message: &str) {
        self.event(object, EventType::Normal, reason, message);
    }

    /// Records that something is wrong.
    pub fn warning<K: Resource<DynamicType = ()>>(&self, object: &K, reason: &str, message: &str) {
        self.event(object, EventType::Warning, reason, message);
    }

    /// Records about a reference; its `fieldPath` names a part of the object (`spec.containers{web}`).
    pub fn about(&self, involved: ObjectReference, type_: EventType, reason: &str, message: &str) {
        let occurrence = Occurrence {
            involved,
            type_,
            reason: reason.to_string(),
            message: message.to_string(),
            at: self.clock.now(),
        };
        if self.sender.try_send(occurrence).is_err() {
            tracing::debug!(reason, "too many events wait; one is dropped");
        }
    }
}

async fn send(client: &Client, source: &EventSource, correlator: &mut Correlator, occurrence: Occurrence) {
    let namespace = occurrence.involved.namespace.clone().filter(|ns| !ns.is_empty()).unwrap_or("default".into());
    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let Decision::Send { message, name, count, first, key } = correlator.observe(&occurrence) else { return };
    if let Some(name) = name {
        let patch = json!({"count": count, "lastTimestamp": Time(occurrence.at), "message": message});
        match api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => return,
            // Its time to live is over: begin a new one.
            Err(error) if is_not_found(&error) => {}
            Err(error) => return tracing::debug!(%error, "cannot count an event"),
        }
    }
    let event = event(source, &occurrence, message, count, first, &namespace);
    match api.create(&PostParams::default(), &event).await {
        Ok(created) => correlator.created(key, created.metadata.name),
        // The namespace is going away, or was never there: nothing that could be done about it.
        Err(error) => tracing::debug!(%error, "cannot record an event"),
    }
}

fn event(
    source: &EventSource,
    occurrence: &Occurrence,
    message: String,
    count: i32,
    first: Timestamp,
    namespace: &str,
) -> Event {
    let involved_name = occurrence.involved.name.as_deref().unwrap_or("unknown");
    let unique = u64::try_from(occurrence.at.as_nanosecond()).unwrap_or_default() ^ (rand::random::<u64>() & 0xffff);
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{involved_name}.{unique:016x}")),
            namespace: Some(namespace.to_string()),
            ..ObjectMeta::default()
        },
        involved_object: occurrence.involved.clone(),
        type_: Some(occurrence.type_.as_str().to_string()),
        reason: Some(occurrence.reason.clone()),
        message: Some(message),
        count: Some(count),
        first_timestamp: Some(Time(first)),
        last_timestamp: Some(Time(occurrence.at)),
        source: Some(source.clone()),
        reporting_component: source.component.clone(),
        reporting_instance: source.host.clone(),
        ..Event::default()
    }
}
