//! An API server with its whole policy and nothing beside it: no controllers, no scheduler. It is for requests
//! that are tried by hand, and for comparing its answers with those of another server.
//!
//! `bare FOLDER PORT` listens on loopback with what lies in the folder: `ca.crt`, which clients' certificates and its
//! own (`apiserver.crt`, `apiserver.key`) are of, and `sa.key` and `sa.pub` for tokens. The store is `state.db` in it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use apiserver::config::{KeyPair, Limits};
use apiserver::{Config, Server, policy};
use store::Store;
use store::embedded::{Embedded, Options};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(port)) = (arguments.next(), arguments.next().and_then(|port| port.parse().ok())) else {
        eprintln!("usage: bare FOLDER PORT");
        return ExitCode::from(2);
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("bare: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve(PathBuf::from(folder), port)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bare: {}", stdx::error::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn serve(folder: PathBuf, port: u16) -> Result<(), Box<dyn std::error::Error>> {
    let store: Arc<dyn Store> = Embedded::open(&folder.join("state.db"), Options::default())?;
    let settings = policy::Settings {
        service_account_key: folder.join("sa.key"),
        service_account_public_keys: vec![folder.join("sa.pub")],
        cluster_domain: "cluster.local".to_string(),
        server_url: format!("https://127.0.0.1:{port}"),
        access: policy::Access::default(),
    };
    let plugins = policy::plugins(&settings, store.clone()).await?;
    let pair = |name: &str| KeyPair {
        certificate: folder.join(format!("{name}.crt")),
        key: folder.join(format!("{name}.key")),
    };
    let config = Config {
        listen: ([127, 0, 0, 1], port).into(),
        serving: pair("apiserver"),
        client_ca: folder.join("ca.crt"),
        front_proxy_ca: None,
        advertise_address: [127, 0, 0, 1].into(),
        advertise_port: Some(port),
        service_cidr: "10.43.0.0/16".parse()?,
        node_port_range: 30000..=32767,
        kubelet_client: None,
        local_targets: true,
        proxy_client: None,
        limits: Limits::default(),
    };
    let server = Server::new(config, store, plugins).await?;
    let shutdown = CancellationToken::new();
    let ends = shutdown.clone();
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        ends.cancel();
    });
    server.run(shutdown).await?;
    Ok(())
}
