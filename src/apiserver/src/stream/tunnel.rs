//! port-forward whose SPDY comes in WebSocket messages (KEP-4006): the messages are unpacked, and the bytes go to the
//! runtime as they are.

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::websocket;

/// The largest message to a client.
const MESSAGE_BYTES_MAX: usize = 32 << 10;

/// Carries bytes until one side ends.
///
/// # Errors
/// One side went away. The other knows by the end of its connection.
pub async fn carry<C, R>(client: WebSocketStream<C>, runtime: R) -> std::io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin + Send,
    R: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (mut read, mut write) = tokio::io::split(runtime);
    let (mut sink, mut messages) = client.split();
    let inward = async {
        while let Some(message) = messages.next().await {
            match message.map_err(std::io::Error::other)? {
                Message::Binary(bytes) => write.write_all(&bytes).await?,
                Message::Text(text) => write.write_all(text.as_bytes()).await?,
                Message::Close(_) => break,
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
            write.flush().await?;
        }
        Ok(())
    };
    let outward = async {
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        loop {
            match read.read(&mut buffer).await? {
                0 => return Ok::<(), std::io::Error>(()),
                size => {
                    let message = Message::binary(buffer[..size].to_vec());
                    sink.send(message).await.map_err(std::io::Error::other)?;
                }
            }
        }
    };
    tokio::select! {
        ended = inward => return ended,
        ended = outward => ended?,
    }
    websocket::close(sink, messages).await.map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    #[tokio::test]
    async fn bytes_pass_both_ways_and_an_end_is_told() {
        let (near, far) = tokio::io::duplex(1 << 16);
        let (own, mut runtime) = tokio::io::duplex(1 << 16);
        let socket = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
        let carrying = tokio::spawn(carry(socket, own));
        let mut client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        client.send(Message::binary(b"pi".to_vec())).await.expect("is sent");
        client.send(Message::Ping(b"?".to_vec().into())).await.expect("is sent");
        client.send(Message::binary(b"ng".to_vec())).await.expect("is sent");
        let mut ping = [0; 4];
        runtime.read_exact(&mut ping).await.expect("bytes");
        assert_eq!(&ping, b"ping");
        runtime.write_all(b"pong").await.expect("is written");
        drop(runtime);
        let mut seen = Vec::new();
        while let Some(Ok(message)) = client.next().await {
            match message {
                Message::Binary(bytes) => seen.extend_from_slice(&bytes),
                Message::Pong(bytes) => assert_eq!(bytes.as_ref(), b"?"),
                _ => break,
            }
        }
        assert_eq!(seen, b"pong");
        carrying.await.expect("no panic").expect("no error");
    }
}
