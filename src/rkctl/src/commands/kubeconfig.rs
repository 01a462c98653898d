//! `rkctl kubeconfig`

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use inventory::Cluster;
use provision::{BINARY, Fleet};

use crate::{exit, output, runtime};

mod file;

/// Write the administrator's kubeconfig, or merge it into one that is there.
///
/// The key is made on this machine; only a signing request travels to the cluster.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rkctl kubeconfig inventories/lab.yaml
  rkctl kubeconfig --merge --file ~/.kube/config")]
pub struct Args {
    #[command(flatten)]
    inventory: super::Inventory,
    /// Where it is written; `~/.kube/rkctl-NAME.yaml` where it is left out.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Add to the file what is not there instead of replacing it.
    #[arg(long)]
    merge: bool,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    output: output::Format,
}

pub fn run(args: Args) -> exit::Answer {
    let cluster = super::cluster::load(&args.inventory.path)?;
    let path = args.file.clone().map_or_else(|| default_path(&cluster.name), Ok)?;
    let path = std::path::absolute(path)?;
    runtime::operator(async {
        let fleet = provision::connect(&only_controllers(&cluster)).await;
        let fresh = fetch(&fleet, &cluster).await?;
        let text = if args.merge { file::merged(&path, &fresh, &cluster.name).await? } else { None };
        match text {
            Some(text) => file::write(&path, &text)?,
            None => file::replace(&path, &fresh).await?,
        }
        match args.output {
            output::Format::Text => output::print(&format!("export KUBECONFIG={}\n", path.display()))?,
            output::Format::Json => output::print_json(&serde_json::json!({
                "cluster": cluster.name, "server": cluster.api_url(), "kubeconfig": path,
            }))?,
        }
        Ok(exit::DONE)
    })
}

/// Where a cluster's kubeconfig is written where nothing else is said.
pub fn default_path(cluster: &str) -> anyhow::Result<PathBuf> {
    let home = std::env::var_os("HOME").context("HOME is not set: say where with --kubeconfig")?;
    Ok(Path::new(&home).join(".kube").join(format!("rkctl-{cluster}.yaml")))
}

fn only_controllers(cluster: &Cluster) -> Cluster {
    let mut cluster = cluster.clone();
    cluster.hosts.retain(|host| host.role.is_control_plane());
    cluster
}

/// Writes the kubeconfig where there is none or where the one that is there no longer fits the cluster, whose
/// authority was found to be `ca_pem`.
pub async fn ensure(fleet: &Fleet, cluster: &Cluster, ca_pem: Option<&str>, path: &Path) -> anyhow::Result<()> {
    if let Ok(text) = std::fs::read_to_string(path)
        && let Some(entry) = file::Entry::of(&text, &cluster.name)
        && entry.server == cluster.api_url()
        && entry.is_valid()
        && ca_pem == entry.ca.as_deref()
    {
        return Ok(());
    }
    let fresh = fetch(fleet, cluster).await?;
    file::replace(path, &fresh).await
}

fn controller<'a>(fleet: &'a Fleet, cluster: &Cluster) -> anyhow::Result<&'a dyn ssh::Remote> {
    let mut last = None;
    for host in cluster.controllers() {
        match fleet.session(&host.name) {
            Ok(session) => return Ok(session),
            Err(error) => last = Some(anyhow::Error::new(error).context(format!("reach {}", host.name))),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("the inventory has no control-plane host")))
}

/// Makes a key here and lets a control-plane host sign a request for it.
async fn fetch(fleet: &Fleet, cluster: &Cluster) -> anyhow::Result<String> {
    let host = controller(fleet, cluster)?;
    let key_pem = pki::generate_key()?;
    let request = pki::new_request(&key_pem, pki::ADMIN_USER, &[pki::MASTERS_GROUP.to_owned()], &[])?;
    let command = ssh::Command::program([BINARY, "node", "pki", "sign-admin"]).stdin(request.into_bytes());
    let output = host.exec(command).await?;
    if !output.success() {
        bail!("{}: the request was not signed: {}", host.name(), output.error_text());
    }
    #[derive(serde::Deserialize)]
    struct Answer {
        certificate: String,
        ca: String,
        /// Earlier versions do not say it.
        cluster: Option<String>,
    }
    let answer: Answer = serde_json::from_str(&output.text()).context("understand the signed certificate")?;
    if let Some(other) = answer.cluster.filter(|name| *name != cluster.name) {
        bail!(
            "{} is a control plane of the cluster {other}, not of {}: correct the inventory",
            host.name(),
            cluster.name
        );
    }
    let kubeconfig = pki::Kubeconfig {
        cluster: cluster.name.clone(),
        user: pki::ADMIN_USER.to_owned(),
        server: cluster.api_url(),
        ca_pem: answer.ca,
        auth: pki::UserAuth::Certificate { certificate_pem: answer.certificate, key_pem },
    };
    Ok(kubeconfig.to_yaml())
}
