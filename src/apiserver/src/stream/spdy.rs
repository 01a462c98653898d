//! The client's side of SPDY/3.1 as far as container runtimes' streaming servers need it: streams are opened, carry
//! bytes both ways and end on each side by itself, which WebSocket as runtimes speak it cannot say of an input.
//!
//! Headers are sent uncompressed within their zlib stream, and received ones are not read: nothing here depends on
//! them. There is no flow control beyond TCP's, as in Kubernetes' own implementation.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const VERSION: u16 = 0x8003;
const SYN_STREAM: u16 = 1;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GO_AWAY: u16 = 7;
/// The sender's side of the stream ends with this frame.
const FIN: u8 = 1;
/// The largest piece of a frame that is held at once; also the largest that is sent in one.
pub const PIECE_BYTES_MAX: usize = 32 << 10;
/// How a zlib stream begins that uses no dictionary.
const ZLIB: [u8; 2] = [0x78, 0x01];
/// The end of a deflate block up to which everything can be read.
const FLUSH: [u8; 5] = [0, 0, 0, 0xff, 0xff];

/// What came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Bytes of a stream, the last ones where `last`.
    Data { stream: u32, bytes: Bytes, last: bool },
    /// A stream was cut off.
    Reset { stream: u32 },
    /// Wants the same number back.
    Ping(u32),
    /// The other end takes no more streams.
    GoAway,
}

/// Writes frames.
pub struct Writer<W> {
    to: W,
    has_headers: bool,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// Frames go to `to`.
    pub fn new(to: W) -> Self {
        Self { to, has_headers: false }
    }

    /// Opens the stream of this number, which is odd and larger than those before.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn open(&mut self, stream: u32, headers: &[(&str, &str)]) -> io::Result<()> {
        let mut block = BytesMut::new();
        block.put_u32(headers.len() as u32);
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            block.put_u32(text.len() as u32);
            block.put_slice(text.as_bytes());
        }
        let Ok(length) = u16::try_from(block.len()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the headers of a stream are too long"));
        };
        let mut body = BytesMut::new();
        body.put_u32(stream);
        // No associated stream, no priority, no slot.
        body.put_u32(0);
        body.put_u16(0);
        if !self.has_headers {
            body.put_slice(&ZLIB);
            self.has_headers = true;
        }
        // One deflate block of bytes as they are (RFC 1951, 3.2.4).
        body.put_u8(0);
        body.put_u16_le(length);
        body.put_u16_le(!length);
        body.put_slice(&block);
        body.put_slice(&FLUSH);
        self.control(SYN_STREAM, &body).await
    }

    /// Sends bytes on a stream; with `last` this side of it ends.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn data(&mut self, stream: u32, bytes: &[u8], last: bool) -> io::Result<()> {
        let mut pieces = bytes.chunks(PIECE_BYTES_MAX).peekable();
        if pieces.peek().is_none() {
            self.piece(stream, &[], last).await?;
        }
        while let Some(piece) = pieces.next() {
            self.piece(stream, piece, last && pieces.peek().is_none()).await?;
        }
        self.to.flush().await
    }

    async fn piece(&mut self, stream: u32, bytes: &[u8], last: bool) -> io::Result<()> {
        let mut frame = BytesMut::with_capacity(8 + bytes.len());
        frame.put_u32(stream);
        frame.put_u32((u32::from(if last { FIN } else { 0 }) << 24) | bytes.len() as u32);
        frame.put_slice(bytes);
        self.to.write_all(&frame).await
    }

    /// Answers a ping.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn pong(&mut self, id: u32) -> io::Result<()> {
        self.control(PING, &id.to_be_bytes()).await
    }

    async fn control(&mut self, type_: u16, body: &[u8]) -> io::Result<()> {
        let mut frame = BytesMut::with_capacity(8 + body.len());
        frame.put_u16(VERSION);
        frame.put_u16(type_);
        frame.put_u32(body.len() as u32);
        frame.put_slice(body);
        self.to.write_all(&frame).await?;
        self.to.flush().await
    }
}

/// Reads frames.
pub struct Reader<R> {
    from: R,
    /// The data frame that is being read in pieces.
    open: Option<Open>,
}

#[derive(Clone, Copy)]
struct Open {
    stream: u32,
    left: usize,
    last: bool,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Frames come from `from`.
    pub fn new(from: R) -> Self {
        Self { from, open: None }
    }

