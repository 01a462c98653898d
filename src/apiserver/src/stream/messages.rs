//! Answers that grow, watches and logs, as messages of a WebSocket: what browsers can read while it grows. An event is
//! a message of text, a piece of a log one of bytes, or of text in base64 where the client asks for that.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::stream::SplitSink;
use futures::{SinkExt, StreamExt};
use http::header::{CONTENT_TYPE, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::forward::upgrade_of;
use super::websocket::{self, Socket};
use crate::authn::PROTOCOL_PREFIX;
use crate::body::{Body, JSON};
use crate::state::State;
use crate::status::{Result, Status};

/// Logs in base64, for clients that read text alone.
const BASE64: &str = "base64.binary.k8s.io";

/// A client that wants its answer in messages.
pub struct Reader {
    client: OnUpgrade,
    headers: HeaderMap,
}

/// How a body becomes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// A line of JSON each.
    Lines,
    /// As it comes.
    Pieces,
    /// As it comes, in base64.
    Base64,
}

/// The client of a request that asks for a WebSocket; `None` for every other.
///
/// # Errors
/// 400 over a transport that has no upgrades.
pub fn reader(request: Request<Body>) -> Result<Option<Reader>> {
    let asks = request.headers().get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !asks {
        return Ok(None);
    }
    upgrade_of(request).map(|(client, headers)| Some(Reader { client, headers }))
}

impl Reader {
    /// Answers with what `answer` says, in messages; with `answer` itself where it is no success.
    ///
    /// # Errors
    /// 400 for a handshake that is none, 406 for a watch that is not in JSON.
    pub fn answer(self, state: &State, answer: Response<Body>) -> Result<Response<Body>> {
        if answer.status() != StatusCode::OK {
            return Ok(answer);
        }
        let protocol = offered(&self.headers);
        let media_type = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let framing = match media_type {
            JSON => Framing::Lines,
            media_type if !media_type.starts_with("text/plain") => return Err(Status::not_acceptable(&[JSON])),
            _ if protocol == BASE64 => Framing::Base64,
            _ => Framing::Pieces,
        };
        let mut response = websocket::accept(&self.headers, &protocol)?;
        if protocol.is_empty() {
            response.headers_mut().remove(SEC_WEBSOCKET_PROTOCOL);
        }
        let (body, shutdown) = (answer.into_body(), state.shutdown.clone());
        tokio::spawn(async move {
            let _ = shutdown.run_until_cancelled(pass(self.client, body, framing)).await;
        });
        Ok(response)
    }
}

/// The first protocol that is no token.
pub fn offered(headers: &HeaderMap) -> String {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let mut names = values.flat_map(|value| value.split(',')).map(str::trim);
    names.find(|name| !name.is_empty() && !name.starts_with(PROTOCOL_PREFIX)).unwrap_or_default().to_string()
}

/// Passes a body on until it ends or the client is gone.
async fn pass(client: OnUpgrade, body: Body, framing: Framing) {
    let Ok(socket) = websocket::open(client).await else { return };
    let (mut sink, mut messages) = socket.split();
    let ended = tokio::select! {
        ended = send(body, &mut sink, framing) => ended,
        // A client has nothing to say but that it goes.
        () = async { while let Some(Ok(_)) = messages.next().await {} } => return,
    };
    if ended.is_ok() {
        let _ = websocket::close(sink, messages).await;
    }
}

async fn send(
    mut body: Body,
    sink: &mut SplitSink<Socket, Message>,
    framing: Framing,
) -> std::result::Result<(), Error> {
    let mut rest = Vec::new();
    // A body that breaks off ends the connection as one that ends.
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        for message in messages_of(framing, data, &mut rest) {
            sink.feed(message).await?;
        }
        sink.flush().await?;
    }
    Ok(())
}

/// The messages of a piece of a body; `rest` is the line that has not ended yet.
fn messages_of(framing: Framing, data: Bytes, rest: &mut Vec<u8>) -> Vec<Message> {
    match framing {
        Framing::Pieces => vec![Message::Binary(data)],
        Framing::Base64 => vec![Message::Text(BASE64_STANDARD.encode(&data).into())],
        Framing::Lines => {
            rest.extend_from_slice(&data);
            let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
            let unfinished = rest.split_off(end + 1);
            let lines = std::mem::replace(rest, unfinished);
            let lines = lines.split_inclusive(|byte| *byte == b'\n');
            lines.map(|line| Message::Text(String::from_utf8_lossy(line).into_owned().into())).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_messages_of_their_own_however_they_come() {
        let mut rest = Vec::new();
        let mut texts = |piece: &'static str| -> Vec<String> {
            let messages = messages_of(Framing::Lines, Bytes::from_static(piece.as_bytes()), &mut rest);
            messages.into_iter().map(|message| message.into_text().expect("text").to_string()).collect()
        };
        assert_eq!(texts("{1}\n{2}\n{3"), ["{1}\n", "{2}\n"]);
        assert_eq!(texts("}"), Vec::<String>::new());
        assert_eq!(texts("\n"), ["{3}\n"]);
        let base64 = messages_of(Framing::Base64, Bytes::from_static(b"hi"), &mut Vec::new());
        assert_eq!(base64, [Message::Text("aGk=".into())]);
    }

    #[test]
    fn a_token_is_no_protocol() {
        let mut headers = HeaderMap::new();
        headers.insert(SEC_WEBSOCKET_PROTOCOL, format!("{PROTOCOL_PREFIX}abc, {BASE64}").parse().expect("a value"));
        assert_eq!(offered(&headers), BASE64);
        assert_eq!(offered(&HeaderMap::new()), "");
    }
}
