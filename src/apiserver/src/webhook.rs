//! Calling out: a review is posted as JSON over HTTPS to whoever is to answer it, and the answer read. Used for
//! admission and conversion webhooks, whose place a `clientConfig` says, and by whoever else knows an [`Endpoint`].
//!
//! Connections are kept for the next call. Nothing is redirected, an answer has a bound, and where an endpoint is not
//! the operator's own choice no call goes to this host's own addresses.

mod connect;
mod endpoint;
mod failure;
pub mod figures;
mod get;
pub mod kubeconfig;
pub mod resolve;
mod tls;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use rustls::ClientConfig;
use serde_json::Value;

use crate::authz::figures::Figures as Authorizing;
use crate::body::JSON;
use crate::live::Live;

pub use endpoint::{Endpoint, Identity, Reach};
pub use failure::Failure;
use figures::Figures;

/// A document that is larger is none.
const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// How many endpoints are remembered; the one that was called longest ago makes way.
const ENDPOINTS_MAX: usize = 256;
/// How many connections to one endpoint wait for the next call.
const IDLE_MAX: usize = 32;
/// Servers close connections that were idle for longer.
const IDLE_FOR: Duration = Duration::from_secs(60);

/// What an answer is bounded by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// After this it is given up.
    pub within: Duration,
    /// One that is larger is none.
    pub answer_bytes: usize,
}

/// Calls endpoints.
pub struct Caller {
    live: Live,
    /// Endpoints that others than this host's operator chose may be on its own addresses.
    is_local_allowed: bool,
    lines: Mutex<HashMap<Endpoint, Arc<Line>>>,
    /// What is counted of admission webhooks.
    pub figures: Figures,
    /// What is counted of those that authorize.
    pub authorizing: Arc<Authorizing>,
}

/// What is kept of an endpoint between calls.
struct Line {
    tls: Arc<ClientConfig>,
    idle: Mutex<Unused>,
    called: Mutex<Instant>,
}

/// Connections that wait for the next call.
#[derive(Default)]
struct Unused {
    idle: VecDeque<Idle>,
    /// Somebody closes them when they become too old.
    is_watched: bool,
}

impl Unused {
    fn close_old(&mut self) {
        self.idle.retain(|one| one.since.elapsed() < IDLE_FOR && !one.sender.is_closed());
    }
}

struct Idle {
    sender: SendRequest<Full<Bytes>>,
    since: Instant,
}

impl Caller {
    /// A caller that finds services in the store behind `live`. `is_local_allowed` is [`crate::Config::local_targets`].
    pub fn new(live: Live, is_local_allowed: bool) -> Self {
        Self {
            live,
            is_local_allowed,
            lines: Mutex::default(),
            figures: Figures::default(),
            authorizing: Arc::default(),
        }
    }

    /// Posts a review and answers with what comes back. `bearer` is a token that proves who calls. The endpoint is told
    /// by the parameter `timeout` how long it has.
    ///
    /// # Errors
    /// Why there is no answer, in the words in which Kubernetes says it.
    pub async fn post(
        &self,
        endpoint: &Endpoint,
        bearer: Option<&str>,
        review: &Value,
        bounds: Bounds,
    ) -> Result<Value, Failure> {
        let limit = bounds.within;
        let line = self.line(endpoint)?;
        let query = format!("timeout={}s", limit.as_secs_f64().ceil());
        let body = Bytes::from(serde_json::to_vec(review).map_err(|error| Failure::Unusable(error.to_string()))?);
        let asked = format!("{}?{query}", endpoint.url);
        let made = request(endpoint, &query, bearer)?;
        let exchange = async {
            let (response, sender) = self.send(endpoint, &line, &made, &body).await?;
            let code = response.status().as_u16();
            let bytes = read(response, bounds.answer_bytes).await?;
            line.keep(sender).await;
            Ok((code, bytes))
        };
        let failed = |why: String| Failure::Unreachable { url: asked.clone(), why };
        let answered = tokio::time::timeout(limit, exchange).await;
        let (code, bytes) = answered.map_err(|_| Failure::TimedOut { url: asked.clone() })?.map_err(failed)?;
        if !(200..300).contains(&code) {
            return Err(Failure::of_code(code, &bytes));
        }
        serde_json::from_slice(&bytes).map_err(|error| Failure::Malformed(error.to_string()))
    }

