//! `rkctl kubeconfig`

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use inventory::Cluster;
use jiff::Timestamp;
use provision::{BINARY, Fleet};
use serde_json::{Value, json};

use crate::{exit, output, runtime};

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
}

pub fn run(args: Args) -> exit::Answer {
    let cluster = super::cluster::load(&args.inventory.path)?;
    let path = args.file.clone().map_or_else(|| default_path(&cluster.name), Ok)?;
    let path = std::path::absolute(path)?;
    runtime::operator(async {
        let fleet = provision::connect(&only_controllers(&cluster)).await;
        let fresh = fetch(&fleet, &cluster).await?;
        let text = match std::fs::read_to_string(&path) {
            Ok(present) if args.merge => {
                merge(&present, &fresh).with_context(|| format!("merge into {}", path.display()))?
            }
            _ => {
                make_way(&path, &fresh).await?;
                fresh
            }
        };
        write(&path, &text)?;
        output::print(&format!("export KUBECONFIG={}\n", path.display()))?;
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
        && let Some(parts) = Parts::read(&text)
        && parts.server == cluster.api_url()
        && parts.is_valid()
        && ca_pem == Some(parts.ca.as_str())
    {
        return Ok(());
    }
    let fresh = fetch(fleet, cluster).await?;
    make_way(path, &fresh).await?;
    write(path, &fresh)
}

/// Sets the kubeconfig of another cluster aside, as `FILE.old`; one whose cluster still answers is left, since it may
/// be the only way in.
async fn make_way(path: &Path, fresh: &str) -> anyhow::Result<()> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(()) };
    let (Some(old), Some(new)) = (Parts::read(&text), Parts::read(fresh)) else { return Ok(()) };
    if old.ca == new.ca {
        return Ok(());
    }
    if still_serves(&text).await {
        bail!(
            "{} was left as it is: it belongs to another cluster, which answers at {}; say where the new one is \
             written, or see whether the inventory is right",
            path.display(),
            old.server
        );
    }
    let mut aside = path.as_os_str().to_owned();
    aside.push(".old");
    std::fs::rename(path, &aside).with_context(|| format!("set {} aside", path.display()))
}

/// How long a cluster is asked whether it is there.
const STILL_SERVES_WITHIN: Duration = Duration::from_secs(3);

/// Whether the cluster of a kubeconfig answers, known by the authority that the kubeconfig has.
async fn still_serves(kubeconfig: &str) -> bool {
    let ask = async {
        let kubeconfig = kube::config::Kubeconfig::from_yaml(kubeconfig).ok()?;
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.ok()?;
        config.default_retry = false;
        let client = kube::Client::try_from(config).ok()?;
        let request = http::Request::get("/livez").body(Vec::new()).ok()?;
        match client.request_text(request).await {
            Ok(_) | Err(kube::Error::Api(_)) => Some(()),
            Err(_) => None,
        }
    };
    tokio::time::timeout(STILL_SERVES_WITHIN, ask).await.is_ok_and(|answer| answer.is_some())
}

/// What must be compared of a kubeconfig.
struct Parts {
    server: String,
    ca: String,
    certificate: String,
}

impl Parts {
    fn read(text: &str) -> Option<Self> {
        use base64::Engine as _;
        let file: Value = serde_yaml::from_str(text).ok()?;
        let (cluster, user) = (&file["clusters"][0]["cluster"], &file["users"][0]["user"]);
        let decode = |value: &Value| {
            String::from_utf8(base64::engine::general_purpose::STANDARD.decode(value.as_str()?).ok()?).ok()
        };
        Some(Self {
            server: cluster["server"].as_str()?.to_owned(),
            ca: decode(&cluster["certificate-authority-data"])?,
            certificate: decode(&user["client-certificate-data"])?,
        })
    }

