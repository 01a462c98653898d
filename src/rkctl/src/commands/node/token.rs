//! `rkctl node token`: bootstrap tokens, which let an agent ask for its certificate.

use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use rand::Rng as _;

use super::api;
use crate::{exit, output, runtime};

/// Bootstrap tokens, with which agents join.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a token and print it.
    Create {
        /// How long it is good for.
        #[arg(long, value_parser = api::duration, default_value = "10m")]
        ttl: Duration,
    },
}

pub fn run(args: Args) -> exit::Answer {
    let Command::Create { ttl } = args.command;
    runtime::operator(async {
        let client = api::client().await?;
        let (id, secret) = (random(6), random(16));
        let expiration = Timestamp::now() + SignedDuration::try_from(ttl).context("the time is too long")?;
        let object: Secret = serde_json::from_value(serde_json::json!({
            "metadata": {"name": format!("bootstrap-token-{id}"), "namespace": "kube-system"},
            "type": "bootstrap.kubernetes.io/token",
            "stringData": {
                "token-id": id,
                "token-secret": secret,
                "expiration": format!("{:.0}", expiration),
                "description": "made by rkctl up for agents that join",
                "usage-bootstrap-authentication": "true",
                "auth-extra-groups": "system:bootstrappers:rkctl",
            },
        }))?;
        let secrets: Api<Secret> = Api::namespaced(client, "kube-system");
        secrets.create(&PostParams::default(), &object).await.context("make the token")?;
        output::print(&format!("{id}.{secret}\n"))?;
        Ok(exit::DONE)
    })
}

/// Lower-case letters and digits, as bootstrap tokens are made of.
fn random(length: usize) -> String {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut rng = rand::rng();
    (0..length).map(|_| char::from(LETTERS[rng.random_range(0..LETTERS.len())])).collect()
}
