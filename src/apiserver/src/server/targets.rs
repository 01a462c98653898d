//! Request targets of HTTP/1.1 as Go's servers take them: characters that clients should have escaped and did not are
//! escaped on their way in, since the HTTP library refuses them before anybody could say why.
//!
//! Only the first line of a request is ever changed. To find the next one the heads of requests are followed by their
//! `Content-Length`; what has another frame, or becomes another protocol, passes as it is from there on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The names of headers that matter and numbers are shorter than this. A longer line is kept up to here: where its name
/// alone matters that is enough, and a length that is written longer is none.
const LINE_BYTES_MAX: usize = 64;

/// Where in a connection the next byte is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    /// In a request's method, or before it.
    Method(Vec<u8>),
    Target,
    Version,
    /// In a line of the head, of which this much was kept, with what earlier lines said.
    Header(Vec<u8>, Frame),
    /// This many bytes of a body are to come.
    Body(u64),
    /// Nothing is looked at any more.
    Through,
}

/// Where a request ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Frame {
    length: Option<u64>,
    /// It has another end than a length.
    is_other: bool,
}

impl Frame {
    /// Takes a header into account. What is not surely the one length of the body is another frame: whoever reads on
    /// at another place than the HTTP library would take a body for requests.
    fn take(&mut self, line: &[u8]) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return };
        let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            match (number(value).filter(|_| line.len() < LINE_BYTES_MAX), self.length) {
                (Some(length), None) => self.length = Some(length),
                _ => self.is_other = true,
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") || name.eq_ignore_ascii_case(b"upgrade") {
            self.is_other = true;
        }
    }

    fn after(self) -> At {
        match (self.is_other, self.length) {
            (true, _) => At::Through,
            (false, None | Some(0)) => At::Method(Vec::new()),
            (false, Some(length)) => At::Body(length),
        }
    }
}

/// Digits and nothing else: the sign that Rust's own reader takes is none of HTTP's.
fn number(text: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

/// The connection of a client.
pub struct Targets<S> {
    inner: S,
    at: At,
    /// Bytes that were changed and are still to be read.
    pending: Vec<u8>,
}

impl<S> Targets<S> {
    /// Follows the requests that come over `inner`, which is HTTP/1.1 or becomes something else by its first line.
    pub fn new(inner: S) -> Self {
        Self { inner, at: At::Method(Vec::new()), pending: Vec::new() }
    }

    /// Passes everything as it is: HTTP/2 has no lines to put right.
    pub fn unchanged(inner: S) -> Self {
        Self { inner, at: At::Through, pending: Vec::new() }
    }

    /// Follows these bytes; answers with others where something was to be escaped.
    fn follow(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut changed: Option<Vec<u8>> = None;
        let mut index = 0;
        while index < bytes.len() {
            let byte = bytes[index];
            let count = match &mut self.at {
                At::Through => bytes.len() - index,
                At::Body(left) => {
                    let count = (bytes.len() - index).min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= count as u64;
                    count
                }
                _ => 1,
            };
            if self.at == At::Target && must_be_escaped(byte) {
                let out = changed.get_or_insert_with(|| bytes[..index].to_vec());
                out.extend_from_slice(format!("%{byte:02X}").as_bytes());
            } else if let Some(out) = &mut changed {
                out.extend_from_slice(&bytes[index..index + count]);
            }
            self.step(byte);
            index += count;
        }
        changed
    }

    fn step(&mut self, byte: u8) {
        let next = match &mut self.at {
            At::Through => None,
            At::Body(0) => Some(At::Method(Vec::new())),
            At::Body(_) => None,
            // HTTP/2 without having been agreed on begins so.
            At::Method(seen) => match byte {
                b' ' if seen == b"PRI" => Some(At::Through),
                b' ' => Some(At::Target),
                // Lines before a request are passed over.
                b'\r' | b'\n' if seen.is_empty() => None,
                b'\r' | b'\n' => Some(At::Through),
                _ if seen.len() < LINE_BYTES_MAX => {
                    seen.push(byte);
                    None
                }
                _ => Some(At::Through),
            },
            At::Target => match byte {
                b' ' => Some(At::Version),
                b'\n' => Some(At::Through),
                _ => None,
            },
            At::Version => (byte == b'\n').then(|| At::Header(Vec::new(), Frame::default())),
            At::Header(line, frame) => match byte {
                b'\r' => None,
                b'\n' if line.is_empty() => Some(frame.after()),
                b'\n' => {
                    frame.take(line);
                    line.clear();
                    None
                }
                _ => {
                    if line.len() < LINE_BYTES_MAX {
                        line.push(byte);
                    }
                    None
                }
            },
        };
        if let Some(next) = next {
            self.at = next;
        }
    }
}

/// What Go's servers take in a target and the HTTP library does not. A number sign begins no fragment there.
fn must_be_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | b'`' | b'#' | 0x7f..) || (byte < b' ' && !matches!(byte, b'\r' | b'\n'))
}

