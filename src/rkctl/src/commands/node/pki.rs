//! `rkctl node pki`: keys and certificates of a control-plane host, made where they live.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use jiff::Timestamp;

use crate::config::{ADMIN_KUBECONFIG, SERVER_CONFIG, ServerConfiguration};
use crate::{exit, output};

/// A signing request is a few hundred bytes; more is not one.
const MAX_REQUEST_BYTES: u64 = 64 << 10;

/// Keys and certificates of a control-plane host.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The server's configuration.
    #[arg(long, global = true, default_value = SERVER_CONFIG)]
    config: PathBuf,
    /// Where this host's administrator has its kubeconfig.
    #[arg(long, global = true, value_name = "FILE", default_value = ADMIN_KUBECONFIG)]
    admin_kubeconfig: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make what is missing and renew what is due; say what was done.
    Init {
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Sign the administrator's request from standard input; print the certificate and the authority's.
    SignAdmin,
    /// Print what the certificates say and how long they live.
    Inspect,
}

pub fn run(args: Args) -> exit::Answer {
    let config = ServerConfiguration::load(&args.config)?;
    match args.command {
        Command::Init { dry_run } => init(&config, &args.admin_kubeconfig, dry_run),
        Command::SignAdmin => sign_admin(&config),
        Command::Inspect => inspect(&config),
    }
}

fn read_bundle(dir: &Path) -> anyhow::Result<pki::Bundle> {
    let mut bundle = pki::Bundle::new();
    for (name, _) in pki::FILES {
        let path = dir.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => {
                bundle.insert((*name).to_owned(), text);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        }
    }
    Ok(bundle)
}

fn init(config: &ServerConfiguration, admin: &Path, dry_run: bool) -> exit::Answer {
    let now = Timestamp::now();
    let wanted = config.wanted_certificates();
    let before = read_bundle(&config.pki_dir)?;
    let mut bundle = before.clone();
    let steps = pki::plan(&wanted, &bundle, now)?;
    let mut done: Vec<serde_json::Value> = Vec::new();
    for step in &steps {
        if !dry_run {
            pki::carry_out(step, &wanted, &mut bundle, now, &mut rand::rng())?;
        }
        done.push(serde_json::json!({"file": step.item.files().0, "reason": step.reason}));
    }
    if !dry_run {
        write_bundle(&config.pki_dir, &before, &bundle)?;
    }
    if let Some(reason) = admin_reason(config, admin, &bundle, now) {
        if !dry_run {
            write_admin(config, admin, &bundle, now)?;
        }
        done.push(serde_json::json!({"file": "admin.kubeconfig", "reason": reason}));
    }
    output::print_json(&done)?;
    Ok(exit::DONE)
}

/// Renews the certificates of the server that are due or do not say what they must (any more), as `init` does, and
/// answers which. For a server that starts: what a newer version wants of them is so from its first request on.
/// Authorities and the key of service accounts are `init`'s alone.
///
/// # Errors
/// Files that cannot be read or written, and authorities that are damaged.
pub fn renew(config: &ServerConfiguration, now: Timestamp) -> anyhow::Result<Vec<pki::Step>> {
    let wanted = config.wanted_certificates();
    let before = read_bundle(&config.pki_dir)?;
    let steps = pki::plan(&wanted, &before, now)?;
    if !steps.iter().all(|step| step.item.is_leaf()) {
        return Ok(Vec::new());
    }
    let mut bundle = before.clone();
    for step in &steps {
        pki::carry_out(step, &wanted, &mut bundle, now, &mut rand::rng())?;
    }
    write_bundle(&config.pki_dir, &before, &bundle)?;
    Ok(steps)
}

fn write_bundle(dir: &Path, before: &pki::Bundle, after: &pki::Bundle) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("create {}", dir.display()))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("set the mode of {}", dir.display()))?;
    // Keys before the certificates that need them: an interrupted run leaves what the next one repairs.
    let mut names: Vec<&String> =
        after.iter().filter(|(name, pem)| before.get(*name) != Some(pem)).map(|f| f.0).collect();
    names.sort_by_key(|name| pki::file_kind(name) == pki::FileKind::Public);
    for name in names {
        let mode = if pki::file_kind(name) == pki::FileKind::Public { 0o644 } else { 0o600 };
        write_file(&dir.join(name), &after[name], mode)?;
    }
    Ok(())
}

/// Writes a file whole and durable, with its mode from the first byte.
fn write_file(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let temp = path.with_extension("rkctl-new");
    let write = || -> std::io::Result<()> {
        let _gone = fs::remove_file(&temp);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temp)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temp, path)?;
        path.parent().map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all())
    };
    write().with_context(|| format!("write {}", path.display()))
}

fn admin_profile() -> pki::Profile {
    pki::Profile {
        common_name: pki::ADMIN_USER.to_owned(),
        organizations: vec![pki::MASTERS_GROUP.to_owned()],
        sans: Vec::new(),
        usage: pki::Usage::Client,
        lifetime: pki::LEAF_LIFETIME,
    }
}

fn authority(bundle: &pki::Bundle) -> anyhow::Result<pki::Authority> {
    match (bundle.get("ca.crt"), bundle.get("ca.key")) {
        (Some(certificate), Some(key)) => Ok(pki::Authority::from_pem("ca.crt", certificate, key)?),
        _ => bail!("this host has no cluster authority yet; `rkctl up` makes it"),
    }
}

/// A kubeconfig for this host's own use, as far as its certificate must be looked at.
#[derive(serde::Deserialize)]
struct AdminKubeconfig {
    clusters: Vec<serde_json::Value>,
    users: Vec<serde_json::Value>,
}

