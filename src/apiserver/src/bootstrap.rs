//! What must be there once the server runs: the system namespaces, the `kubernetes` service with its endpoints and
//! range, the flow control of a fresh server, and what plugins ask for. Done through the in-process client, next to requests, and again until it succeeds.

mod authentication;
mod expiring;
pub mod flow_control;
mod kubernetes;
mod namespaces;
mod objects;
mod service_cidr;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::live::Live;
use crate::plugin::Bootstrap;
use crate::request::User;
use crate::state::State;

/// How long to wait after a failure.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Failures that are nothing unusual while a server starts.
const FAILURES_EXPECTED: u32 = 4;

/// Whom the server acts as towards itself.
fn itself() -> User {
    User::new("system:apiserver", &["system:masters"])
}

/// Starts everything; `/readyz` waits for each to have succeeded once.
pub fn start(state: &Arc<State>, tasks: &TaskTracker, shutdown: &CancellationToken) {
    let client = crate::local::client(state, itself());
    crate::custom::start(state, client.clone(), tasks, shutdown);
    crate::type_checking::start(state, client.clone(), tasks, shutdown);
    crate::aggregate::availability::start(state, client.clone(), tasks, shutdown);
    let live = Live::new(state.store.clone());
    let own: [Arc<dyn Bootstrap>; 6] = [
        Arc::new(authentication::AuthenticationInfo::new(&state.config)),
        Arc::new(namespaces::SystemNamespaces),
        Arc::new(kubernetes::KubernetesService::new(&state.config, state.port)),
        Arc::new(flow_control::FlowControl(live.clone())),
        Arc::new(expiring::Expiring(state.store.clone())),
        Arc::new(service_cidr::DefaultServiceCidr { live, cidr: state.config.service_cidr }),
    ];
    tasks.spawn(state.flow.clone().run(shutdown.clone()));
    let (schemas, ends) = (flow_control::follow(state.clone(), client.clone()), shutdown.clone());
    tasks.spawn(async move { ends.run_until_cancelled(schemas).await });
    for bootstrap in own.into_iter().chain(state.plugins.bootstraps.iter().cloned()) {
        state.health.expect(bootstrap.name());
        let (state, client, shutdown) = (state.clone(), client.clone(), shutdown.clone());
        tasks.spawn(async move {
            let work = run(&state, bootstrap.as_ref(), &client);
            shutdown.run_until_cancelled(work).await;
        });
    }
    state.health.all_expected();
}

async fn run(state: &State, bootstrap: &dyn Bootstrap, client: &kube::Client) {
    let mut backoff = stdx::backoff::Backoff::new(RETRY_FIRST, RETRY_MAX);
    let mut failures = 0;
    loop {
        match bootstrap.bootstrap(client).await {
            Ok(()) => {
                state.health.done(bootstrap.name());
                let Some(every) = bootstrap.every() else { return };
                backoff.reset();
                failures = 0;
                tokio::time::sleep(every).await;
            }
            Err(error) => {
                failures += 1;
                let text = stdx::error::chain(error.as_ref());
                // Hooks start together, and some need what others make, such as a namespace.
                match failures {
                    ..=FAILURES_EXPECTED => tracing::debug!("{}: {text}; trying again", bootstrap.name()),
                    _ => tracing::warn!("{}: {text}; trying again", bootstrap.name()),
                }
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    }
}
