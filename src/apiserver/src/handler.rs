//! What every request goes through, over TLS and in-process alike: who is it, what for, is there room, may they;
//! then the part of the server that answers. Each step is a function here; what they ask lives in plugins.

pub mod authorize;
pub mod deadline;
pub mod impersonate;
mod route;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, Request, Response};

use crate::accept::{self, Format};
use crate::answer;
use crate::audit::record::Begun;
use crate::audit::{Trail, Unidentified};
use crate::body::{self, Body, Unhurried};
use crate::flow::{Admission, Asked, Watching, sending};
use crate::metrics::Labels;
use crate::plugin::{Connection, Warnings};
use crate::request::{Query, RequestInfo, User};
use crate::served::Served;
use crate::state::State;
use crate::status::Result;

/// Whom a request comes from.
#[derive(Clone)]
pub enum Caller {
    /// Somebody on a connection, to be authenticated.
    Connection(Arc<Connection>),
    /// A component of this process.
    User(Arc<User>),
}

/// A request that is understood and authorized.
pub struct Context {
    /// The server.
    pub state: Arc<State>,
    /// What is served, as it was when the request came.
    pub served: Arc<Served>,
    /// Who asks.
    pub user: User,
    /// What for.
    pub info: RequestInfo,
    /// The query parameters.
    pub query: Query,
    /// The query as it came, for tunnels.
    pub raw_query: String,
    /// The path as it came, for tunnels.
    pub raw_path: String,
    /// The method.
    pub method: Method,
    /// The headers.
    pub headers: HeaderMap,
    /// Where warnings for the client go.
    pub warnings: Warnings,
    /// Where annotations of the audit event go.
    pub audit: Trail,
}

/// Answers a request. Every failure becomes a `Status` here.
pub fn serve(state: Arc<State>, caller: Caller, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
    Box::pin(answer(state, caller, request))
}

async fn answer(state: Arc<State>, caller: Caller, request: Request<Body>) -> Response<Body> {
    let began = Instant::now();
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let info = RequestInfo::parse(request.method(), request.uri().path(), &query);
    let long_running = is_long_running(&info, &query);
    let is_carried = long_running && info.verb != "watch";
    let served = state.customs.served();
    let labels = labels(&served, &info);
    if long_running {
        state.metrics.long_running(&labels, 1);
    }
    let guard = LongRunning {
        state: state.clone(),
        labels: long_running.then(|| labels.clone()),
        audit: Trail::default(),
        _watching: None,
    };
    // Of what is no resource, failures are JSON.
    let failing = info.is_resource.then(|| accept::of_failures(request.headers()));
    let audit = OnceLock::new();
    let limits =
        deadline::check_head(&request).and_then(|()| (!long_running).then(|| deadline::of(&query)).transpose());
    let answered = match limits {
        Err(refused) => Err(refused),
        Ok(None) => step(&state, served, caller, request, info, query, (Some(guard), None), &audit).await,
        Ok(Some(within)) => {
            let answer = step(&state, served, caller, request, info, query, (None, Some(within)), &audit);
            tokio::time::timeout(within, answer).await.unwrap_or_else(|_| Err(deadline::exceeded()))
        }
    };
    let mut response = answered.unwrap_or_else(|status| body::failure(&status));
    if is_carried {
        response.extensions_mut().insert(Unhurried);
    }
    if failing == Some(Format::Protobuf) {
        response = answer::failure_in_protobuf(response);
    }
    if let Some(audit) = audit.into_inner() {
        response = audit.answered(response).await;
    }
    state.metrics.count(labels, response.status().as_u16(), (!long_running).then(|| began.elapsed()));
    response
}

/// Counts a long-running request as long as its answer lives.
pub struct LongRunning {
    state: Arc<State>,
    labels: Option<Labels>,
    /// Its end is written when the last who knows of it lets go.
    audit: Trail,
    _watching: Option<Watching>,
}

impl LongRunning {
    /// The same, counted among those who hear of writes where it is a watch.
    fn watching(mut self, state: &State, info: &RequestInfo) -> Self {
        self._watching = (info.verb == "watch").then(|| state.flow.watch(info));
        self
    }
}

impl Drop for LongRunning {
    fn drop(&mut self) {
        if let Some(labels) = &self.labels {
            self.state.metrics.long_running(labels, -1);
        }
    }
}

