//! A new connection to an endpoint.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::endpoint::Endpoint;
use super::{resolve, tls};
use crate::live::Live;

/// An address that has not taken the connection by then is passed over for the next.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The head of an answer is no larger.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Connects to the first address of an endpoint that takes the connection.
///
/// # Errors
/// Why none did, in Go's words.
pub(super) async fn connect(
    live: &Live,
    endpoint: &Endpoint,
    config: &Arc<ClientConfig>,
    is_local_allowed: bool,
) -> Result<SendRequest<Full<Bytes>>, String> {
    let mut why = "no address".to_string();
    for address in resolve::addresses(live, endpoint, is_local_allowed).await? {
        let stream = match tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                why = refused(address, &error);
                continue;
            }
            Err(_) => {
                why = format!("dial tcp {address}: i/o timeout");
                continue;
            }
        };
        // A review is one write and waits for nothing.
        let _ = stream.set_nodelay(true);
        let name = tls::server_name(endpoint)?;
        let stream = TlsConnector::from(config.clone()).connect(name, stream).await;
        let stream = stream.map_err(|error| tls::why(&error))?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES_MAX);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection to a webhook ended: {error}");
            }
        });
        return Ok(sender);
    }
    Err(why)
}

fn refused(address: SocketAddr, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => format!("dial tcp {address}: connect: connection refused"),
        std::io::ErrorKind::HostUnreachable => format!("dial tcp {address}: connect: no route to host"),
        std::io::ErrorKind::NetworkUnreachable => format!("dial tcp {address}: connect: network is unreachable"),
        _ => format!("dial tcp {address}: {error}"),
    }
}
