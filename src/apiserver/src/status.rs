//! `Status`: every error a client sees, in Kubernetes' words.
//!
//! Constructors are named after the reasons of `k8s.io/apimachinery`. Nothing here decides when an error occurs.

use std::borrow::Cow;
use std::fmt;

use machinery::field::{FieldError, FieldErrors};
use machinery::gvk::GroupResource;
use serde_json::{Map, Value, json};

/// What the operations of this crate answer.
pub type Result<T> = std::result::Result<T, Status>;

/// One reason among several, for `Invalid` and conflicts of server-side apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueInvalid`, `FieldManagerConflict`.
    pub reason: Cow<'static, str>,
    /// What a person reads.
    pub message: String,
    /// The field, `spec.containers[0].image`; empty where it is about none.
    pub field: String,
}

/// A failure as it goes over the wire.
#[derive(Clone, PartialEq)]
pub struct Status(Box<Inner>);

#[derive(Clone, PartialEq)]
struct Inner {
    code: u16,
    reason: Cow<'static, str>,
    message: String,
    name: String,
    group: String,
    /// `details.kind`: the resource, except in `Invalid` where it is the kind.
    kind: String,
    uid: String,
    causes: Vec<Cause>,
    retry_after_seconds: u32,
    continue_token: String,
}

impl Status {
    /// A failure with a code, a reason and a message, about nothing in particular.
    pub fn new(code: u16, reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            reason: reason.into(),
            message: message.into(),
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_seconds: 0,
            continue_token: String::new(),
        }))
    }

    /// Says which object the failure is about.
    pub fn about(mut self, resource: &GroupResource, name: &str) -> Self {
        self.0.group = resource.group.clone();
        self.0.kind = resource.resource.clone();
        self.0.name = name.to_string();
        self
    }

    /// Adds a cause.
    pub fn with_cause(mut self, reason: impl Into<Cow<'static, str>>, message: &str, field: &str) -> Self {
        self.0.causes.push(Cause { reason: reason.into(), message: message.to_string(), field: field.to_string() });
        self
    }

    /// Asks the client to come again after this many seconds.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after_seconds = seconds;
        self
    }

    /// 400: the request itself is wrong.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401: no credentials that are known.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403 for an object; `why` is what the authorizer or an admission plugin says.
    pub fn forbidden(resource: &GroupResource, name: &str, why: impl fmt::Display) -> Self {
        let message = match (resource.resource.as_str(), name) {
            ("", _) => format!("forbidden: {why}"),
            (_, "") => format!("{resource} is forbidden: {why}"),
            (_, name) => format!("{resource} \"{name}\" is forbidden: {why}"),
        };
        Self::new(403, "Forbidden", message).about(resource, name)
    }

    /// 404 for an object.
    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{resource} \"{name}\" not found")).about(resource, name)
    }

    /// 404 for a path or a resource that nobody serves.
    pub fn no_such_resource() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    /// 405: the resource does not have this verb.
    pub fn method_not_allowed(resource: &GroupResource, verb: &str) -> Self {
        let message = format!("{verb} is not supported on resources of kind \"{resource}\"");
        Self::new(405, "MethodNotAllowed", message).about(resource, "")
    }

    /// 406: none of the media types the client accepts.
    pub fn not_acceptable(supported: &[&str]) -> Self {
        let message = format!("only the following media types are accepted: {}", supported.join(", "));
        Self::new(406, "NotAcceptable", message)
    }

    /// 409: the object is there already.
    pub fn already_exists(resource: &GroupResource, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{resource} \"{name}\" already exists")).about(resource, name)
    }

    /// 409: an operation that cannot be done on the object as it is.
    pub fn conflict(resource: &GroupResource, name: &str, why: impl fmt::Display) -> Self {
        let message = format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}");
        Self::new(409, "Conflict", message).about(resource, name)
    }

    /// 409: the client's object is not the newest.
    pub fn modified(resource: &GroupResource, name: &str) -> Self {
        const WHY: &str = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, WHY)
    }

    /// 410: the resource version is too old to read or watch from.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 410 of a list whose continue token is too old; `token` continues from the last key at the newest version.
    pub fn expired_continue(token: String) -> Self {
        let mut status = Self::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list \
             without the continue parameter, or use the continue token in this response to retrieve the remainder of \
             the results. Continuing with the provided token results in an inconsistent list - objects that were \
             created, modified, or deleted between the time the first chunk was returned and now may show up in the \
             list.",
        );
        status.0.continue_token = token;
        status
    }

    /// 413: the body is larger than `limit_bytes`.
    pub fn too_large(limit_bytes: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit_bytes}");
        Self::new(413, "RequestEntityTooLarge", message)
    }

    /// 415: the body's media type is not understood.
    pub fn unsupported_media_type(supported: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            supported.join(", ")
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 422: what is wrong with an object, field by field.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &FieldErrors) -> Self {
        let lines: Vec<String> = errors.iter().map(FieldError::to_string).collect();
        let what = match lines.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let qualified = if group.is_empty() { kind.to_string() } else { format!("{kind}.{group}") };
        let mut status = Self::new(422, "Invalid", format!("{qualified} \"{name}\" is invalid: {what}"));
        status.0.group = group.to_string();
        status.0.kind = kind.to_string();
        status.0.name = name.to_string();
        status.0.causes = errors
            .iter()
            .map(|error| Cause {
                reason: error.reason.cause().into(),
                message: error.message(),
                field: error.path.to_string(),
            })
            .collect();
        status
    }

    /// 429: come again later.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(429, "TooManyRequests", message).retry_after(retry_after_seconds)
    }

    /// 500: something went wrong here. `message` must not carry secrets: the client sees it.
    pub fn internal(message: impl fmt::Display) -> Self {
        let text = message.to_string();
        Self::new(500, "InternalError", format!("Internal error occurred: {text}")).with_cause("", &text, "")
    }

    /// 503: not now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// 504: the server gave up waiting.
    pub fn timeout(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(504, "Timeout", format!("Timeout: {}", message.into())).retry_after(retry_after_seconds)
    }

    /// The HTTP status code.
    pub fn code(&self) -> u16 {
        self.0.code
    }

    /// The machine-readable reason: `NotFound`, `Conflict`.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// What a person reads.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The causes; of `Invalid` one a field.
    pub fn causes(&self) -> &[Cause] {
        &self.0.causes
    }

    /// After how many seconds the client should come again; 0 where it is not said.
    pub fn retry_after_seconds(&self) -> u32 {
        self.0.retry_after_seconds
    }

    /// The object of kind `Status`.
    pub fn to_value(&self) -> Value {
        let inner = &self.0;
        let mut details = Map::new();
        for (key, value) in [("name", &inner.name), ("group", &inner.group), ("kind", &inner.kind), ("uid", &inner.uid)]
        {
            if !value.is_empty() {
                details.insert(key.to_string(), Value::from(value.as_str()));
            }
        }
        if !inner.causes.is_empty() {
            details.insert("causes".to_string(), inner.causes.iter().map(cause_value).collect());
        }
        if inner.retry_after_seconds > 0 {
            details.insert("retryAfterSeconds".to_string(), inner.retry_after_seconds.into());
        }
        let metadata = match inner.continue_token.as_str() {
            "" => json!({}),
            token => json!({"continue": token}),
        };
        let mut value = json!({
            "apiVersion": "v1",
            "kind": "Status",
            "metadata": metadata,
            "status": "Failure",
            "message": inner.message,
            "code": inner.code,
        });
        if !inner.reason.is_empty() {
            value["reason"] = Value::from(inner.reason.as_ref());
        }
        if !details.is_empty() {
            value["details"] = Value::Object(details);
        }
        value
    }
}