    fn is_valid(&self) -> bool {
        pki::inspect("the kubeconfig", &self.certificate)
            .is_ok_and(|inspection| !pki::renewal_due(&inspection, Timestamp::now()))
    }
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
    }
    let answer: Answer = serde_json::from_str(&output.text()).context("understand the signed certificate")?;
    let kubeconfig = pki::Kubeconfig {
        cluster: cluster.name.clone(),
        user: pki::ADMIN_USER.to_owned(),
        server: cluster.api_url(),
        ca_pem: answer.ca,
        auth: pki::UserAuth::Certificate { certificate_pem: answer.certificate, key_pem },
    };
    Ok(kubeconfig.to_yaml())
}

/// `present` with the entries of `fresh` in the place of those of the same name.
fn merge(present: &str, fresh: &str) -> anyhow::Result<String> {
    let mut present: Value = serde_yaml::from_str(present).context("it is not YAML")?;
    let fresh: Value = serde_yaml::from_str(fresh)?;
    if !present.is_object() {
        bail!("it is not a kubeconfig");
    }
    for list in ["clusters", "users", "contexts"] {
        let mut entries = present[list].as_array().cloned().unwrap_or_default();
        for entry in fresh[list].as_array().into_iter().flatten() {
            entries.retain(|old| old["name"] != entry["name"]);
            entries.push(entry.clone());
        }
        present[list] = Value::Array(entries);
    }
    present["current-context"] = fresh["current-context"].clone();
    for (key, value) in [("apiVersion", json!("v1")), ("kind", json!("Config"))] {
        present[key] = value;
    }
    Ok(serde_yaml::to_string(&present)?)
}

/// Writes a file that holds a key: 0600 from the first byte, whole or not at all.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let mut temp = path.as_os_str().to_owned();
        temp.push(".rkctl-new");
        let _absent = std::fs::remove_file(&temp);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temp)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temp, path)
    };
    write().with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_keeps_other_clusters_and_replaces_the_own_one() {
        let fresh = |token: &str| {
            let config = pki::Kubeconfig {
                cluster: "lab".into(),
                user: "admin".into(),
                server: "https://10.0.0.1:6443".into(),
                ca_pem: "CA".into(),
                auth: pki::UserAuth::Token(token.into()),
            };
            config.to_yaml()
        };
        let other = "clusters: [{name: other, cluster: {server: x}}]\nusers: []\ncurrent-context: other\n";
        let merged = merge(&merge(other, &fresh("one")).unwrap(), &fresh("two")).unwrap();
        let file: Value = serde_yaml::from_str(&merged).unwrap();
        let names: Vec<&str> = file["clusters"].as_array().unwrap().iter().filter_map(|c| c["name"].as_str()).collect();
        assert_eq!(names, ["other", "lab"]);
        assert_eq!((file["users"].as_array().unwrap().len(), &file["users"][0]["user"]["token"]), (1, &"two".into()));
        assert_eq!(file["current-context"], "lab");
        assert!(merge("- a", &fresh("one")).is_err());
    }

    /// A kubeconfig for a server with an authority of its own.
    fn of(server: &str, authority: &str) -> String {
        let config = pki::Kubeconfig {
            cluster: "lab".into(),
            user: "admin".into(),
            server: server.into(),
            ca_pem: authority.into(),
            auth: pki::UserAuth::Certificate { certificate_pem: "CERT".into(), key_pem: "KEY".into() },
        };
        config.to_yaml()
    }

    #[tokio::test]
    async fn the_kubeconfig_of_a_cluster_that_is_gone_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("config"), dir.path().join("config.old"));
        make_way(&path, &of("https://127.0.0.1:1", "ONE")).await.unwrap();
        write(&path, &of("https://127.0.0.1:1", "ONE")).unwrap();
        make_way(&path, &of("https://127.0.0.1:2", "ONE")).await.unwrap();
        assert!(path.exists() && !old.exists(), "the same authority is the same cluster");
        make_way(&path, &of("https://127.0.0.1:2", "TWO")).await.unwrap();
        assert!(!path.exists() && std::fs::read_to_string(&old).unwrap().contains("127.0.0.1:1"));
    }

    #[test]
    fn the_file_is_only_for_its_owner() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kube/config");
        write(&path, "x").unwrap();
        write(&path, "y").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "y");
    }
}
