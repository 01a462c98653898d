//! What a line of the log looks like: an `audit.k8s.io/v1` Event.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::policy::{Level, Stage};
use crate::authn::reviews::user_info;
use crate::request::{RequestInfo, User};

/// An event; fields in the order in which Kubernetes writes them.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    kind: &'static str,
    api_version: &'static str,
    /// How much is written.
    pub level: Level,
    #[serde(rename = "auditID")]
    /// The request's name, which the client gets in the header `Audit-ID`.
    pub audit_id: String,
    /// When it is written.
    pub stage: Stage,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: Value,
    /// In whose name the request is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonated_user: Option<Value>,
    /// By which constraint the user may act in the name of another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication_metadata: Option<Value>,
    #[serde(rename = "sourceIPs")]
    source_ips: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    user_agent: String,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_ref: Option<ObjectReference>,
    /// What came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_status: Option<Value>,
    /// The body of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_object: Option<Value>,
    /// The body of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_object: Option<Value>,
    request_received_timestamp: String,
    stage_timestamp: String,
    /// What authorization and admission had to say.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What a request is about.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    /// `pods`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource: String,
    /// Empty for what has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Empty for collections.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// As the client gave it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Empty for the core group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_group: String,
    /// `v1`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// As the client gave it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// `status`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subresource: String,
}

/// Where a request comes from and what it was before anything is known of its user.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name.
    pub audit_id: String,
    /// Path and query, as they came.
    pub uri: String,
    /// The addresses that it came over, the next one last.
    pub ips: Vec<String>,
    /// The client, by its own word.
    pub agent: String,
    /// When it came.
    pub received: Timestamp,
}

impl Event {
    /// An event of a request.
    pub fn new(source: &Source, info: &RequestInfo, user: Option<&User>, level: Level) -> Self {
        let object_ref = info.is_resource.then(|| ObjectReference {
            resource: info.resource.clone(),
            namespace: info.namespace.clone(),
            name: info.name.clone(),
            api_group: info.group.clone(),
            api_version: info.version.clone(),
            subresource: info.subresource.clone(),
            ..ObjectReference::default()
        });
        Self {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level,
            audit_id: source.audit_id.clone(),
            stage: Stage::RequestReceived,
            request_uri: source.uri.clone(),
            verb: info.verb.clone(),
            user: user.map_or_else(|| json!({}), user_info),
            impersonated_user: None,
            authentication_metadata: None,
            source_ips: source.ips.clone(),
            user_agent: source.agent.clone(),
            object_ref,
            response_status: None,
            request_object: None,
            response_object: None,
            request_received_timestamp: micros(source.received),
            stage_timestamp: micros(source.received),
            annotations: BTreeMap::new(),
        }
    }

    /// The line that says this at a stage.
    pub fn line(&mut self, stage: Stage, now: Timestamp) -> Vec<u8> {
        self.stage = stage;
        self.stage_timestamp = micros(now);
        // Its fields are strings and JSON, which can always be written.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// A MicroTime.
fn micros(time: Timestamp) -> String {
    format!("{time:.6}")
}