fn cause_value(cause: &Cause) -> Value {
    let mut value = Map::new();
    for (key, text) in [("reason", cause.reason.as_ref()), ("message", &cause.message), ("field", &cause.field)] {
        if !text.is_empty() {
            value.insert(key.to_string(), Value::from(text));
        }
    }
    Value::Object(value)
}

/// The object of kind `Status` that says an operation succeeded; `details` where there is something to say.
pub fn success(details: Option<Value>) -> Value {
    let mut value = json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success"});
    if let Some(details) = details {
        value["details"] = details;
    }
    value
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Status({} {}: {})", self.0.code, self.0.reason, self.0.message)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Status {}

#[cfg(test)]
mod tests {
    use super::*;
    use machinery::field::Path;

    fn resource(group: &str, resource: &str) -> GroupResource {
        GroupResource { group: group.to_string(), resource: resource.to_string() }
    }

    #[test]
    fn messages_read_as_kubernetes_writes_them() {
        let pods = resource("", "pods");
        let deployments = resource("apps", "deployments");
        let cases = [
            (Status::not_found(&pods, "x"), 404, "pods \"x\" not found"),
            (Status::not_found(&deployments, "x"), 404, "deployments.apps \"x\" not found"),
            (Status::already_exists(&pods, "x"), 409, "pods \"x\" already exists"),
            (
                Status::modified(&resource("", "configmaps"), "x"),
                409,
                "Operation cannot be fulfilled on configmaps \"x\": the object has been modified; please apply your \
                 changes to the latest version and try again",
            ),
            (Status::forbidden(&pods, "", "User \"a\" may not"), 403, "pods is forbidden: User \"a\" may not"),
            (
                Status::invalid("apps", "Deployment", "x", &vec![FieldError::required(&Path::new("spec"), "")]),
                422,
                "Deployment.apps \"x\" is invalid: spec: Required value",
            ),
        ];
        for (status, code, message) in cases {
            assert_eq!((status.code(), status.message()), (code, message));
        }
    }

    #[test]
    fn details_name_the_object_and_the_causes() {
        let errors = vec![FieldError::required(&Path::new("spec").child("a"), "must be set")];
        let value = Status::invalid("", "Pod", "x", &errors).to_value();
        assert_eq!(value["details"]["kind"], "Pod");
        assert_eq!(value["details"]["causes"][0]["field"], "spec.a");
        assert_eq!(value["details"]["causes"][0]["reason"], "FieldValueRequired");
        assert_eq!(value["details"]["causes"][0]["message"], "Required value: must be set");
        assert_eq!(value["reason"], "Invalid");
    }
}
