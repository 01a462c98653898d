//! The API as a pod of the cluster sees it.

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

/// A context for a component that runs in a pod with a service account.
pub fn context(shutdown: CancellationToken) -> anyhow::Result<client::Context> {
    let mut config =
        kube::Config::incluster().context("find the API from within a pod; run this as a pod of the cluster")?;
    // Components try again by themselves, with a bound they know.
    config.default_retry = false;
    let client = kube::Client::try_from(config).context("make a client of the API")?;
    let informers = client::informer::Informers::new(client.clone(), shutdown.clone());
    Ok(client::Context { client, informers, shutdown })
}
