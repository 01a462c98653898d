//! The store's peer: Debian's etcd, one member, written to over its gRPC interface.
//!
//! A put is two length-delimited fields in a length-prefixed message (etcd's `rpc.proto`, `PutRequest`): too little
//! to generate code for.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::command::{self, free_port};
use crate::load::Load;
use crate::proc::Process;

/// etcd elects itself within a second or two.
const START_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
/// As etcd's own benchmark: several connections, so that none of them is the limit.
const CONNECTIONS: usize = 8;

/// A running member with its connections; ends when dropped.
pub struct Etcd {
    child: Child,
    connections: Vec<SendRequest<Full<Bytes>>>,
    authority: String,
    value: Bytes,
}

impl Etcd {
    /// Starts a member on loopback with its data in `folder`, and waits until it takes writes.
    ///
    /// # Errors
    /// Where etcd is not installed, with what installs it.
    pub async fn start(folder: &Path, value: Bytes) -> anyhow::Result<Self> {
        let program = command::which("etcd")
            .context("its peer is missing: no etcd in PATH; install it with `apt-get install etcd-server`")?;
        let (client_port, peer_port) = (free_port()?, free_port()?);
        let (clients, peers) = (format!("http://127.0.0.1:{client_port}"), format!("http://127.0.0.1:{peer_port}"));
        let process = Command::new(program)
            .args(["--name", "bench", "--log-level", "error", "--logger", "zap"])
            .arg("--data-dir")
            .arg(folder)
            .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("bench={peers}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("start etcd")?;
        let authority = format!("127.0.0.1:{client_port}");
        let began = Instant::now();
        loop {
            match Self::open(&authority).await {
                Ok(connections) => {
                    let member = Self { child: process, connections, authority, value };
                    member.put(0, "/registry/bench/first").await?;
                    return Ok(member);
                }
                Err(error) if began.elapsed() > START_LIMIT => return Err(error.context("etcd does not start")),
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// The member's process.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn process(&self) -> anyhow::Result<Process> {
        let id = self.child.id().context("etcd has ended")?;
        Ok(Process(i32::try_from(id)?))
    }

    async fn open(authority: &str) -> anyhow::Result<Vec<SendRequest<Full<Bytes>>>> {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let tcp = TcpStream::connect(authority).await?;
            tcp.set_nodelay(true)?;
            let (sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await?;
            tokio::spawn(async move { drop(driver.await) });
            connections.push(sender);
        }
        Ok(connections)
    }

    async fn put(&self, worker: usize, key: &str) -> anyhow::Result<()> {
        let mut sender = self.connections[worker % self.connections.len()].clone();
        let request = http::Request::post(format!("http://{}/etcdserverpb.KV/Put", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(put_request(key.as_bytes(), &self.value)))?;
        sender.ready().await?;
        let answer = sender.send_request(request).await?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await?;
        // An answer without a body carries the status in its only head.
        let status = body.trailers().and_then(|all| all.get("grpc-status")).or(head.headers.get("grpc-status"));
        match status.and_then(|status| status.to_str().ok()) {
            Some("0") => Ok(()),
            other => bail!("etcd answered a put with gRPC status {}", other.unwrap_or("nothing")),
        }
    }
}

impl Load for Etcd {
    async fn call(&self, worker: usize, sequence: u64) -> anyhow::Result<()> {
        self.put(worker, &crate::figures::store::key(worker, sequence)).await
    }
}

/// A gRPC message: not compressed, four bytes of length, and `PutRequest { key = 1, value = 2 }`.
fn put_request(key: &[u8], value: &[u8]) -> Bytes {
    let mut message = BytesMut::new();
    for (tag, bytes) in [(0x0a, key), (0x12, value)] {
        message.put_u8(tag);
        put_varint(&mut message, bytes.len());
        message.put_slice(bytes);
    }
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(&message);
    framed.freeze()
}

fn put_varint(buffer: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        buffer.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    buffer.put_u8(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_are_framed_as_grpc_and_protobuf_say() {
        assert_eq!(put_request(b"k", b"ab")[..], [0, 0, 0, 0, 7, 0x0a, 1, b'k', 0x12, 2, b'a', b'b']);
        let long = put_request(b"", &[7; 300]);
        assert_eq!(long[..10], [0, 0, 0, 1, 49, 0x0a, 0, 0x12, 0xac, 0x02]);
        assert_eq!(long.len(), 5 + 305);
    }
}
