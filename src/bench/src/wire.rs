//! A load generator's HTTP/1.1 over TLS: one connection that sends bytes made by others and looks at no more of an
//! answer than its frame. On a machine that client and server share, what the client takes the server does not have.

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A longer head is none of a server that is measured here.
const HEAD_LIMIT_BYTES: usize = 64 * 1024;
/// Read at once: a record of TLS.
const READ_BYTES: usize = 16 * 1024;
/// Of an answer that fails, told at most.
const TOLD_BYTES: usize = 400;

/// An open connection.
pub struct Wire {
    stream: TlsStream<TcpStream>,
    /// What has been read and not taken yet lies in `buffer[from..to]`.
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    /// How an answer that was no success began.
    said: Vec<u8>,
}

/// What the head of an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    status: u16,
    /// `None` where the body comes in chunks.
    length_bytes: Option<u64>,
}

impl Wire {
    /// Speaks over a stream on which TLS has been agreed.
    pub fn new(stream: TlsStream<TcpStream>) -> Self {
        Self { stream, buffer: vec![0; READ_BYTES], from: 0, to: 0, said: Vec::new() }
    }

    /// Sends a request that must succeed and reads its answer, of which nothing is kept. Answers the size of the body
    /// in bytes.
    ///
    /// # Errors
    /// An answer that is no success, in its own words.
    pub async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<u64> {
        match self.answer(request).await? {
            (200..300, length_bytes) => Ok(length_bytes),
            (status, _) => Err(self.refusal(status)),
        }
    }

    /// Sends a request and reads its answer, whatever it says. Answers its status and the size of the body in bytes.
    ///
    /// # Errors
    /// A connection that breaks.
    pub async fn answer(&mut self, request: &[u8]) -> anyhow::Result<(u16, u64)> {
        self.send(request).await?;
        let head = self.head().await?;
        let Some(length_bytes) = head.length_bytes else { bail!("an answer without a length") };
        self.said.clear();
        let mut left = length_bytes;
        loop {
            let here = u64::try_from(self.to - self.from)?.min(left);
            let here_bytes = usize::try_from(here)?;
            if head.status >= 300 && self.said.len() < TOLD_BYTES {
                self.said.extend_from_slice(&self.buffer[self.from..self.from + here_bytes]);
            }
            self.from += here_bytes;
            left -= here;
            if left == 0 {
                return Ok((head.status, length_bytes));
            }
            self.fill().await?;
        }
    }

    /// Sends a request and reads the body of its answer.
    ///
    /// # Errors
    /// See [`Wire::exchange`].
    pub async fn body(&mut self, request: &[u8]) -> anyhow::Result<Vec<u8>> {
        self.send(request).await?;
        let head = self.head().await?;
        if !(200..300).contains(&head.status) {
            return Err(self.failure(head.status).await);
        }
        let length = usize::try_from(head.length_bytes.context("an answer without a length")?)?;
        let mut body = Vec::with_capacity(length);
        loop {
            let here = (self.to - self.from).min(length - body.len());
            body.extend_from_slice(&self.buffer[self.from..self.from + here]);
            self.from += here;
            if body.len() == length {
                return Ok(body);
            }
            self.fill().await?;
        }
    }

    /// Sends a request whose answer does not end, and waits for its head.
    ///
    /// # Errors
    /// See [`Wire::exchange`].
    pub async fn begin(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.send(request).await?;
        match self.head().await?.status {
            200 => Ok(()),
            status => Err(self.failure(status).await),
        }
    }

    /// The next bytes of such an answer, with whatever frames it; empty where it has ended. Cancel-safe.
    ///
    /// # Errors
    /// A connection that breaks.
    pub async fn more(&mut self) -> anyhow::Result<&[u8]> {
        if self.from == self.to && self.read().await? == 0 {
            return Ok(&[]);
        }
        let from = std::mem::replace(&mut self.from, self.to);
        Ok(&self.buffer[from..self.to])
    }

    async fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(request).await.context("send a request")?;
        self.stream.flush().await.context("send a request")
    }

    async fn head(&mut self) -> anyhow::Result<Head> {
        const END: &[u8] = b"\r\n\r\n";
        loop {
            let here = &self.buffer[self.from..self.to];
            if let Some(at) = here.windows(END.len()).position(|window| window == END) {
                let head = parse(&here[..at])?;
                self.from += at + END.len();
                return Ok(head);
            }
            if here.len() > HEAD_LIMIT_BYTES {
                bail!("the head of an answer is longer than {HEAD_LIMIT_BYTES} bytes");
            }
            self.fill().await?;
        }
    }

    async fn failure(&mut self, status: u16) -> anyhow::Error {
        if self.from == self.to {
            let _gone = self.fill().await;
        }
        self.said = self.buffer[self.from..self.to].to_vec();
        self.refusal(status)
    }

    fn refusal(&self, status: u16) -> anyhow::Error {
        let told = String::from_utf8_lossy(&self.said[..self.said.len().min(TOLD_BYTES)]).into_owned();
        anyhow::anyhow!("answered {status}: {told}")
    }

    /// Reads more; the connection may not end.
    async fn fill(&mut self) -> anyhow::Result<()> {
        match self.read().await? {
            0 => bail!("the connection ended within an answer"),
            _ => Ok(()),
        }
    }

    async fn read(&mut self) -> anyhow::Result<usize> {
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        } else if self.to == self.buffer.len() {
            self.buffer.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
            self.buffer.resize(self.to + READ_BYTES, 0);
        }
        let count = self.stream.read(&mut self.buffer[self.to..]).await.context("read an answer")?;
        self.to += count;
        Ok(count)
    }
}

/// Reads status and length.
fn parse(head: &[u8]) -> anyhow::Result<Head> {
    let text = std::str::from_utf8(head).context("the head of an answer is no text")?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("this is no answer: {text:?}"))?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse())
    });
    Ok(Head { status, length_bytes: length.transpose().context("the length of an answer is no number")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_tell_status_and_length() {
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Type: x\r\nCONTENT-length: 12", Some((200, Some(12)))),
            ("HTTP/1.1 201 Created\r\ntransfer-encoding: chunked", Some((201, None))),
            ("HTTP/1.1 200 OK\r\ncontent-length: x", None),
            ("nothing", None),
        ] {
            let head = parse(text.as_bytes()).ok().map(|head| (head.status, head.length_bytes));
            assert_eq!(head, expected, "{text}");
        }
    }
}
