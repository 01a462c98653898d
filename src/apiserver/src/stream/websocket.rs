//! WebSocket connections that this server speaks itself (RFC 6455): which protocol a client is answered in, the
//! handshake, and the connection. Others are passed on to the agent as they are.

use std::time::Duration;

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::body::{self, Body};
use crate::status::{Result, Status};

/// exec and attach with the end of an input (KEP-4006).
const STREAMS: &str = "v5.channel.k8s.io";
/// SPDY in WebSocket messages (KEP-4006), of one of Kubernetes' own protocols.
const TUNNEL_PREFIX: &str = "SPDY/3.1+";
/// What is spoken inside of it.
const PORT_FORWARD: &str = "portforward.k8s.io";
/// The same by the name of the proposal.
const TUNNEL: &str = "v2.portforward.k8s.io";
/// What container runtimes' streaming servers speak.
const PASSED_ON: [&str; 5] =
    ["v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io", PORT_FORWARD];

/// The only version there is.
const VERSION: &str = "13";
/// A message of a client is what it read from its input at once, some 32 KiB; one this large is nobody's.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// How long a client has to read what was sent last.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// A connection to a client.
pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How a request for a stream is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Speak {
    /// By passing it on: no WebSocket, or a protocol of the runtime's.
    PassOn,
    /// exec and attach in the protocol called so.
    Streams(&'static str),
    /// port-forward in the protocol called so.
    Tunnel(String),
}

/// Chooses among what a client offers for a subresource.
///
/// # Errors
/// 400 where nothing of it is spoken.
pub fn choose(subresource: &str, headers: &HeaderMap) -> Result<Speak> {
    let is_websocket = headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !is_websocket {
        return Ok(Speak::PassOn);
    }
    let offered: Vec<&str> = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let is_forward = subresource == "portforward";
    if !is_forward && offered.contains(&STREAMS) {
        return Ok(Speak::Streams(STREAMS));
    }
    let is_tunnel = |name: &&&str| **name == TUNNEL || name.strip_prefix(TUNNEL_PREFIX) == Some(PORT_FORWARD);
    if let Some(tunnel) = offered.iter().find(is_tunnel).filter(|_| is_forward) {
        return Ok(Speak::Tunnel((*tunnel).to_string()));
    }
    if offered.is_empty() || offered.iter().any(|name| PASSED_ON.contains(name)) {
        return Ok(Speak::PassOn);
    }
    let own = if is_forward { format!("{TUNNEL_PREFIX}{PORT_FORWARD}") } else { STREAMS.to_string() };
    Err(Status::bad_request(format!(
        "none of the WebSocket protocols {} is spoken here; use one of {own}, {} or SPDY/3.1",
        offered.join(", "),
        PASSED_ON.join(", ")
    )))
}

/// The answer that opens the connection.
///
/// # Errors
/// 400 for a handshake without a key or of another version.
pub fn accept(headers: &HeaderMap, protocol: &str) -> Result<Response<Body>> {
    let version = headers.get(SEC_WEBSOCKET_VERSION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if version.trim() != VERSION {
        return Err(Status::bad_request(format!("WebSocket version {version:?} is not spoken here; use {VERSION}")));
    }
    let Some(key) = headers.get(SEC_WEBSOCKET_KEY) else {
        return Err(Status::bad_request("the WebSocket handshake has no Sec-WebSocket-Key"));
    };
    let invalid = |_| Status::bad_request("the WebSocket handshake has a protocol that is no header value");
    let accepted = HeaderValue::try_from(derive_accept_key(key.as_bytes()))
        .map_err(|_| Status::bad_request("the WebSocket handshake has an unusable Sec-WebSocket-Key"))?;
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(SEC_WEBSOCKET_ACCEPT, accepted);
    answer.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::try_from(protocol).map_err(invalid)?);
    Ok(response)
}

/// The connection, once the answer is on its way. Pings are answered by reading on.
///
/// # Errors
/// The client went away before.
pub async fn open(client: OnUpgrade) -> std::result::Result<Socket, hyper::Error> {
    let config =
        WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX)).max_frame_size(Some(MESSAGE_BYTES_MAX));
    Ok(WebSocketStream::from_raw_socket(TokioIo::new(client.await?), Role::Server, Some(config)).await)
}

/// Says that this was all, and waits for the client to have read it: a connection that is dropped with unread bytes is
/// reset, and takes with it what was not read at the other end.
///
/// # Errors
/// The client is gone.
pub async fn close<C>(
    mut sink: SplitSink<WebSocketStream<C>, Message>,
    mut messages: SplitStream<WebSocketStream<C>>,
) -> std::result::Result<(), Error>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    sink.send(Message::Close(Some(frame))).await?;
    let rest = async { while let Some(Ok(_)) = messages.next().await {} };
    // Who does not answer is not waited for.
    let _ = tokio::time::timeout(CLOSE_WITHIN, rest).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(protocols: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocols));
        headers
    }

    #[test]
    fn clients_are_answered_in_the_newest_protocol_they_offer() {
        let tunnel = |name: &str| Some(Speak::Tunnel(name.to_string()));
        for (subresource, offered, expected) in [
            ("exec", "v5.channel.k8s.io", Some(Speak::Streams(STREAMS))),
            ("attach", "v4.channel.k8s.io, v5.channel.k8s.io", Some(Speak::Streams(STREAMS))),
            ("exec", "v4.channel.k8s.io", Some(Speak::PassOn)),
            ("exec", "base64.channel.k8s.io", Some(Speak::PassOn)),
            ("exec", "v6.channel.k8s.io", None),
            ("exec", "SPDY/3.1+portforward.k8s.io", None),
            ("portforward", "SPDY/3.1+portforward.k8s.io", tunnel("SPDY/3.1+portforward.k8s.io")),
            ("portforward", "v4.channel.k8s.io, v2.portforward.k8s.io", tunnel("v2.portforward.k8s.io")),
            ("portforward", "v4.channel.k8s.io", Some(Speak::PassOn)),
            ("portforward", "SPDY/3.1+v9.portforward.k8s.io", None),
            ("portforward", "v5.channel.k8s.io", None),
        ] {
            assert_eq!(choose(subresource, &asked(offered)).ok(), expected, "{subresource} {offered}");
        }
        assert_eq!(choose("exec", &HeaderMap::new()).ok(), Some(Speak::PassOn));
    }

    #[test]
    fn handshakes_are_answered_by_their_key() {
        let mut headers = asked(STREAMS);
        assert_eq!(accept(&headers, STREAMS).expect_err("no version").code(), 400);
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        assert_eq!(accept(&headers, STREAMS).expect_err("no key").code(), 400);
        // The key and its answer are those of RFC 6455, section 1.3.
        headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        let answer = accept(&headers, STREAMS).expect("an answer");
        assert_eq!(answer.status(), 101);
        assert_eq!(answer.headers()[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(answer.headers()[SEC_WEBSOCKET_PROTOCOL], STREAMS);
    }
}
