//! `rkctl node dns`

use std::net::SocketAddr;
use std::path::PathBuf;

use super::in_cluster;
use crate::{exit, runtime};

/// Run cluster DNS.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where questions are answered, over UDP and TCP.
    #[arg(long, default_value = "0.0.0.0:53")]
    listen: SocketAddr,
    /// Where /health and /ready are answered over HTTP.
    #[arg(long, default_value = "0.0.0.0:8181")]
    health_listen: SocketAddr,
    /// The cluster's domain.
    #[arg(long, default_value = "cluster.local")]
    domain: String,
    /// Whose name servers are asked for names outside of the cluster.
    #[arg(long, default_value = "/etc/resolv.conf")]
    resolv_conf: PathBuf,
}

pub fn run(args: Args) -> exit::Answer {
    runtime::log_to_stderr("info");
    runtime::node(async {
        let context = in_cluster::context(runtime::shutdown_token()?)?;
        let config = dns::Config {
            listen: args.listen,
            health_listen: args.health_listen,
            domain: args.domain,
            resolv_conf: args.resolv_conf,
        };
        dns::run(config, context).await?;
        Ok(exit::DONE)
    })
}
