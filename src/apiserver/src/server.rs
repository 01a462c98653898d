//! The server: what it is made of, the listener, and how it ends. What a request goes through is `handler`.

mod answer;
mod connection;
mod pace;
mod places;
pub mod targets;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use store::Store;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::components::Components;
use crate::config::Config;
use crate::error::Error;
use crate::plugin::Plugins;
use crate::request::User;
use crate::state::State;
use crate::tls::Material;

/// An API server that listens; [`Server::run`] answers.
pub struct Server {
    state: Arc<State>,
    tls: Arc<Material>,
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Reads certificates and binds the listener.
    ///
    /// # Errors
    /// Certificates that cannot be used; an address that is taken.
    pub async fn new(config: Config, store: Arc<dyn Store>, plugins: Plugins) -> Result<Self, Error> {
        let tls = Arc::new(Material::load(&config)?);
        let listen = config.listen;
        let failed = |source| Error::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let flow = crate::follow::Followed::start(&store).await?;
        let state = State::new(config, address.port(), store, plugins, flow)?;
        // What was served before is served from the first request on.
        let read = state.customs.refresh(state.store.as_ref()).await;
        read.map_err(|status| Error::Definitions(status.to_string()))?;
        Ok(Self { state: Arc::new(state), tls, listener, address })
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where whoever starts components beside the server says how they stand.
    pub fn components(&self) -> Components {
        self.state.components.clone()
    }

    /// A client that needs no sockets: its requests go through the same steps as all others, as `user`.
    /// It works before [`Server::run`] is called and until the process ends.
    pub fn client(&self, user: User) -> kube::Client {
        crate::local::client(&self.state, user)
    }

    /// Gives such clients that act as service accounts of `kube-system`, by the account's name.
    pub fn account_clients(&self) -> impl Fn(&str) -> kube::Client + Send + 'static {
        let state = self.state.clone();
        move |account| crate::local::client(&state, User::service_account("kube-system", account))
    }

    /// Answers until `shutdown`. Then `/readyz` says no, for a while everything else goes on, watches end, and requests
    /// in flight have a bounded time.
    ///
    /// # Errors
    /// None at present beyond what [`Server::new`] finds.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let limits = self.state.config.limits.clone();
        let tasks = TaskTracker::new();
        let accepting = Accepting {
            places: places::Places::new(&self.state),
            tasks: tasks.clone(),
            closing: CancellationToken::new(),
        };
        crate::bootstrap::start(&self.state, &tasks, &shutdown);
        tracing::info!(address = %self.address, "the API server listens");
        shutdown.run_until_cancelled(self.accept(&accepting)).await;
        self.state.health.stop();
        let _ = tokio::time::timeout(limits.shutdown_delay, self.accept(&accepting)).await;
        self.state.shutdown.cancel();
        accepting.closing.cancel();
        // Whoever comes now is refused by the kernel, and goes elsewhere.
        drop(self.listener);
        tasks.close();
        if tokio::time::timeout(limits.drain_within, tasks.wait()).await.is_err() {
            tracing::warn!("requests were still open after {} s and are cut off", limits.drain_within.as_secs());
        }
        if let Some(audit) = &self.state.plugins.audit {
            audit.flush().await;
        }
        Ok(())
    }

    /// Takes connections in for ever.
    async fn accept(&self, accepting: &Accepting) {
        loop {
            // Beyond the bound clients wait in the kernel's queue.
            let Some(permit) = accepting.places.free().await else { return };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let Some(place) = accepting.places.take(peer.ip(), permit) else { continue };
                    let (state, tls, closing) = (self.state.clone(), self.tls.clone(), accepting.closing.clone());
                    let account = self.state.processor.account(peer.ip());
                    let paying = account.clone();
                    accepting.tasks.spawn(self.state.processor.share(account, async move {
                        connection::serve(&state, &tls, stream, (peer, place, paying), &closing).await;
                    }));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: let some close.
                    tracing::warn!("accepting a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// What connections are taken in with.
struct Accepting {
    places: Arc<places::Places>,
    tasks: TaskTracker,
    /// Connections end with the requests that are open.
    closing: CancellationToken,
}
