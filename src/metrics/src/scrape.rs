//! Asks the agents for their figures.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Error;
use crate::reading::Reading;

/// The agents' port.
const AGENT_PORT: u16 = 10250;
/// An agent that takes longer is left out of this round.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A node with 500 containers answers with about 300 KB.
const MAX_ANSWER_BYTES: usize = 8 << 20;
/// Where the service account's token is; it is read each time because it is renewed.
pub const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// One reading of a node whose agent is at `address`.
pub async fn scrape(node: &str, address: std::net::IpAddr, tls: Arc<ClientConfig>) -> Result<Reading, Error> {
    let failed = |detail: String| Error::Scrape { node: node.to_string(), detail };
    let token =
        std::fs::read_to_string(TOKEN_PATH).map_err(|source| Error::Read { path: TOKEN_PATH.to_string(), source })?;
    let work = fetch(address, tls, token.trim());
    let text = tokio::time::timeout(TIMEOUT, work)
        .await
        .map_err(|_| failed(format!("no answer within {} s", TIMEOUT.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    Ok(Reading::parse(&text, Timestamp::now()))
}

async fn fetch(
    address: std::net::IpAddr,
    tls: Arc<ClientConfig>,
    token: &str,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect((address, AGENT_PORT)).await?;
    let stream = TlsConnector::from(tls).connect(ServerName::from(address), stream).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::get("/metrics/resource")
        .header(header::HOST, format!("{address}:{AGENT_PORT}"))
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await?.to_bytes();
    driver.abort();
    if status != StatusCode::OK {
        return Err(format!("the agent answered {status}").into());
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}
