//! A container runtime's streaming server that the test plays, in SPDY/3.1.

use std::collections::HashMap;
use std::io::Result;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const SYN_STREAM: u8 = 1;
const SYN_REPLY: u8 = 2;
const FIN: u8 = 1;

struct Frame {
    /// The type of a control frame; of data none.
    control: Option<u8>,
    stream: u32,
    last: bool,
    body: Vec<u8>,
}

async fn read<R: AsyncRead + Unpin>(from: &mut R) -> Result<Frame> {
    let mut head = [0; 8];
    from.read_exact(&mut head).await?;
    let mut body = vec![0; u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize];
    from.read_exact(&mut body).await?;
    let is_control = head[0] & 0x80 != 0;
    let number = if is_control { &body[..4] } else { &head[..4] };
    let stream = u32::from_be_bytes(number.try_into().expect("four bytes"));
    Ok(Frame { control: is_control.then_some(head[3]), stream, last: head[4] & FIN != 0, body })
}

async fn data<W: AsyncWrite + Unpin>(to: &mut W, stream: u32, bytes: &[u8], last: bool) -> Result<()> {
    to.write_u32(stream).await?;
    to.write_u32((u32::from(last) << 24) | bytes.len() as u32).await?;
    to.write_all(bytes).await?;
    to.flush().await
}

/// The command `cat`: what comes in goes out, until the input ends.
pub async fn cat<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(mut from: R, mut to: W) -> Result<()> {
    let mut streams = HashMap::new();
    loop {
        let frame = read(&mut from).await?;
        if frame.control == Some(SYN_STREAM) {
            // This server's headers are readable.
            let names = ["error", "stdin", "stdout", "stderr"];
            let is = |name: &&str| frame.body.windows(name.len()).any(|found| found == name.as_bytes());
            let name = names.into_iter().find(is).expect("a known stream");
            streams.insert(name, frame.stream);
        } else if frame.control.is_none() && streams.get("stdin") == Some(&frame.stream) {
            data(&mut to, streams["stdout"], &frame.body, frame.last).await?;
            if frame.last {
                let status = br#"{"metadata":{},"status":"Success"}"#;
                data(&mut to, streams["error"], status, true).await?;
                // Runtimes close the connection.
                return to.shutdown().await;
            }
        }
    }
}

/// A port that sends back what it gets. Of the two streams that a client opens for each connection the second is the
/// one with data.
pub async fn forward<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(mut from: R, mut to: W) -> Result<()> {
    let mut has_headers = false;
    loop {
        let frame = read(&mut from).await?;
        match frame.control {
            Some(SYN_STREAM) => {
                // No headers at all, as one block of a zlib stream of its own; the rest is its flush.
                let zlib: &[u8] = if has_headers { &[] } else { &[0x78, 0x01] };
                has_headers = true;
                let block = [zlib, &[0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]].concat();
                let head = [0x80, 3, 0, SYN_REPLY, 0, 0, 0, 4 + block.len() as u8];
                to.write_all(&[&head[..], &frame.stream.to_be_bytes(), &block].concat()).await?;
                to.flush().await?;
            }
            None if frame.stream % 4 == 3 => data(&mut to, frame.stream, &frame.body, frame.last).await?,
            _ => {}
        }
    }
}
