//! exec and attach between a client that speaks version 5 of the WebSocket protocol and a runtime that speaks SPDY,
//! because the end of an input can be told in these two and not in the WebSocket protocols that runtimes know.
//!
//! A message of the client is a channel's number and bytes; 255 and a number ends that channel. Each channel is a
//! stream of SPDY. What ended the command comes last, on the channel of errors, and then the connection closes.

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, mpsc};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::spdy::{Frame, Reader, Writer};
use super::websocket;
use crate::status::Status;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Ends the channel whose number follows.
const CLOSE: u8 = 255;

/// How a command ended takes less than this; of more the rest is dropped.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// Pings of a runtime that wait for their answers.
const PINGS_MAX: usize = 16;

/// The streams that a client wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The client sends an input.
    pub stdin: bool,
    /// The client takes the output.
    pub stdout: bool,
    /// The client takes the output of errors. A terminal has none.
    pub stderr: bool,
    /// There is a terminal, whose size the client tells.
    pub tty: bool,
}

impl Wanted {
    /// The channels, the name of each one's stream, and the stream's number.
    fn channels(self) -> Vec<(u8, &'static str, u32)> {
        let all = [
            (ERROR, "error", true),
            (STDIN, "stdin", self.stdin),
            (STDOUT, "stdout", self.stdout),
            (STDERR, "stderr", self.stderr && !self.tty),
            (RESIZE, "resize", self.tty),
        ];
        let wanted = all.into_iter().filter(|(_, _, wanted)| *wanted);
        wanted.zip((1..).step_by(2)).map(|((channel, name, _), stream)| (channel, name, stream)).collect()
    }
}

/// What a message of the client becomes.
#[derive(Debug, PartialEq, Eq)]
enum Inward<'a> {
    Data(u32, &'a [u8]),
    End(u32),
    /// For a channel that is not the client's to write, or that it did not ask for.
    Nothing,
}

fn inward<'a>(channels: &[(u8, &'static str, u32)], message: &'a [u8]) -> Inward<'a> {
    let stream = |wanted: u8| {
        let own = channels.iter().filter(|(channel, ..)| matches!(*channel, STDIN | RESIZE));
        own.into_iter().find(|(channel, ..)| *channel == wanted).map(|(.., stream)| *stream)
    };
    match message {
        [CLOSE, channel, ..] => stream(*channel).map_or(Inward::Nothing, Inward::End),
        [channel, bytes @ ..] if !bytes.is_empty() => {
            stream(*channel).map_or(Inward::Nothing, |stream| Inward::Data(stream, bytes))
        }
        _ => Inward::Nothing,
    }
}

/// Carries bytes until the command has ended or one side is gone.
///
/// # Errors
/// One side went away. The other knows by the end of its connection.
pub async fn translate<C, R>(client: WebSocketStream<C>, runtime: R, wanted: Wanted) -> std::io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin + Send,
    R: AsyncRead + AsyncWrite + Unpin + Send,
{
    let channels = wanted.channels();
    let (read, write) = tokio::io::split(runtime);
    let mut writer = Writer::new(write);
    for (_, name, stream) in &channels {
        writer.open(*stream, &[("streamtype", name)]).await?;
    }
    let writer = Mutex::new(writer);
    let (mut sink, mut messages) = client.split();
    let (pings, pinged) = mpsc::channel(PINGS_MAX);
    let ending = tokio::select! {
        // A ping is answered before the frames after it are looked at.
        biased;
        lost = answer_pings(pinged, &writer) => return lost,
        ending = pass_frames(&channels, Reader::new(read), &mut sink, &pings) => ending?,
        // The client is gone, and with it what it was told.
        gone = take_messages(&channels, &mut messages, &writer) => return gone,
    };
    finish(sink, messages, ending).await.map_err(std::io::Error::other)
}

/// Tells a client that its command could not be begun.
///
/// # Errors
/// The client is gone.
pub async fn refuse<C>(client: WebSocketStream<C>, status: &Status) -> Result<(), Error>
where
    C: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (sink, messages) = client.split();
    finish(sink, messages, status.to_value().to_string().into_bytes()).await
}

