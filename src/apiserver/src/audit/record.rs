//! What is known of one request until its last line is written. The last line is written by whoever lets go of the
//! record last: of a watch that is the watch itself, of a request that was given up nobody else could.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, SizeHint};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::event::{Event, Source};
use super::object::{BODY_MAX_BYTES, TRUNCATED, read};
use super::policy::{Level, Stage, Verdict};
use super::{Auditor, Trail, asks_for_body};
use crate::authn::reviews::user_info;
use crate::body::{self, Body, BoxError};
use crate::live::text;
use crate::request::{RequestInfo, User};
use crate::status::Status;

/// The header that names a request, in what is asked and answered.
const AUDIT_ID: &str = "audit-id";
/// A client may name its requests itself, in so many bytes at most; Kubernetes draws the line at the same place.
const AUDIT_ID_MAX_BYTES: usize = 64;
/// All annotations of a request, in bytes; what comes after is left out.
const ANNOTATIONS_MAX_BYTES: usize = 256 * 1024;

/// How a request has come.
#[derive(Debug, Clone)]
pub struct Begun {
    /// What for.
    pub info: RequestInfo,
    /// The other end; `None` in-process.
    pub peer: Option<SocketAddr>,
    /// A watch or stream, whose beginning is written too.
    pub long_running: bool,
}

/// A request before it is known who asks.
pub struct Unidentified {
    auditor: Arc<Auditor>,
    source: Source,
    begun: Begun,
}

impl Unidentified {
    pub(super) fn new(auditor: Arc<Auditor>, request: &Request<Body>, begun: Begun) -> Self {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let named = header(AUDIT_ID);
        let is_name = !named.is_empty() && named.len() <= AUDIT_ID_MAX_BYTES;
        let source = Source {
            audit_id: if is_name { named.to_string() } else { uuid::Uuid::new_v4().to_string() },
            uri: request.uri().path_and_query().map_or_else(String::new, ToString::to_string),
            ips: addresses(request.headers(), begun.peer),
            agent: header(http::header::USER_AGENT.as_str()).to_string(),
            received: Timestamp::now(),
        };
        Self { auditor, source, begun }
    }

    /// It is known who asks: decides how much is written, and writes that the request has come.
    ///
    /// # Errors
    /// 500 where that cannot be written and nothing may be done without.
    pub async fn identify(self, user: &User) -> Result<Trail, Status> {
        let verdict = self.auditor.policy.judge(Some(user), &self.begun.info);
        let Some(record) = self.record(Some(user), verdict) else { return Ok(Trail::default()) };
        let is_written = record.add(Stage::RequestReceived).await;
        if !is_written && record.auditor.log.is_strict() {
            record.lock().is_over = true;
            return Err(Status::internal("failed to store audit event"));
        }
        Ok(Trail(Some(record)))
    }

    /// Nobody knows who asks: the answer is all that is written.
    pub async fn refuse(self, how: &str, status: &Status) {
        let verdict = self.auditor.policy.judge(None, &self.begun.info);
        let Some(record) = self.record(None, verdict) else { return };
        let said = json!({"metadata": {}, "status": "Failure", "reason": status.reason(), "code": status.code(),
            "message": format!("Authentication failed, attempted: {how}")});
        record.lock().event.response_status = Some(said);
        record.add(Stage::ResponseStarted).await;
        record.lock().is_over = true;
    }

    fn record(self, user: Option<&User>, verdict: Verdict) -> Option<Arc<Record>> {
        if verdict.level == Level::None {
            return None;
        }
        let event = Event::new(&self.source, &self.begun.info, user, verdict.level);
        let state = State { event, annotated_bytes: 0, kept: None, is_over: false };
        let takes_body = verdict.level >= Level::Request && asks_for_body(&self.begun.info);
        Some(Arc::new(Record {
            auditor: self.auditor,
            verdict,
            takes_body,
            long_running: self.begun.long_running,
            state: Mutex::new(state),
        }))
    }
}

/// One request.
pub struct Record {
    auditor: Arc<Auditor>,
    verdict: Verdict,
    takes_body: bool,
    long_running: bool,
    state: Mutex<State>,
}

struct State {
    event: Event,
    annotated_bytes: usize,
    kept: Option<Kept>,
    is_over: bool,
}

/// A body, as far as it was read.
struct Kept {
    headers: HeaderMap,
    bytes: BytesMut,
    is_too_long: bool,
}