fn admin_reason(config: &ServerConfiguration, admin: &Path, bundle: &pki::Bundle, now: Timestamp) -> Option<String> {
    let Ok(text) = fs::read_to_string(admin) else {
        return Some("it is not there".to_owned());
    };
    let decode = |value: &serde_json::Value| {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str()?).ok()?;
        String::from_utf8(bytes).ok()
    };
    let parts = serde_yaml::from_str::<AdminKubeconfig>(&text).ok().and_then(|file| {
        let cluster = &file.clusters.first()?["cluster"];
        let ca = decode(&cluster["certificate-authority-data"])?;
        let server = cluster["server"].as_str()?.to_owned();
        Some((server, ca, decode(&file.users.first()?["user"]["client-certificate-data"])?))
    });
    let Some((server, ca, certificate)) = parts else {
        return Some("it cannot be read".to_owned());
    };
    if bundle.get("ca.crt") != Some(&ca) {
        return Some("it trusts another authority".to_owned());
    }
    if server != local_url(config) {
        return Some("it leads to another address".to_owned());
    }
    match pki::inspect("admin.kubeconfig", &certificate) {
        Ok(inspection) if pki::renewal_due(&inspection, now) => Some(format!("it ends on {}", inspection.not_after)),
        Ok(_) => None,
        Err(_) => Some("its certificate cannot be read".to_owned()),
    }
}

fn local_url(config: &ServerConfiguration) -> String {
    format!("https://127.0.0.1:{}", config.port)
}

fn write_admin(config: &ServerConfiguration, admin: &Path, bundle: &pki::Bundle, now: Timestamp) -> anyhow::Result<()> {
    let authority = authority(bundle)?;
    let issued = authority.issue(&admin_profile(), now, &mut rand::rng())?;
    let kubeconfig = pki::Kubeconfig {
        cluster: config.cluster_name.clone(),
        user: pki::ADMIN_USER.to_owned(),
        server: local_url(config),
        ca_pem: authority.certificate_pem().to_owned(),
        auth: pki::UserAuth::Certificate { certificate_pem: issued.certificate_pem, key_pem: issued.key_pem },
    };
    write_file(admin, &kubeconfig.to_yaml(), 0o600)
}

fn sign_admin(config: &ServerConfiguration) -> exit::Answer {
    let mut request = String::new();
    std::io::stdin().take(MAX_REQUEST_BYTES).read_to_string(&mut request).context("read the request")?;
    let asked = pki::parse_request(&request)?;
    let profile = admin_profile();
    if asked.common_name != profile.common_name || asked.organizations != profile.organizations {
        bail!("the request is for `{}`; only the administrator's is signed here", asked.common_name);
    }
    let authority = authority(&read_bundle(&config.pki_dir)?)?;
    let certificate = authority.sign_request(&request, &profile, Timestamp::now(), &mut rand::rng())?;
    output::print_json(&serde_json::json!({
        "certificate": certificate, "ca": authority.certificate_pem(), "cluster": config.cluster_name,
    }))?;
    Ok(exit::DONE)
}

fn inspect(config: &ServerConfiguration) -> exit::Answer {
    let bundle = read_bundle(&config.pki_dir)?;
    let mut report = serde_json::Map::new();
    for (name, pem) in bundle.iter().filter(|(name, _)| name.ends_with(".crt")) {
        let inspection = pki::inspect(name, pem)?;
        let due = pki::renewal_due(&inspection, Timestamp::now());
        report.insert(name.clone(), serde_json::json!({"certificate": inspection, "renewalDue": due}));
    }
    output::print_json(&report)?;
    Ok(exit::DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path) -> ServerConfiguration {
        let text = serde_json::json!({"apiVersion": "rkctl.dev/v1", "kind": "ServerConfiguration",
            "clusterName": "lab", "dataDir": dir, "pkiDir": dir.join("pki"), "bindAddress": "0.0.0.0", "port": 6443,
            "advertiseAddress": "10.0.0.1", "podCIDR": "10.42.0.0/16", "serviceCIDR": "10.43.0.0/16",
            "clusterDomain": "cluster.local", "nodePortRange": "30000-32767"});
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn a_server_that_starts_renews_its_certificates_and_makes_no_authority() {
        let dir = tempfile::tempdir().unwrap();
        let (config, now) = (config(dir.path()), Timestamp::now());
        assert!(renew(&config, now).unwrap().is_empty(), "authorities are made by init");
        let (wanted, mut bundle) = (config.wanted_certificates(), pki::Bundle::new());
        for step in pki::plan(&wanted, &bundle, now).unwrap() {
            pki::carry_out(&step, &wanted, &mut bundle, now, &mut rand::rng()).unwrap();
        }
        let profile = pki::Profile { common_name: "kube-apiserver-kubelet-client".into(), ..admin_profile() };
        let old = authority(&bundle).unwrap().issue(&profile, now, &mut rand::rng()).unwrap();
        bundle.insert("apiserver-kubelet-client.crt".into(), old.certificate_pem);
        bundle.insert("apiserver-kubelet-client.key".into(), old.key_pem);
        write_bundle(&config.pki_dir, &pki::Bundle::new(), &bundle).unwrap();
        let renewed = renew(&config, now).unwrap();
        assert_eq!(renewed.iter().map(|step| step.item).collect::<Vec<_>>(), [pki::Item::KubeletClient]);
        let after = read_bundle(&config.pki_dir).unwrap();
        let client = pki::inspect("client", &after["apiserver-kubelet-client.crt"]).unwrap();
        assert_eq!(client.organizations, Vec::<String>::new());
        let mode = fs::metadata(config.pki_dir.join("apiserver-kubelet-client.key")).unwrap().permissions().mode();
        assert_eq!((mode & 0o777, &after["ca.key"]), (0o600, &bundle["ca.key"]));
        assert!(renew(&config, now).unwrap().is_empty());
    }
}
