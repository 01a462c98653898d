//! Local TCP ports whose connections come out on the host's side (`ssh -L`).

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::error::Error;
use crate::session::Session;

/// Connections through one forwarded port at a time; more wait to be accepted.
const CONNECTIONS_LIMIT: usize = 64;

/// A forwarded port; dropping it closes the port and every connection through it.
#[derive(Debug)]
pub struct Forward {
    local: SocketAddr,
    task: JoinHandle<()>,
}

impl Forward {
    /// The local address to connect to.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Session {
    /// Listens on `local` (port 0 takes a free one) and carries each connection to `host` and `port` as the
    /// remote machine sees them.
    pub async fn forward(&self, local: SocketAddr, host: &str, port: u16) -> Result<Forward, Error> {
        let failed = |source| Error::Forward { host: self.name().to_owned(), local: local.to_string(), source };
        let listener = TcpListener::bind(local).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        let task = tokio::spawn(serve(self.clone(), listener, host.to_owned(), port));
        Ok(Forward { local, task })
    }
}

async fn serve(session: Session, listener: TcpListener, host: String, port: u16) {
    let limit = Arc::new(Semaphore::new(CONNECTIONS_LIMIT));
    // Dropped with this task, and the connections with it.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok(permit) = limit.clone().acquire_owned().await {
        while connections.try_join_next().is_some() {}
        let mut local = match listener.accept().await {
            Ok((local, _)) => local,
            Err(error) => {
                tracing::warn!(%error, "forwarded port");
                return;
            }
        };
        let (session, host) = (session.clone(), host.clone());
        connections.spawn(async move {
            let _permit = permit;
            match session.open_tcp(&host, port).await {
                // Either side may hang up at any time; there is no one to tell but the two of them.
                Ok(mut remote) => drop(copy_bidirectional(&mut local, &mut remote).await),
                Err(error) => tracing::warn!(error = stdx::error::chain(&error), "forwarded connection"),
            }
        });
    }
}
