//! The server: what it is made of, the listener, and how it ends. What a request goes through is `handler`.

mod targets;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use store::Store;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::body::BoxError;
use crate::components::Components;
use crate::config::Config;
use crate::error::Error;
use crate::handler::{self, Caller};
use crate::plugin::{Connection, Plugins};
use crate::request::User;
use crate::state::State;
use crate::tls::Material;
use targets::Targets;

/// A client that has not finished its TLS handshake by then is not coming.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// A client that has not sent its request's headers by then is cut off.
const HEADERS_WITHIN: Duration = Duration::from_secs(30);
/// How often an idle HTTP/2 client is asked whether it lives.
const PING_EVERY: Duration = Duration::from_secs(30);
/// A client that does not answer in this time is gone, and its watches with it.
const PING_ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// How many requests one HTTP/2 client has open; a client process holds a watch a kind and more on one connection.
const STREAMS_PER_CONNECTION: u32 = 1000;
/// How long requests in flight have when the server ends.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// An API server that listens; [`Server::run`] answers.
pub struct Server {
    state: Arc<State>,
    tls: Arc<Material>,
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Reads certificates and binds the listener.
    ///
    /// # Errors
    /// Certificates that cannot be used; an address that is taken.
    pub async fn new(config: Config, store: Arc<dyn Store>, plugins: Plugins) -> Result<Self, Error> {
        let tls = Arc::new(Material::load(&config)?);
        let listen = config.listen;
        let failed = |source| Error::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let state = State::new(config, address.port(), store, plugins)?;
        // What was served before is served from the first request on.
        let read = state.customs.refresh(state.store.as_ref()).await;
        read.map_err(|status| Error::Definitions(status.to_string()))?;
        Ok(Self { state: Arc::new(state), tls, listener, address })
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where whoever starts components beside the server says how they stand.
    pub fn components(&self) -> Components {
        self.state.components.clone()
    }

    /// A client that needs no sockets: its requests go through the same steps as all others, as `user`.
    /// It works before [`Server::run`] is called and until the process ends.
    pub fn client(&self, user: User) -> kube::Client {
        crate::local::client(&self.state, user)
    }

    /// Gives such clients that act as service accounts of `kube-system`, by the account's name.
    pub fn account_clients(&self) -> impl Fn(&str) -> kube::Client + Send + 'static {
        let state = self.state.clone();
        move |account| crate::local::client(&state, User::service_account("kube-system", account))
    }

    /// Answers until `shutdown`; then watches end, and requests in flight have ten seconds.
    ///
    /// # Errors
    /// None at present beyond what [`Server::new`] finds.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let tasks = TaskTracker::new();
        let connections = Arc::new(Semaphore::new(self.state.config.limits.connections));
        crate::bootstrap::start(&self.state, &tasks, &shutdown);
        tracing::info!(address = %self.address, "the API server listens");
        loop {
            // Beyond the bound clients wait in the kernel's queue.
            let permit = tokio::select! {
                permit = connections.clone().acquire_owned() => permit,
                () = shutdown.cancelled() => break,
            };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = shutdown.cancelled() => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (state, tls, shutdown) = (self.state.clone(), self.tls.clone(), shutdown.clone());
                    tasks.spawn(async move {
                        let _permit = permit;
                        state.metrics.connections.fetch_add(1, Ordering::Relaxed);
                        serve_connection(&state, &tls, stream, peer, &shutdown).await;
                        state.metrics.connections.fetch_sub(1, Ordering::Relaxed);
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: let some close.
                    tracing::warn!("accepting a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        self.state.health.stop();
        self.state.shutdown.cancel();
        tasks.close();
        if tokio::time::timeout(DRAIN_WITHIN, tasks.wait()).await.is_err() {
            tracing::warn!("requests were still open after {} s and are cut off", DRAIN_WITHIN.as_secs());
        }
        if let Some(audit) = &self.state.plugins.audit {
            audit.flush().await;
        }
        Ok(())
    }
}

async fn serve_connection(
    state: &Arc<State>,
    tls: &Material,
    stream: TcpStream,
    peer: SocketAddr,
    shutdown: &CancellationToken,
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
    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
        let (state, caller) = (state.clone(), caller.clone());
        async move {
            let request = request.map(|body| body.map_err(|error| -> BoxError { error.into() }).boxed_unsync());
            Ok::<_, std::convert::Infallible>(handler::serve(state, caller, request).await)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER_WITHIN)
        .max_concurrent_streams(STREAMS_PER_CONNECTION);
    let stream = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Targets::unchanged(stream),
        _ => Targets::new(stream),
    };
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = shutdown.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.as_mut().await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, "connection ended: {error}");
    }
}