impl Kept {
    fn keep(&mut self, data: &Bytes) {
        if self.bytes.len() + data.len() > BODY_MAX_BYTES {
            self.bytes = BytesMut::new();
            self.is_too_long = true;
        } else if !self.is_too_long {
            self.bytes.extend_from_slice(data);
        }
    }
}

impl Record {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn annotate(&self, key: &str, value: String) {
        let mut state = self.lock();
        if let Some(before) = state.event.annotations.get(key) {
            if *before != value {
                tracing::debug!(key, "an audit annotation is there already and stays");
            }
            return;
        }
        let bytes = key.len() + value.len();
        if state.annotated_bytes + bytes > ANNOTATIONS_MAX_BYTES {
            return tracing::warn!(key, "an audit annotation is left out: the event has too many");
        }
        state.annotated_bytes += bytes;
        state.event.annotations.insert(key.to_string(), value);
    }

    pub(super) fn impersonate(&self, user: &User) {
        self.lock().event.impersonated_user = Some(user_info(user));
    }

    pub(super) fn constrain(&self, verb: &str) {
        self.lock().event.authentication_metadata = Some(json!({"impersonationConstraint": verb}));
    }

    pub(super) fn about(&self, object: &Value) {
        let mut state = self.lock();
        let Some(reference) = &mut state.event.object_ref else { return };
        for (field, pointer) in [
            (&mut reference.name, "/metadata/name"),
            (&mut reference.namespace, "/metadata/namespace"),
            (&mut reference.uid, "/metadata/uid"),
            (&mut reference.resource_version, "/metadata/resourceVersion"),
        ] {
            if field.is_empty() {
                *field = text(object, pointer).to_string();
            }
        }
    }

    pub(super) fn keep_request(self: Arc<Self>, request: Request<Body>) -> Request<Body> {
        if !self.takes_body {
            return request;
        }
        let kept = Kept { headers: request.headers().clone(), bytes: BytesMut::new(), is_too_long: false };
        self.lock().kept = Some(kept);
        let (mut parts, body) = request.into_parts();
        if self.verdict.level == Level::RequestResponse {
            // The answer is written as it is sent, so it must not be compressed.
            parts.headers.remove(http::header::ACCEPT_ENCODING);
        }
        Request::from_parts(parts, Tee { body, record: self }.boxed_unsync())
    }

    fn keep(&self, data: &Bytes) {
        if let Some(kept) = &mut self.lock().kept {
            kept.keep(data);
        }
    }

    /// Puts what was kept of the request's body into the event.
    fn take_request(&self, state: &mut State) {
        let Some(kept) = state.kept.take() else { return };
        if kept.is_too_long {
            state.event.annotations.insert(TRUNCATED.to_string(), "true".to_string());
            return;
        }
        state.event.request_object = read(&kept.headers, &kept.bytes.freeze(), self.verdict.omit_managed_fields);
    }

    pub(super) async fn answered(self: Arc<Self>, mut response: Response<Body>) -> Response<Body> {
        let (status, id) = {
            let mut state = self.lock();
            self.take_request(&mut state);
            let status = status_of(&response);
            state.event.response_status = Some(status.clone());
            (status, HeaderValue::from_str(&state.event.audit_id))
        };
        if let Ok(id) = id {
            response.headers_mut().insert(AUDIT_ID, id);
        }
        if self.long_running {
            // Its end is written by whoever drops the record last.
            if status["code"].as_u64().is_some_and(|code| code < 400) {
                self.add(Stage::ResponseStarted).await;
            }
            return response;
        }
        if self.takes_body && self.verdict.level == Level::RequestResponse {
            match response.body().size_hint().exact() {
                Some(size) if size <= BODY_MAX_BYTES as u64 => response = self.keep_response(response).await,
                Some(_) => self.annotate(TRUNCATED, "true".to_string()),
                // Its end is written when the last of it has been passed on.
                None => {
                    let (parts, body) = response.into_parts();
                    let kept = Kept { headers: parts.headers.clone(), bytes: BytesMut::new(), is_too_long: false };
                    return Response::from_parts(parts, Passed { body, kept, record: self }.boxed_unsync());
                }
            }
        }
        self.add(Stage::ResponseComplete).await;
        // Only now: whoever gives the request up while it waits for the log leaves its end to be written.
        self.lock().is_over = true;
        response
    }