#[allow(clippy::too_many_arguments, reason = "the parts of one request, each taken apart once")]
async fn step(
    state: &Arc<State>,
    served: Arc<Served>,
    caller: Caller,
    request: Request<Body>,
    info: RequestInfo,
    query: Query,
    (mut long_running, within): (Option<LongRunning>, Option<Duration>),
    audited: &OnceLock<Trail>,
) -> Result<Response<Body>> {
    let peer = if let Caller::Connection(connection) = &caller { connection.peer } else { None };
    // Components of this process bound what they ask for themselves, and put right what overloads it.
    let inside = matches!(caller, Caller::User(_));
    let begun = || Begun { info: info.clone(), peer, long_running: long_running.is_some() };
    let unidentified = state.plugins.audit.as_ref().map(|auditor| auditor.begin(&request, begun()));
    let user = match caller {
        Caller::User(user) => Ok(User::clone(&user)),
        Caller::Connection(connection) => {
            let began = Instant::now();
            let found = state.plugins.authenticate(&connection, request.headers(), &info.path).await;
            state.authentication.judged(&found, began.elapsed());
            found.map_err(crate::status::Status::from)
        }
    };
    let (audit, user) = identify(unidentified, user, request.headers()).await?;
    if audit.is_on() {
        let _ = audited.set(audit.clone());
        long_running.iter_mut().for_each(|running| running.audit = audit.clone());
    }
    let user = impersonate::impersonate(state, user, &info, request.headers(), &audit).await?;
    // A watch takes seats until it has begun; streams take none.
    let is_long_running = long_running.is_some();
    let is_stream = is_long_running && info.verb != "watch";
    if inside || is_stream {
        return authorized(state, served, (user, audit), request, info, query, long_running).await;
    }
    let asked = Asked { user: &user, info: &info, query: &query, served: &served, store: state.store.as_ref() };
    let Admission { marks, seat } = state.flow.admit(&asked, deadline::of_waiting(within)).await;
    // When a watch of another server has begun only that one knows: here it has its turn until it is passed on.
    let is_elsewhere = is_long_running && served.get(&info.group, &info.version, &info.resource).is_none();
    let answered = match seat {
        Ok(seat) if is_elsewhere => {
            drop(seat);
            authorized(state, served, (user, audit), request, info, query, long_running).await
        }
        Ok(mut seat) => {
            let _counted = InFlight::count(state, &info);
            let work = authorized(state, served, (user, audit), request, info, query, long_running);
            let mut answered = seat.serve(work).await;
            if let Ok(response) = &mut answered {
                sending::hold(seat, response, is_long_running);
            }
            answered
        }
        Err(refused) => {
            state.metrics.refused.fetch_add(1, Ordering::Relaxed);
            Err(refused)
        }
    };
    let mut response = answered.unwrap_or_else(|status| body::failure(&status));
    if let Some(marks) = marks {
        marks.write(response.headers_mut());
    }
    Ok(response)
}

async fn authorized(
    state: &Arc<State>,
    served: Arc<Served>,
    (user, audit): (User, Trail),
    request: Request<Body>,
    info: RequestInfo,
    query: Query,
    long_running: Option<LongRunning>,
) -> Result<Response<Body>> {
    authorize::authorize_request(state, &user, &info, &audit).await?;
    // Who has no right to watch is told of nothing, and makes no write dearer.
    let long_running = long_running.map(|running| running.watching(state, &info));
    let request = audit.request(request);
    let context = Context {
        state: state.clone(),
        served,
        user,
        info,
        query,
        raw_query: request.uri().query().unwrap_or_default().to_string(),
        raw_path: request.uri().path().to_string(),
        method: request.method().clone(),
        headers: request.headers().clone(),
        warnings: Warnings::default(),
        audit,
    };
    let answered = route::route(&context, request, long_running).await;
    let mut response = answered.unwrap_or_else(|status| body::failure(&status));
    add_warnings(&mut response, context.warnings.take());
    response.headers_mut().insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    Ok(response)
}

/// Has the audit log know who asks, or that nobody knows.
async fn identify(
    unidentified: Option<Unidentified>,
    user: Result<User>,
    headers: &HeaderMap,
) -> Result<(Trail, User)> {
    match (unidentified, user) {
        (None, user) => Ok((Trail::default(), user?)),
        (Some(unidentified), Ok(user)) => Ok((unidentified.identify(&user).await?, user)),
        (Some(unidentified), Err(status)) => {
            let how = if headers.contains_key(http::header::AUTHORIZATION) { "bearer" } else { "x509" };
            unidentified.refuse(how, &status).await;
            Err(status)
        }
    }
}

/// Counts a request as long as it is served.
struct InFlight<'a>(&'a AtomicI64);

impl<'a> InFlight<'a> {
    fn count(state: &'a State, info: &RequestInfo) -> Self {
        let reads = matches!(info.verb.as_str(), "get" | "list" | "watch" | "head");
        let gauge = if reads { &state.metrics.reads_in_flight } else { &state.metrics.writes_in_flight };
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Watches and streams, which neither time out nor take a place.
fn is_long_running(info: &RequestInfo, query: &Query) -> bool {
    match info.subresource.as_str() {
        _ if !info.is_resource => false,
        "exec" | "attach" | "portforward" | "proxy" => true,
        "log" => query.flag("follow"),
        _ => info.verb == "watch",
    }
}

fn labels(served: &Served, info: &RequestInfo) -> Labels {
    let known = served.get(&info.group, &info.version, &info.resource).filter(|_| info.is_resource);
    let Some(resource) = known else {
        return Labels { verb: known_verb(&info.verb), ..Labels::default() };
    };
    let scope = match (info.name.as_str(), info.namespace.as_str()) {
        ("", "") => "cluster",
        ("", _) => "namespace",
        _ => "resource",
    };
    let known_subresource = resource.subresource(&info.subresource).is_some();
    Labels {
        verb: known_verb(&info.verb),
        group: info.group.clone(),
        version: info.version.clone(),
        resource: info.resource.clone(),
        subresource: if known_subresource { info.subresource.clone() } else { String::new() },
        scope,
    }
}

/// A client may send any method; only known verbs make a series.
fn known_verb(verb: &str) -> String {
    match verb {
        "get" | "list" | "watch" | "create" | "update" | "patch" | "delete" | "deletecollection" | "post" | "put"
        | "head" | "options" => verb.to_ascii_uppercase(),
        _ => "OTHER".to_string(),
    }
}

fn add_warnings(response: &mut Response<Body>, warnings: Vec<String>) {
    let mut left = Warnings::BYTES_MAX;
    for warning in warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"").replace(|c: char| c.is_control(), " ");
        let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) else { continue };
        if value.len() > left {
            break;
        }
        left -= value.len();
        response.headers_mut().append(http::header::WARNING, value);
    }
}
