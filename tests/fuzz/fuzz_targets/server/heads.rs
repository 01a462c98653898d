//! What comes over a connection of HTTP/1.1: targets are escaped, and nothing else is changed, where requests begin and
//! end as the HTTP library finds them, however the bytes come in pieces.
#![no_main]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use apiserver::decoders::Targets;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes that come in pieces.
struct Pieces<'a> {
    rest: &'a [u8],
    piece: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (now, rest) = self.rest.split_at(self.piece.min(self.rest.len()).min(buf.remaining()));
        buf.put_slice(now);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}

fn read(sent: &[u8], piece: usize, room: usize) -> Vec<u8> {
    let mut targets = Targets::new(Pieces { rest: sent, piece });
    let mut context = Context::from_waker(Waker::noop());
    let (mut seen, mut room) = (Vec::new(), vec![0; room]);
    loop {
        let mut buf = ReadBuf::new(&mut room);
        let Poll::Ready(Ok(())) = Pin::new(&mut targets).poll_read(&mut context, &mut buf) else { panic!("it waits") };
        if buf.filled().is_empty() {
            return seen;
        }
        seen.extend_from_slice(buf.filled());
    }
}

/// How long the body is behind a head, and the head itself; `None` where the library would not read on as HTTP.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = request.parse(bytes).ok()? else { return None };
    let mut length = None;
    for header in request.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("transfer-encoding") || is("upgrade") {
            return None;
        }
        if is("content-length") {
            let value =
                std::str::from_utf8(header.value).ok().filter(|value| value.bytes().all(|b| b.is_ascii_digit()))?;
            let value: usize = value.parse().ok()?;
            if length.is_some_and(|length| length != value) {
                return None;
            }
            length = Some(value);
        }
    }
    Some((head, length.unwrap_or(0)))
}

fuzz_target!(|data: &[u8]| {
    let Some((sizes, sent)) = data.split_first() else { return };
    let seen = read(sent, 1 + usize::from(sizes & 15), 1 + usize::from(sizes >> 4));
    assert_eq!(seen, read(sent, usize::MAX, 8192), "in one piece");
    let (mut sent, mut seen) = (sent, &seen[..]);
    loop {
        let Some((head, body)) = frame(seen) else { return };
        let line = |bytes: &[u8]| {
            let begin = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
            bytes[begin..].iter().position(|byte| *byte == b'\n').map(|end| begin + end + 1)
        };
        let (Some(sent_line), Some(seen_line)) = (line(sent), line(seen)) else { panic!("a request has a line") };
        let rest = head - seen_line;
        assert_eq!(&sent[sent_line..sent_line + rest], &seen[seen_line..head], "headers");
        (sent, seen) = (&sent[sent_line + rest..], &seen[head..]);
        let body = body.min(seen.len());
        assert_eq!(&sent[..body], &seen[..body], "a body");
        (sent, seen) = (&sent[body..], &seen[body..]);
    }
});