    /// Takes in the body of an answer that is all there.
    async fn keep_response(&self, response: Response<Body>) -> Response<Body> {
        let (parts, body) = response.into_parts();
        let Ok(collected) = body.collect().await else { return Response::from_parts(parts, body::empty()) };
        let bytes = collected.to_bytes();
        self.lock().event.response_object = read(&parts.headers, &bytes, self.verdict.omit_managed_fields);
        Response::from_parts(parts, body::full(bytes))
    }

    fn line(&self, stage: Stage) -> Option<Vec<u8>> {
        let is_wanted = !self.verdict.omit_stages.contains(&stage);
        is_wanted.then(|| self.lock().event.line(stage, Timestamp::now()))
    }

    /// Writes a line of this stage; says whether it was written, or is none that is wanted.
    async fn add(&self, stage: Stage) -> bool {
        match self.line(stage) {
            Some(line) => self.auditor.log.add(line).await,
            None => true,
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.lock().is_over {
            return;
        }
        let mut state = self.lock();
        self.take_request(&mut state);
        let stage = if std::thread::panicking() {
            let said = json!({"metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
                "message": "the API server has panicked"});
            state.event.response_status = Some(said);
            Stage::Panic
        } else {
            let said =
                || json!({"metadata": {}, "status": "Success", "message": "Connection closed early", "code": 200});
            state.event.response_status.get_or_insert_with(said);
            Stage::ResponseComplete
        };
        drop(state);
        if let Some(line) = self.line(stage) {
            self.auditor.log.try_add(line);
        }
    }
}

/// The status of an answer: of failures what the client is told, of others the code.
fn status_of(response: &Response<Body>) -> Value {
    let mut said = json!({"metadata": {}});
    if let Some(status) = response.extensions().get::<Status>() {
        let status = status.to_value();
        for field in ["status", "message", "reason", "details"] {
            if let Some(value) = status.get(field).filter(|value| !value.is_null()) {
                said[field] = value.clone();
            }
        }
    }
    said["code"] = json!(response.status().as_u16());
    said
}

/// The addresses that a request came over: what proxies say, then the other end of the connection, which nobody can
/// make up.
fn addresses(headers: &HeaderMap, peer: Option<SocketAddr>) -> Vec<String> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let address = |text: &str| text.trim().parse::<IpAddr>().ok();
    let mut all: Vec<IpAddr> = header("x-forwarded-for").split(',').filter_map(address).collect();
    if let Some(real) = address(header("x-real-ip")).filter(|real| !all.contains(real)) {
        all.push(real);
    }
    // A part of this process asks without a connection.
    let peer = peer.map_or(IpAddr::from([127, 0, 0, 1]), |peer| peer.ip().to_canonical());
    if all.last() != Some(&peer) {
        all.push(peer);
    }
    all.iter().map(ToString::to_string).collect()
}

/// A body whose bytes are kept on their way.
struct Tee {
    body: Body,
    record: Arc<Record>,
}

impl hyper::body::Body for Tee {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.record.keep(data);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer that comes from elsewhere or piece by piece, kept on its way to the client.
struct Passed {
    body: Body,
    kept: Kept,
    record: Arc<Record>,
}

impl Drop for Passed {
    fn drop(&mut self) {
        let record = &self.record;
        if self.kept.is_too_long {
            return record.annotate(TRUNCATED, "true".to_string());
        }
        let bytes = std::mem::take(&mut self.kept.bytes).freeze();
        record.lock().event.response_object = read(&self.kept.headers, &bytes, record.verdict.omit_managed_fields);
    }
}

impl hyper::body::Body for Passed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.kept.keep(data);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_end_of_the_connection_is_always_told() {
        let addresses = |forwarded: &'static str, real: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", HeaderValue::from_static(forwarded));
            headers.insert("x-real-ip", HeaderValue::from_static(real));
            addresses(&headers, Some("10.0.0.9:1".parse().expect("an address")))
        };
        assert_eq!(addresses("", ""), ["10.0.0.9"]);
        assert_eq!(addresses("1.1.1.1, x, ::1", "2.2.2.2"), ["1.1.1.1", "::1", "2.2.2.2", "10.0.0.9"]);
        assert_eq!(addresses("1.1.1.1", "1.1.1.1"), ["1.1.1.1", "10.0.0.9"]);
        assert_eq!(addresses("10.0.0.9", ""), ["10.0.0.9"]);
    }
}
