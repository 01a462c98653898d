//! `rkctl node ingress`

use std::net::SocketAddr;

use super::in_cluster;
use crate::{exit, runtime};

/// Run the ingress controller.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where HTTP is answered.
    #[arg(long, default_value = "0.0.0.0:80")]
    listen: SocketAddr,
    /// Where HTTPS is answered.
    #[arg(long, default_value = "0.0.0.0:443")]
    listen_tls: SocketAddr,
    /// The name of this process among those that could write the status of Ingresses: the pod's.
    #[arg(long, env = "POD_NAME")]
    identity: String,
}

pub fn run(args: Args) -> exit::Answer {
    runtime::log_to_stderr("info");
    runtime::node(async {
        let context = in_cluster::context(runtime::shutdown_token()?)?;
        let Args { listen, listen_tls, identity } = args;
        ingress::run(ingress::Config { listen, listen_tls, identity }, context).await?;
        Ok(exit::DONE)
    })
}
