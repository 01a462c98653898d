//! The audit log: who has asked for what, and what came of it, as JSON lines in a file (`audit.k8s.io/v1`).
//!
//! [`policy`] decides how much of a request is written, [`record`] is what is known of one request, [`event`] what a
//! line looks like, [`log`] the file. A request goes through here as a [`Trail`], which is empty where nothing is
//! audited and costs nothing then. Secrets are only written where the policy's level asks for bodies.

pub mod event;
pub mod log;
pub mod object;
pub mod policy;
pub mod record;

use std::path::PathBuf;
use std::sync::Arc;

use http::{Request, Response};
use serde_json::Value;

use crate::body::Body;
use crate::error::Error;
use crate::request::{RequestInfo, User};
use policy::Policy;
use record::{Begun, Record};

pub use record::Unidentified;

/// What the audit log is told before the server starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The policy: an `audit.k8s.io/v1` Policy.
    pub policy: PathBuf,
    /// The log and when it is rotated.
    pub log: log::Settings,
}

/// Writes events by a policy.
pub struct Auditor {
    policy: Policy,
    log: log::Log,
}

impl Auditor {
    /// Reads the policy and opens the log.
    ///
    /// # Errors
    /// A policy that is none, and a log that cannot be written.
    pub fn start(settings: &Settings) -> Result<Arc<Self>, Error> {
        let policy = Policy::load(&settings.policy)?;
        Ok(Arc::new(Self { policy, log: log::Log::open(&settings.log)? }))
    }

    /// A request comes; nothing is written before it is known whose it is.
    pub fn begin(self: &Arc<Self>, request: &Request<Body>, begun: Begun) -> Unidentified {
        Unidentified::new(self.clone(), request, begun)
    }

    /// The figures in Prometheus' text format, under kube-apiserver's names.
    pub fn render(&self, out: &mut String) {
        let (added, lost) = self.log.counts();
        for (name, help, value) in [
            ("apiserver_audit_event_total", "Audit events that were written.", format!(" {added}")),
            ("apiserver_audit_error_total", "Audit events that were left out.", format!("{{plugin=\"log\"}} {lost}")),
        ] {
            out.push_str(&format!("# HELP {name} {help}\n# TYPE {name} counter\n{name}{value}\n"));
        }
    }

    /// Waits, for a bounded time, until what was said so far is in the file.
    pub async fn flush(&self) {
        self.log.flush().await;
    }
}

/// What is written of one request, as whoever serves it sees it; empty where nothing is.
#[derive(Clone, Default)]
pub struct Trail(Option<Arc<Record>>);

impl std::fmt::Debug for Trail {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Trail").field(&self.is_on()).finish()
    }
}

impl Trail {
    /// Something is written of this request, so that finding out what is worth the trouble.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Adds an annotation: `pod-security.kubernetes.io/enforce-policy`. What is there is not overwritten.
    pub fn annotate(&self, key: &str, value: impl Into<String>) {
        if let Some(record) = &self.0 {
            record.annotate(key, value.into());
        }
    }

    /// The request is made in the name of somebody else.
    pub fn impersonate(&self, user: &User) {
        if let Some(record) = &self.0 {
            record.impersonate(user);
        }
    }

    /// What the constraint was that let somebody act in the name of another: `impersonate:user-info`.
    pub fn constrain(&self, verb: &str) {
        if let Some(record) = &self.0 {
            record.constrain(verb);
        }
    }

    /// Name, namespace, uid and resourceVersion of an object that the URL does not say.
    pub fn about(&self, object: &Value) {
        if let Some(record) = &self.0 {
            record.about(object);
        }
    }

    /// Has the body of the request kept as it is read, where the level asks for it.
    pub fn request(&self, request: Request<Body>) -> Request<Body> {
        match &self.0 {
            Some(record) => record.clone().keep_request(request),
            None => request,
        }
    }

    /// Takes in the answer, and writes what stage the request is at: its end, or of a watch or stream its beginning.
    pub async fn answered(self, response: Response<Body>) -> Response<Body> {
        match self.0 {
            Some(record) => record.answered(response).await,
            None => response,
        }
    }
}

/// What a request is judged by, besides its user.
pub(crate) fn asks_for_body(info: &RequestInfo) -> bool {
    let streams = ["exec", "attach", "portforward", "proxy", "log"];
    info.is_resource && !streams.contains(&info.subresource.as_str())
}
