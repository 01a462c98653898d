//! Bodies of requests and responses: one boxed type, reading with a bound, and answers with gzip where asked for.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

use crate::processor;
use crate::status::{Result, Status};

/// Why a body ended early.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of every request and response, over TLS and in-process.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Smaller answers are not worth the time to compress; Kubernetes draws the line at the same place.
const GZIP_FROM_BYTES: usize = 128 * 1024;

/// JSON.
pub const JSON: &str = "application/json";
/// YAML.
pub const YAML: &str = "application/yaml";
/// Kubernetes' protobuf.
pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// The mark of an answer that its client may take its time to read: it is carried through from elsewhere, and what is
/// not read is not kept here.
#[derive(Debug, Clone, Copy)]
pub struct Unhurried;

/// A body of bytes that are there.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body without content.
pub fn empty() -> Body {
    full(Bytes::new())
}

/// Reads a whole body of at most `limit_bytes`.
///
/// # Errors
/// 413 where it is longer, 400 where the client went away.
pub async fn read(mut body: Body, limit_bytes: usize) -> Result<Bytes> {
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::bad_request(format!("reading the request body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        size += data.len();
        if size > limit_bytes {
            return Err(Status::too_large(limit_bytes));
        }
        match &first {
            // Most bodies come in one piece, which is not copied.
            None => first = Some(data),
            Some(_) => rest.extend_from_slice(&data),
        }
    }
    let first = first.unwrap_or_default();
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(size);
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

/// A response with a body of a media type.
pub fn response(code: StatusCode, media_type: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(bytes));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// A plain text response.
pub fn text(code: StatusCode, text: impl Into<String>) -> Response<Body> {
    response(code, "text/plain; charset=utf-8", text.into())
}

/// A response that is compressed where it is large and the client accepts gzip.
pub fn compressed(
    request: &HeaderMap,
    code: StatusCode,
    media_type: &'static str,
    bytes: impl Into<Bytes>,
) -> Response<Body> {
    let bytes = bytes.into();
    if bytes.len() < GZIP_FROM_BYTES || !accepts_gzip(request) {
        return response(code, media_type, bytes);
    }
    // Level 1: at 100 MB/s and more it costs less than it saves on any network slower than loopback.
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::new(1));
    let Ok(packed) = encoder.write_all(&bytes).and_then(|()| encoder.finish()) else {
        return response(code, media_type, bytes);
    };
    self::packed(code, media_type, packed)
}

fn packed(code: StatusCode, media_type: &'static str, packed: Vec<u8>) -> Response<Body> {
    let mut response = response(code, media_type, packed);
    response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

/// Long answers are made and compressed so much at a time: others who wait for the thread meanwhile wait for less than a
/// millisecond, and a piece stays in the processor's cache until it is sent.
pub const PIECE_BYTES: usize = 64 * 1024;

/// A response of known length that is made piece by piece as the client takes it, or compressed piece by piece where it
/// is large and the client accepts gzip.
pub async fn in_pieces(
    request: &HeaderMap,
    media_type: &'static str,
    pieces: impl Iterator<Item = Bytes> + Send + 'static,
    length_bytes: u64,
) -> Response<Body> {
    if length_bytes < GZIP_FROM_BYTES as u64 || !accepts_gzip(request) {
        let mut response = Response::new(Pieces { pieces, left_bytes: length_bytes }.boxed_unsync());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        return response;
    }
    // See `compressed` on the level.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(1));
    for piece in pieces {
        // Writing to memory cannot fail.
        let _ = encoder.write_all(&piece);
        processor::pause().await;
    }
    packed(StatusCode::OK, media_type, encoder.finish().unwrap_or_default())
}

/// Pieces on their way.
struct Pieces<I> {
    pieces: I,
    left_bytes: u64,
}

impl<I> Unpin for Pieces<I> {}

impl<I: Iterator<Item = Bytes>> http_body::Body for Pieces<I> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, BoxError>>> {
        let piece = self.pieces.next();
        self.left_bytes = self.left_bytes.saturating_sub(piece.as_ref().map_or(0, |piece| piece.len() as u64));
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left_bytes == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left_bytes)
    }
}

/// Whether an answer may be packed.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let mut parts = coding.split(';');
            let name = parts.next().unwrap_or_default().trim();
            name.eq_ignore_ascii_case("gzip") && !parts.any(|part| part.trim() == "q=0")
        })
}

/// The response that carries a failure; always JSON, as clients expect of errors.
pub fn failure(status: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = response(code, JSON, json_line(&status.to_value()));
    // For the audit log, which tells what the client was told.
    response.extensions_mut().insert(status.clone());
    if status.retry_after_seconds() > 0 {
        response.headers_mut().insert(http::header::RETRY_AFTER, status.retry_after_seconds().into());
    }
    response
}

/// A value as JSON with a line break at its end.
pub fn json_line(value: &serde_json::Value) -> Bytes {
    let mut bytes = BytesMut::from(value.to_string().as_bytes());
    bytes.extend_from_slice(b"\n");
    bytes.freeze()
}
