//! Accepts connections, with TLS or without, and hands their requests to the proxy.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::forward::Client;
use crate::proxy::Proxy;

/// Connections at a time on one port; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 20_000;
/// A client that has not sent its headers by then is cut off.
const HEADERS_WITHIN: Duration = Duration::from_secs(30);
/// A client that has not agreed on keys by then is cut off.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait before accepting again after a failure, which is a want of file descriptors.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// One port.
pub struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    /// Listens on `address`; with `tls` every connection begins with a handshake.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn bind(address: SocketAddr, tls: Option<Arc<rustls::ServerConfig>>) -> Result<Self, Error> {
        let socket = TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
        Ok(Self { socket, tls: tls.map(TlsAcceptor::from) })
    }

    /// Serves until `shutdown`.
    pub async fn serve(self, proxy: Arc<Proxy>, shutdown: CancellationToken) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                    continue;
                }
            };
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let (proxy, tls) = (proxy.clone(), self.tls.clone());
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                carry(stream, tls, proxy, peer).await;
                drop(place);
            });
        }
    }
}

async fn carry(stream: TcpStream, tls: Option<TlsAcceptor>, proxy: Arc<Proxy>, peer: SocketAddr) {
    let address = peer.ip();
    let Some(tls) = tls else { return answer(stream, proxy, Client { address, scheme: "http" }).await };
    match tokio::time::timeout(HANDSHAKE_WITHIN, tls.accept(stream)).await {
        Ok(Ok(stream)) => answer(stream, proxy, Client { address, scheme: "https" }).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS was agreed on"),
        Err(_) => tracing::debug!(%peer, "no TLS was agreed on in time"),
    }
}

async fn answer<S>(stream: S, proxy: Arc<Proxy>, client: Client)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let proxy = proxy.clone();
        async move { Ok::<_, Infallible>(proxy.answer(request, client).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN);
    if let Err(error) = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
        tracing::debug!(address = %client.address, %error, "connection ended");
    }
}