async fn finish<C>(
    mut sink: SplitSink<WebSocketStream<C>, Message>,
    messages: SplitStream<WebSocketStream<C>>,
    ending: Vec<u8>,
) -> Result<(), Error>
where
    C: AsyncRead + AsyncWrite + Unpin + Send,
{
    sink.send(message(ERROR, &ending)).await?;
    websocket::close(sink, messages).await
}

fn message(channel: u8, bytes: &[u8]) -> Message {
    Message::binary([&[channel], bytes].concat())
}

async fn take_messages<C, W>(
    channels: &[(u8, &'static str, u32)],
    messages: &mut SplitStream<WebSocketStream<C>>,
    writer: &Mutex<Writer<W>>,
) -> std::io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin + Send,
    W: AsyncWrite + Unpin,
{
    while let Some(message) = messages.next().await {
        let message = match message.map_err(std::io::Error::other)? {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => text.into(),
            Message::Close(_) => return Ok(()),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        match inward(channels, &message) {
            Inward::Data(stream, bytes) => writer.lock().await.data(stream, bytes, false).await?,
            Inward::End(stream) => writer.lock().await.data(stream, &[], true).await?,
            Inward::Nothing => {}
        }
    }
    Ok(())
}

/// Answers the runtime's pings beside its output: while it does not read, an answer waits for the input before it, and
/// what it writes must not wait with it.
async fn answer_pings<W: AsyncWrite + Unpin>(
    mut pinged: mpsc::Receiver<u32>,
    writer: &Mutex<Writer<W>>,
) -> std::io::Result<()> {
    while let Some(id) = pinged.recv().await {
        writer.lock().await.pong(id).await?;
    }
    Ok(())
}

/// Passes what comes from the runtime on, and answers with what is to be said of the end.
async fn pass_frames<C, R>(
    channels: &[(u8, &'static str, u32)],
    mut frames: Reader<R>,
    sink: &mut SplitSink<WebSocketStream<C>, Message>,
    pings: &mpsc::Sender<u32>,
) -> std::io::Result<Vec<u8>>
where
    C: AsyncRead + AsyncWrite + Unpin + Send,
    R: AsyncRead + Unpin,
{
    let mut open: Vec<(u8, u32)> = channels
        .iter()
        .filter(|(channel, ..)| matches!(*channel, STDOUT | STDERR | ERROR))
        .map(|(channel, _, stream)| (*channel, *stream))
        .collect();
    let (mut ending, mut is_told) = (Vec::new(), false);
    while !open.is_empty() {
        // A runtime that went away after the end of the command has said everything.
        let frame = match frames.next().await {
            Ok(frame) => frame,
            Err(_) if is_told || !ending.is_empty() => break,
            Err(error) => return Ok(lost(&error.to_string())),
        };
        let ended = match frame {
            None | Some(Frame::GoAway) => break,
            Some(Frame::Ping(id)) => {
                // Of one that pings on without reading the rest is not answered.
                let _ = pings.try_send(id);
                tokio::task::yield_now().await;
                continue;
            }
            Some(Frame::Reset { stream }) => Some(stream),
            Some(Frame::Data { stream, bytes, last }) => {
                match open.iter().find(|(_, own)| *own == stream).map(|(channel, _)| *channel) {
                    Some(ERROR) => {
                        is_told |= last;
                        let room = ERROR_BYTES_MAX - ending.len();
                        ending.extend_from_slice(&bytes[..bytes.len().min(room)]);
                    }
                    Some(channel) if !bytes.is_empty() => {
                        sink.send(message(channel, &bytes)).await.map_err(std::io::Error::other)?;
                    }
                    _ => {}
                }
                last.then_some(stream)
            }
        };
        open.retain(|(_, stream)| Some(*stream) != ended);
    }
    Ok(match (ending.is_empty(), is_told) {
        (false, _) => ending,
        (true, true) => success().to_string().into_bytes(),
        (true, false) => lost("the connection to the container ended before its command did"),
    })
}

fn success() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})
}

fn lost(why: &str) -> Vec<u8> {
    Status::internal(why).to_value().to_string().into_bytes()
}

#[cfg(test)]
mod tests;