    fn line(&self, endpoint: &Endpoint) -> Result<Arc<Line>, Failure> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get(endpoint) {
            *line.called.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            return Ok(line.clone());
        }
        let tls = Arc::new(tls::config(endpoint).map_err(Failure::Unusable)?);
        if lines.len() >= ENDPOINTS_MAX {
            let called = |line: &Line| *line.called.lock().unwrap_or_else(PoisonError::into_inner);
            let oldest = lines.iter().min_by_key(|(_, line)| called(line)).map(|(endpoint, _)| endpoint.clone());
            oldest.map(|endpoint| lines.remove(&endpoint));
        }
        let line = Arc::new(Line { tls, idle: Mutex::default(), called: Mutex::new(Instant::now()) });
        lines.insert(endpoint.clone(), line.clone());
        Ok(line)
    }

    /// Sends a request over a connection that waits, or a new one. One that waited may have been closed meanwhile: then
    /// once more over a new one, since whoever answers reviews takes one twice.
    async fn send(
        &self,
        endpoint: &Endpoint,
        line: &Line,
        request: &Request<()>,
        body: &Bytes,
    ) -> Result<(Response<Incoming>, SendRequest<Full<Bytes>>), String> {
        let whole = || request.clone().map(|()| Full::new(body.clone()));
        if let Some(mut sender) = line.take()
            && let Ok(response) = sender.send_request(whole()).await
        {
            return Ok((response, sender));
        }
        let is_local_allowed = self.is_local_allowed || endpoint.is_operators;
        let mut sender = connect::connect(&self.live, endpoint, &line.tls, is_local_allowed).await?;
        let response = sender.send_request(whole()).await.map_err(|error| stdx::error::chain(&error))?;
        Ok((response, sender))
    }
}

impl Line {
    fn take(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut unused = self.lock();
        unused.close_old();
        unused.idle.pop_back().map(|one| one.sender)
    }

    /// Keeps a connection whose answer was read to its end, until it is used again or nobody has for too long.
    async fn keep(self: &Arc<Self>, mut sender: SendRequest<Full<Bytes>>) {
        if sender.ready().await.is_err() {
            return;
        }
        let mut unused = self.lock();
        if unused.idle.len() < IDLE_MAX {
            unused.idle.push_back(Idle { sender, since: Instant::now() });
        }
        if !std::mem::replace(&mut unused.is_watched, true) {
            tokio::spawn(close_unused(Arc::downgrade(self)));
        }
    }

    /// Closes what nobody has used for too long; says whether anything is left to look after.
    fn sweep(&self) -> bool {
        let mut unused = self.lock();
        unused.close_old();
        unused.is_watched = !unused.idle.is_empty();
        unused.is_watched
    }

    fn lock(&self) -> MutexGuard<'_, Unused> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes the connections of a line as they become too old, until none is left.
async fn close_unused(line: Weak<Line>) {
    loop {
        tokio::time::sleep(IDLE_FOR).await;
        if !line.upgrade().is_some_and(|line| line.sweep()) {
            return;
        }
    }
}

fn request(endpoint: &Endpoint, query: &str, bearer: Option<&str>) -> Result<Request<()>, Failure> {
    let url = url::Url::parse(&endpoint.url).map_err(|error| Failure::Unusable(error.to_string()))?;
    let mut host = url.host_str().unwrap_or_default().to_string();
    if let Some(port) = url.port() {
        host = format!("{host}:{port}");
    }
    let mut request = Request::post(format!("{}?{query}", url.path()))
        .header(HOST, host)
        .header(CONTENT_TYPE, HeaderValue::from_static(JSON))
        .header(ACCEPT, HeaderValue::from_static("application/json, */*"))
        .header(USER_AGENT, HeaderValue::from_static("kube-apiserver-admission"));
    if let Some(token) = bearer {
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut value = value.map_err(|_| Failure::Unusable("the token is no header's value".to_string()))?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    request.body(()).map_err(|error| Failure::Unusable(error.to_string()))
}

/// Reads an answer to its end.
async fn read(response: Response<Incoming>, bytes_max: usize) -> Result<Bytes, String> {
    let mut body = response.into_body();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| stdx::error::chain(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > bytes_max {
            return Err(format!("the answer is larger than {bytes_max} bytes"));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests;
