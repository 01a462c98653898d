//! One connection: TLS, who the client is by it, and HTTP within bounds. What a request goes through is `handler`.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::targets::Targets;
use crate::body::{Body, BoxError};
use crate::config::Limits;
use crate::handler::{self, Caller};
use crate::plugin::Connection;
use crate::state::State;
use crate::tls::Material;

/// A client that has not finished its TLS handshake by then is not coming.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How often an idle HTTP/2 client is asked whether it lives.
const PING_EVERY: Duration = Duration::from_secs(30);
/// A client that does not answer in this time is gone, and its watches with it.
const PING_ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// How many requests one HTTP/2 client has open; a client process holds a watch a kind and more on one connection, an
/// agent one for each Secret and ConfigMap of its pods.
const STREAMS_PER_CONNECTION: u32 = 1000;
/// Requests that a client may take back before they were looked at: one that takes back more is no client but an
/// attacker (CVE-2023-44487), and its connection is closed.
const TAKEN_BACK_MAX: usize = 20;
/// Requests with mistakes in their frames, on one connection.
const BROKEN_MAX: usize = 100;
/// The most that is read of a request's head; what is beyond the server's own bound and within this is refused in words.
const HEAD_BYTES_MAX: usize = 256 << 10;
/// A client that was told that its connection ends, has nothing open and does not end it.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// How many times in the idle time a connection is looked at.
const LOOKS: u32 = 4;

/// Serves a connection until it ends, or is to close and its requests are answered.
pub async fn serve(
    state: &Arc<State>,
    tls: &Material,
    stream: TcpStream,
    peer: SocketAddr,
    closing: &CancellationToken,
) {
    // Watch events are small and must not wait for more.
    let _ = stream.set_nodelay(true);
    let material = tls.current();
    let acceptor = tokio_rustls::TlsAcceptor::from(material.server.clone());
    let stream = match tokio::time::timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%peer, "TLS handshake: {error}"),
        Err(_) => return tracing::debug!(%peer, "TLS handshake took too long"),
    };
    let chain = stream.get_ref().1.peer_certificates().map(|chain| chain.to_vec()).unwrap_or_default();
    let mut connection = Connection { peer: Some(peer), ..Connection::default() };
    match material.identify(&chain) {
        Ok(certificate) => connection.certificate = certificate,
        Err(refusal) => {
            tracing::info!(%peer, "a client certificate does not hold: {refusal}");
            connection.refused_certificate = Some(refusal.into());
        }
    }
    let caller = Caller::Connection(Arc::new(connection));
    let activity = Arc::new(Activity::new());
    let own = activity.clone();
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (state, caller, open) = (state.clone(), caller.clone(), Open::begin(&own));
        async move {
            let request = request.map(|body| body.map_err(|error| -> BoxError { error.into() }).boxed_unsync());
            let answer = handler::serve(state, caller, request).await;
            Ok::<_, std::convert::Infallible>(answer.map(|body| Answer { body, _open: open }))
        }
    });
    let limits = &state.config.limits;
    let stream = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Targets::unchanged(stream),
        _ => Targets::new(stream),
    };
    let builder = builder(limits);
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = ends(closing, &activity, limits.idle) => {
            serving.as_mut().graceful_shutdown();
            loop {
                tokio::select! {
                    ended = serving.as_mut() => break ended,
                    () = tokio::time::sleep(CLOSE_WITHIN) => if activity.idle_for().is_some() {
                        return tracing::debug!(%peer, "a client did not end its connection");
                    }
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, "connection ended: {error}");
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.headers_within).max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER_WITHIN)
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .max_pending_accept_reset_streams(TAKEN_BACK_MAX)
        .max_local_error_reset_streams(BROKEN_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32);
    builder
}

/// Waits until the server closes or the connection has been idle for too long.
async fn ends(closing: &CancellationToken, activity: &Activity, idle: Duration) {
    let mut looks = tokio::time::interval((idle / LOOKS).max(Duration::from_millis(1)));
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = closing.cancelled() => return,
            _ = looks.tick() => if activity.idle_for().is_some_and(|time| time >= idle) {
                return;
            }
        }
    }
}

/// How many requests a connection has open, and since when none.
struct Activity {
    began: Instant,
    open: AtomicUsize,
    last_ms: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self { began: Instant::now(), open: AtomicUsize::new(0), last_ms: AtomicU64::new(0) }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// `None` while a request is open.
    fn idle_for(&self) -> Option<Duration> {
        let last = Duration::from_millis(self.last_ms.load(Ordering::Acquire));
        (self.open.load(Ordering::Acquire) == 0).then(|| self.began.elapsed().saturating_sub(last))
    }
}

/// A request that is open until its answer is sent.
struct Open(Arc<Activity>);

impl Open {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.open.fetch_add(1, Ordering::AcqRel);
        Self(activity.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.last_ms.store(self.0.now_ms(), Ordering::Release);
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The body of an answer, with which its request ends.
struct Answer {
    body: Body,
    _open: Open,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