    /// The next frame that means something here; `None` at the end of the connection. A large one comes in pieces.
    ///
    /// # Errors
    /// The connection is gone within a frame.
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(open) = self.open.take() {
                return self.piece(open).await.map(Some);
            }
            let mut head = [0; 8];
            if !self.read_head(&mut head).await? {
                return Ok(None);
            }
            let length = u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize;
            if head[0] & 0x80 == 0 {
                let stream = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
                self.open = Some(Open { stream, left: length, last: head[4] & FIN != 0 });
                continue;
            }
            if let Some(frame) = self.control(u16::from_be_bytes([head[2], head[3]]), length).await? {
                return Ok(Some(frame));
            }
        }
    }

    /// Whether there is another frame.
    async fn read_head(&mut self, head: &mut [u8; 8]) -> io::Result<bool> {
        if self.from.read(&mut head[..1]).await? == 0 {
            return Ok(false);
        }
        self.from.read_exact(&mut head[1..]).await.map(|_| true)
    }

    async fn piece(&mut self, open: Open) -> io::Result<Frame> {
        let size = open.left.min(PIECE_BYTES_MAX);
        let mut bytes = BytesMut::zeroed(size);
        self.from.read_exact(&mut bytes).await?;
        let left = open.left - size;
        if left > 0 {
            self.open = Some(Open { left, ..open });
        }
        Ok(Frame::Data { stream: open.stream, bytes: bytes.freeze(), last: open.last && left == 0 })
    }

    async fn control(&mut self, type_: u16, length: usize) -> io::Result<Option<Frame>> {
        let mut first = [0; 4];
        let known = length.min(first.len());
        self.from.read_exact(&mut first[..known]).await?;
        let mut rest = (&mut self.from).take((length - known) as u64);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
        let number = u32::from_be_bytes(first);
        Ok(match type_ {
            RST_STREAM => Some(Frame::Reset { stream: number & 0x7fff_ffff }),
            PING => Some(Frame::Ping(number)),
            GO_AWAY => Some(Frame::GoAway),
            // Replies, settings and windows say nothing that is needed.
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[tokio::test]
    async fn headers_are_read_by_any_zlib() {
        let mut writer = Writer::new(Vec::new());
        writer.open(1, &[("streamtype", "error")]).await.expect("is written");
        writer.open(3, &[("streamtype", "stdin")]).await.expect("is written");
        let frames = writer.to;
        let length = |at: usize| u32::from_be_bytes([0, frames[at + 5], frames[at + 6], frames[at + 7]]) as usize;
        let (first, second) = (8 + length(0), 8 + length(0) + 8);
        assert_eq!(frames[..12], [0x80, 3, 0, 1, 0, 0, 0, length(0) as u8, 0, 0, 0, 1]);
        let blocks = [&frames[18..first], &frames[second + 10..]].concat();
        let mut text = vec![0; 54];
        flate2::read::ZlibDecoder::new(blocks.as_slice()).read_exact(&mut text).expect("is a zlib stream");
        assert_eq!(&text[..27], b"\0\0\0\x01\0\0\0\x0astreamtype\0\0\0\x05error");
        assert_eq!(&text[text.len() - 5..], b"stdin");
    }

    #[tokio::test]
    async fn frames_are_read_as_they_were_written() {
        let mut writer = Writer::new(Vec::new());
        let long = vec![7; PIECE_BYTES_MAX + 1];
        writer.data(3, b"ab", false).await.expect("is written");
        writer.pong(9).await.expect("is written");
        writer.data(5, &long, true).await.expect("is written");
        writer.data(3, b"", true).await.expect("is written");
        writer.control(2, &[0; 100]).await.expect("is written");
        writer.control(RST_STREAM, &[0, 0, 0, 7, 0, 0, 0, 5]).await.expect("is written");
        writer.control(GO_AWAY, &[0; 8]).await.expect("is written");
        let mut reader = Reader::new(writer.to.as_slice());
        let mut frames = Vec::new();
        while let Some(frame) = reader.next().await.expect("frames are whole") {
            frames.push(frame);
        }
        let data = |stream, bytes: &[u8], last| Frame::Data { stream, bytes: Bytes::copy_from_slice(bytes), last };
        assert_eq!(
            frames,
            [
                data(3, b"ab", false),
                Frame::Ping(9),
                data(5, &long[1..], false),
                data(5, &[7], true),
                data(3, b"", true),
                Frame::Reset { stream: 7 },
                Frame::GoAway,
            ]
        );
    }

    #[tokio::test]
    async fn a_large_frame_comes_in_pieces_and_a_cut_one_is_an_error() {
        let size = PIECE_BYTES_MAX as u32 + 2;
        let mut frame = [3u32.to_be_bytes(), ((u32::from(FIN) << 24) | size).to_be_bytes()].concat();
        frame.extend(vec![1; size as usize]);
        let mut reader = Reader::new(frame.as_slice());
        let mut seen = Vec::new();
        while let Some(Frame::Data { bytes, last, .. }) = reader.next().await.expect("the frame is whole") {
            seen.push((bytes.len(), last));
        }
        assert_eq!(seen, [(PIECE_BYTES_MAX, false), (2, true)]);
        for end in 1..frame.len().min(20) {
            let mut reader = Reader::new(&frame[..end]);
            assert!(reader.next().await.is_err(), "{end}");
        }
    }
}
