//! One connection: TLS, who the client is by it, and HTTP within bounds. What a request goes through is `handler`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::answer::{Answer, Load, Open};
use super::pace::{self, Pace};
use super::places::{Place, Placed};
use super::targets::Targets;
use crate::body::BoxError;
use crate::config::Limits;
use crate::handler::{self, Caller};
use crate::plugin::Connection;
use crate::processor::Account;
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
    (peer, place, account): (SocketAddr, Place, Arc<Account>),
    closing: &CancellationToken,
) {
    // Watch events are small and must not wait for more.
    let _ = stream.set_nodelay(true);
    let material = tls.current();
    let acceptor = tokio_rustls::TlsAcceptor::from(material.server.clone());
    let handshake = tokio::time::timeout(HANDSHAKE_WITHIN, acceptor.accept(Placed::new(stream, place)));
    let stream = match closing.run_until_cancelled(handshake).await {
        Some(Ok(Ok(stream))) => stream,
        Some(Ok(Err(error))) => return tracing::debug!(%peer, "TLS handshake: {error}"),
        Some(Err(_)) => return tracing::debug!(%peer, "TLS handshake took too long"),
        // Nothing was asked yet that could be answered.
        None => return,
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
    let (load, pace) = (Load::new(), Pace::new());
    let limits = &state.config.limits;
    let streams = Streams { state: state.clone(), load: load.clone(), account };
    let (own, own_pace) = (load.clone(), pace.clone());
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (state, caller, open) = (state.clone(), caller.clone(), Open::begin(&own));
        let (load, pace) = (own.clone(), own_pace.clone());
        async move {
            load.room().await;
            let request = request.map(|body| body.map_err(|error| -> BoxError { error.into() }).boxed_unsync());
            let answer = handler::serve(state, caller, request).await;
            Ok::<_, std::convert::Infallible>(Answer::of(answer, &pace, open))
        }
    });
    let stream = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Targets::unchanged(stream),
        _ => Targets::new(stream),
    };
    let builder = builder(limits, streams);
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stands_still(state, &load, &pace) => return tracing::debug!(%peer, "a client does not read"),
        () = ends(closing, &load, limits.idle) => {
            serving.as_mut().graceful_shutdown();
            loop {
                tokio::select! {
                    ended = serving.as_mut() => break ended,
                    () = stands_still(state, &load, &pace) => return tracing::debug!(%peer, "a client does not read"),
                    () = tokio::time::sleep(CLOSE_WITHIN) => if load.idle_for().is_some() {
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

/// Runs the tasks of an HTTP/2 connection's streams, each as long as its client takes what it is answered.
#[derive(Clone)]
struct Streams {
    state: Arc<State>,
    load: Arc<Load>,
    account: Arc<Account>,
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, work: F) {
        let Self { state, load, account } = self.clone();
        let processor = state.processor.clone();
        tokio::spawn(processor.share(account.of_stream(), async move {
            if pace::keeping(work, state.config.limits.taken_within).await.is_none() {
                state.metrics.stalled.fetch_add(1, Ordering::Relaxed);
                load.stalled();
            }
        }));
    }
}

/// Returns once the connection is to end since its client does not read.
async fn stands_still(state: &State, load: &Load, pace: &Pace) {
    tokio::select! {
        () = load.overrun.cancelled() => {}
        () = pace.stalls(state.config.limits.taken_within) => {
            state.metrics.stalled.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn builder(limits: &Limits, streams: Streams) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(streams);
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
async fn ends(closing: &CancellationToken, load: &Load, idle: Duration) {
    let mut looks = tokio::time::interval((idle / LOOKS).max(Duration::from_millis(1)));
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = closing.cancelled() => return,
            _ = looks.tick() => if load.idle_for().is_some_and(|time| time >= idle) {
                return;
            }
        }
    }
}
