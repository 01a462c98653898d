//! A local port that leads to any API server that answers: what the agent and everything else on the node speak to.
//!
//! Connections are passed through as bytes, so that TLS ends at the servers. A connection stays with its server; new
//! ones go to the server that answered last, and move on when it does not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::Error;

/// A server that does not answer in this time is passed over.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// Servers are asked this often whether they are there.
const HEALTH_INTERVAL: Duration = Duration::from_secs(10);
/// Connections at the same time.
const CONNECTIONS_MAX: usize = 1024;

/// See the module.
pub struct Balancer {
    servers: Vec<String>,
    current: AtomicUsize,
    down: AtomicBool,
}

/// Where the balancer sends a connection, `host:port`, from `https://host:port`.
pub fn server_address(url: &str) -> Option<String> {
    let rest = url.strip_prefix("https://")?.split('/').next()?;
    let has_port = rest.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Some(if has_port { rest.to_string() } else { format!("{rest}:443") })
}

impl Balancer {
    /// Over these servers (`https://host:port`).
    pub fn new(servers: &[String]) -> Arc<Self> {
        let servers = servers.iter().filter_map(|url| server_address(url)).collect();
        Arc::new(Self { servers, current: AtomicUsize::new(0), down: AtomicBool::new(false) })
    }

    /// Listens on `address`.
    pub async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
        TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
    }

    /// Passes connections on until `shutdown`.
    pub async fn run(self: Arc<Self>, listener: TcpListener, shutdown: CancellationToken) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut health = tokio::time::interval(HEALTH_INTERVAL);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = health.tick(), if self.servers.len() > 1 => self.check().await,
                accepted = listener.accept() => {
                    let Ok((inbound, _)) = accepted else { continue };
                    let Ok(permit) = permits.clone().try_acquire_owned() else { continue };
                    let balancer = self.clone();
                    let shutdown = shutdown.clone();
                    tokio::spawn(async move {
                        tokio::select! {
                            () = shutdown.cancelled() => {}
                            () = balancer.pass(inbound) => {}
                        }
                        drop(permit);
                    });
                }
            }
        }
    }

    /// Leaves a server that does not answer before anybody waits for it.
    async fn check(&self) {
        let current = self.current.load(Ordering::Relaxed);
        if self.dial(current).await.is_none() {
            let _ = self.connect().await;
        }
    }

    async fn pass(&self, mut inbound: TcpStream) {
        let Some(mut outbound) = self.connect().await else { return };
        let _ = inbound.set_nodelay(true);
        let _ = outbound.set_nodelay(true);
        let _ = tokio::io::copy_bidirectional(&mut inbound, &mut outbound).await;
    }

    /// A connection to the first server that answers, beginning with the one that did last.
    async fn connect(&self) -> Option<TcpStream> {
        let first = self.current.load(Ordering::Relaxed);
        for step in 0..self.servers.len() {
            let index = (first + step) % self.servers.len();
            if let Some(stream) = self.dial(index).await {
                if step > 0 {
                    tracing::info!(server = self.servers[index], "move to another API server");
                    self.current.store(index, Ordering::Relaxed);
                }
                if self.down.swap(false, Ordering::Relaxed) {
                    tracing::info!(server = self.servers[index], "an API server answers again");
                }
                return Some(stream);
            }
        }
        if !self.down.swap(true, Ordering::Relaxed) {
            tracing::warn!(servers = ?self.servers, "no API server answers");
        }
        None
    }

    async fn dial(&self, index: usize) -> Option<TcpStream> {
        let address = self.servers.get(index)?;
        tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(address)).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn addresses_of_servers() {
        assert_eq!(server_address("https://10.0.0.1:6443").as_deref(), Some("10.0.0.1:6443"));
        assert_eq!(server_address("https://api.example.org/").as_deref(), Some("api.example.org:443"));
        assert_eq!(server_address("https://[fd00::1]:6443").as_deref(), Some("[fd00::1]:6443"));
        assert_eq!(server_address("http://a"), None);
    }

    async fn server(answer: u8) -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.write_all(&[answer]).await;
            }
        });
        (address, task)
    }

    #[tokio::test]
    async fn connections_move_to_a_server_that_answers() {
        let (first, first_task) = server(1).await;
        let (second, _task) = server(2).await;
        let balancer = Balancer::new(&[format!("https://{first}"), format!("https://{second}")]);
        let listener = Balancer::listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        tokio::spawn(balancer.run(listener, shutdown.clone()));
        let ask = || async move { TcpStream::connect(address).await.unwrap().read_u8().await.unwrap() };
        assert_eq!(ask().await, 1);
        first_task.abort();
        let _ = first_task.await;
        assert_eq!(ask().await, 2);
        shutdown.cancel();
    }
}
