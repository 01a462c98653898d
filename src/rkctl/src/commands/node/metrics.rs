//! `rkctl node metrics`

use std::net::SocketAddr;
use std::path::PathBuf;

use super::in_cluster;
use crate::{exit, runtime};

/// Serve the metrics API.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where HTTPS is answered.
    #[arg(long, default_value = "0.0.0.0:4443")]
    listen: SocketAddr,
    /// The name in the serving certificate.
    #[arg(long, default_value = "metrics.kube-system.svc")]
    host: String,
    /// The cluster's CA, by which agents are known.
    #[arg(long, default_value = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")]
    cluster_ca: PathBuf,
}

pub fn run(args: Args) -> exit::Answer {
    runtime::log_to_stderr("info");
    runtime::node(async {
        let context = in_cluster::context(runtime::shutdown_token()?)?;
        let config = metrics::Config { listen: args.listen, host: args.host, cluster_ca: args.cluster_ca };
        metrics::run(config, context).await?;
        Ok(exit::DONE)
    })
}