impl<S: AsyncRead + Unpin> AsyncRead for Targets<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.pending.is_empty() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
            if self.at == At::Through {
                return Poll::Ready(Ok(()));
            }
            let Some(changed) = self.follow(&buf.filled()[before..]) else { return Poll::Ready(Ok(())) };
            buf.set_filled(before);
            self.pending = changed;
        }
        let count = self.pending.len().min(buf.remaining());
        buf.put_slice(&self.pending[..count]);
        self.pending.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Targets<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// What a server reads of a client's bytes that come in pieces of this size, read in pieces of another.
    async fn read(sent: &[u8], piece: usize, room: usize) -> Vec<u8> {
        let mut mock = Pieces { rest: sent, piece };
        let mut targets = Targets::new(&mut mock);
        let mut seen = Vec::new();
        let mut buffer = vec![0; room];
        loop {
            match targets.read(&mut buffer).await.expect("bytes") {
                0 => return seen,
                count => seen.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// Bytes that come in pieces.
    struct Pieces<'a> {
        rest: &'a [u8],
        piece: usize,
    }

    impl AsyncRead for Pieces<'_> {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let count = self.piece.min(self.rest.len()).min(buf.remaining());
            let (now, rest) = self.rest.split_at(count);
            buf.put_slice(now);
            self.rest = rest;
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn targets_are_escaped_and_nothing_else_is() {
        for (sent, expected) in [
            ("GET /a?b=\"<c>\" HTTP/1.1\r\nX: \"<>\"\r\n\r\n", "GET /a?b=%22%3Cc%3E%22 HTTP/1.1\r\nX: \"<>\"\r\n\r\n"),
            ("GET /a`#\u{e9}\u{1} HTTP/1.1\r\n\r\n", "GET /a%60%23%C3%A9%01 HTTP/1.1\r\n\r\n"),
            ("GET /a%22?b={c|d}^ HTTP/1.1\r\n\r\n", "GET /a%22?b={c|d}^ HTTP/1.1\r\n\r\n"),
            // The next request is found behind the body, which may look like one.
            (
                "POST /< HTTP/1.1\r\ncontent-LENGTH: 9\r\n\r\nGET /< H\nGET /> HTTP/1.1\r\n\r\n",
                "POST /%3C HTTP/1.1\r\ncontent-LENGTH: 9\r\n\r\nGET /< H\nGET /%3E HTTP/1.1\r\n\r\n",
            ),
            (
                "GET /< HTTP/1.1\r\n\r\n\r\nGET /> HTTP/1.1\n\nGET /\" HTTP/1.1\r\n\r\n",
                "GET /%3C HTTP/1.1\r\n\r\n\r\nGET /%3E HTTP/1.1\n\nGET /%22 HTTP/1.1\r\n\r\n",
            ),
            // From here on nobody knows where a request begins.
            (
                "POST /< HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nGET /< HTTP/1.1\r\n\r\n",
                "POST /%3C HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nGET /< HTTP/1.1\r\n\r\n",
            ),
            (
                "GET /x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nGET /< HTTP/1.1\r\n\r\n",
                "GET /x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nGET /< HTTP/1.1\r\n\r\n",
            ),
            (
                "POST /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nGET /< HTTP/1.1\r\n\r\n",
                "POST /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nGET /< HTTP/1.1\r\n\r\n",
            ),
            (
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET /< HTTP/1.1\r\n",
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET /< HTTP/1.1\r\n",
            ),
        ] {
            for (piece, room) in [(1, 1), (1, 9), (3, 2), (7, 100), (1000, 1000), (1000, 3)] {
                let seen = read(sent.as_bytes(), piece, room).await;
                assert_eq!(String::from_utf8_lossy(&seen), expected, "in pieces of {piece}, {room} at a time");
            }
        }
    }

    /// A body must never be read as requests, and so never be changed, however its length is written.
    #[tokio::test]
    async fn no_way_of_writing_a_length_makes_requests_of_a_body() {
        let body = "GET /< HTTP/1.1\r\n\r\n";
        let length = body.len();
        for blanks in [0, 1, 46, 47, 48, 49, 50, 51, 63, 64, 65, 200] {
            let blanks = " ".repeat(blanks);
            for header in [
                format!("Content-Length:{blanks}{length}"),
                format!("Content-Length:{blanks}{length}{blanks}"),
                format!("Content-Length:\t{blanks}{length}"),
                format!("X: y\r\ncontent-length:{blanks}00000{length}"),
            ] {
                let sent = format!("POST /x HTTP/1.1\r\n{header}\r\n\r\n{body}");
                let seen = read(sent.as_bytes(), 1000, 1000).await;
                assert_eq!(String::from_utf8_lossy(&seen), sent, "{header:?}");
            }
        }
        // What the HTTP library refuses or reads in another way.
        let zeros = "0".repeat(100);
        for header in [
            format!("Content-Length: +{length}"),
            format!("Content-Length: {length}\u{a0}"),
            format!("Content-Length: {length}\u{85}"),
            format!("Content-Length: {length}, {length}"),
            format!("Content-Length: {length}\r\nContent-Length: {length}"),
            format!("Content-Length: 0\r\nContent-Length: {length}"),
            "Content-Length: 0\r\nTransfer-Encoding: chunked".to_string(),
            "Transfer-Encoding: chunked\r\nContent-Length: 0".to_string(),
            format!("Content-Length: {zeros}{length}"),
            "Content-Length:".to_string(),
            "Content-Length: -0".to_string(),
            "Content-Length: +0".to_string(),
            "Content-Length: 0x0".to_string(),
            format!("Content-Length: {}0", u64::MAX),
        ] {
            let sent = format!("POST /x HTTP/1.1\r\n{header}\r\n\r\n{body}");
            let seen = read(sent.as_bytes(), 1000, 1000).await;
            assert_eq!(String::from_utf8_lossy(&seen), sent, "{header:?}");
        }
    }
}
