//! What every request shares: configuration, store, plugins, counters and caches.

use std::sync::Arc;

use store::Store;
use tokio_util::sync::CancellationToken;

use crate::aggregate::kept::Kept;
use crate::authn::figures::Figures as Authentication;
use crate::components::Components;
use crate::config::Config;
use crate::convert::shared::Shared;
use crate::custom::Customs;
use crate::error::Error;
use crate::flow::{Flow, Objects};
use crate::follow::Followed;
use crate::health::Health;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::plugin::Plugins;
use crate::processor::Processor;
use crate::services::Allocator;
use crate::stream::Connector;
use crate::webhook::Caller;

/// What every request shares.
pub struct State {
    /// As given.
    pub config: Config,
    /// The port that is listened on.
    pub port: u16,
    /// Where objects live.
    pub store: Arc<dyn Store>,
    /// Policy.
    pub plugins: Plugins,
    /// Counters.
    pub metrics: Metrics,
    /// What is counted of authentication.
    pub authentication: Authentication,
    /// What must be done before the server is ready.
    pub health: Health,
    /// What runs beside the server.
    pub components: Components,
    /// Ends watches and streams.
    pub shutdown: CancellationToken,
    /// CustomResourceDefinitions, and with them everything that is served.
    pub customs: Customs,
    /// What the servers behind APIServices said of their resources.
    pub kept: Kept,
    /// Addresses and ports of services.
    pub services: Allocator,
    /// Connections to agents and pods.
    pub connector: Connector,
    /// Calls webhooks.
    pub caller: Caller,
    /// What conversion webhooks made for watches.
    pub conversions: Shared,
    /// Which requests are served now, and which wait.
    pub flow: Arc<Flow>,
    /// Whose work is done next.
    pub processor: Arc<Processor>,
}

impl State {
    /// Nothing is computed here that can be computed on first use: a server is ready at once.
    pub fn new(
        config: Config,
        port: u16,
        store: Arc<dyn Store>,
        plugins: Plugins,
        flow: Followed<Objects>,
    ) -> Result<Self, Error> {
        let flow = Flow::new(config.limits.reads_in_flight + config.limits.writes_in_flight, flow);
        let connector = Connector::new(&config);
        let caller = Caller::new(Live::new(store.clone()), config.local_targets);
        let services = Allocator::new(config.service_cidr, config.node_port_range.clone());
        Ok(Self {
            config,
            port,
            store,
            plugins,
            metrics: Metrics::default(),
            authentication: Authentication::default(),
            health: Health::default(),
            components: Components::default(),
            shutdown: CancellationToken::new(),
            customs: Customs::default(),
            kept: Kept::default(),
            services,
            connector,
            caller,
            conversions: Shared::default(),
            flow,
            processor: Processor::new(threads()),
        })
    }
}

/// How many threads work for the server.
fn threads() -> usize {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.metrics().num_workers(),
        Err(_) => 1,
    }
}
