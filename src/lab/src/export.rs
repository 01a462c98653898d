//! What a lab gives to others: the inventory of its hosts, their keys, a configuration for ssh.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use crate::error::{Error, file};
use crate::state::{Paths, Record};
use crate::tool::run;

/// By which agents see that a disk fills.
const SIGNALS_OF_DISKS: [&str; 4] =
    ["nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree"];
/// Files that are written beside the lab's own, where that is asked for.
const EXPORTED: [&str; 5] = ["inventory.yaml", "id_ed25519", "id_ed25519.pub", "known_hosts", "ssh_config"];

/// The key pair of the lab, made where it is missing; answers the public half.
pub(crate) async fn ensure_key(paths: &Paths, lab: &str) -> Result<String, Error> {
    let key = paths.key();
    let public = key.with_extension("pub");
    if !key.exists() || !public.exists() {
        for path in [&key, &public] {
            let _absent = fs::remove_file(path);
        }
        let comment = format!("rkctl-lab-{lab}");
        run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", &comment, "-f", &key.to_string_lossy()]).await?;
    }
    let text = fs::read_to_string(&public).map_err(file("reading", &public))?;
    Ok(text.trim().to_owned())
}

/// A host with its public key and that key's fingerprint.
pub(crate) struct Identity {
    pub public_key: String,
    pub fingerprint: String,
}

/// Reads the fingerprint of a public key file as ssh-keygen prints it.
pub(crate) async fn identity(public_key: String, path: &Path) -> Result<Identity, Error> {
    let line = run(&["ssh-keygen", "-l", "-E", "sha256", "-f", &path.to_string_lossy()]).await?;
    let fingerprint = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
    Ok(Identity { public_key, fingerprint })
}

/// Writes the inventory, known_hosts and ssh_config into the lab's folder, and everything into `also`.
pub(crate) fn write(paths: &Paths, lab: &Record, identities: &[Identity], also: &[PathBuf]) -> Result<(), Error> {
    put(&paths.inventory(), &inventory(lab, identities)?, 0o644)?;
    put(&paths.known_hosts(), &known_hosts(lab, identities), 0o644)?;
    put(&paths.ssh_config(), &ssh_config(lab, &paths.folder), 0o644)?;
    for folder in also {
        fs::create_dir_all(folder).map_err(file("making", folder))?;
        for name in EXPORTED {
            let from = paths.folder.join(name);
            let text = match name {
                "ssh_config" => ssh_config(lab, folder),
                _ => fs::read_to_string(&from).map_err(file("reading", from))?,
            };
            put(&folder.join(name), &text, if name == "id_ed25519" { 0o600 } else { 0o644 })?;
        }
    }
    Ok(())
}

/// Removes what was written into `also`.
pub(crate) fn remove(also: &[PathBuf]) {
    for folder in also {
        for name in EXPORTED {
            let _absent = fs::remove_file(folder.join(name));
        }
        // Others may keep files there.
        let _used = fs::remove_dir(folder);
    }
}

fn put(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let written = || {
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let _absent = fs::remove_file(&new);
        let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        std::io::Write::write_all(&mut out, text.as_bytes())?;
        fs::rename(&new, path)
    };
    written().map_err(file("writing", path))
}

fn inventory(lab: &Record, identities: &[Identity]) -> Result<String, Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        api_version: &'static str,
        kind: &'static str,
        metadata: serde_json::Value,
        spec: serde_json::Value,
    }
    let hosts: Vec<_> = lab
        .hosts
        .iter()
        .zip(identities)
        .map(|(host, identity)| {
            json!({
                "name": host.name,
                "role": host.role,
                "address": lab.address(host),
                "ssh": { "hostKeys": { "policy": "pinned", "fingerprints": [identity.fingerprint] } },
            })
        })
        .collect();
    let head = Head {
        api_version: "rkctl.dev/v1",
        kind: "Cluster",
        metadata: json!({ "name": lab.name }),
        spec: json!({
            "defaults": {
                // Relative paths are the inventory's own folder's: the key is beside it wherever it is put.
                "ssh": { "user": "root", "identityFile": "id_ed25519" },
                // The hosts share the disk of this machine: what else lies on it is no reason to evict their pods.
                "agent": {
                    "evictionHard": SIGNALS_OF_DISKS.map(|signal| (signal, "0%")).into_iter().collect::<BTreeMap<_, _>>(),
                    "imageGCHighThresholdPercent": 100,
                },
            },
            "hosts": hosts,
        }),
    };
    let text = serde_yaml::to_string(&head).map_err(|source| Error::Inventory { lab: lab.name.clone(), source })?;
    Ok(format!("# The hosts of the lab `{}`; written by `rkctl lab up`, and again each time.\n{text}", lab.name))
}

fn known_hosts(lab: &Record, identities: &[Identity]) -> String {
    let line = |(host, identity): (&crate::state::HostRecord, &Identity)| {
        format!("{},{} {}\n", lab.address(host), host.name, identity.public_key)
    };
    lab.hosts.iter().zip(identities).map(line).collect()
}

fn ssh_config(lab: &Record, folder: &Path) -> String {
    let entry = |host: &crate::state::HostRecord| {
        format!(
            "Host {0}\n  HostName {1}\n  User root\n  IdentityFile {2}/id_ed25519\n  IdentitiesOnly yes\n  \
             IdentityAgent none\n  UserKnownHostsFile {2}/known_hosts\n  GlobalKnownHostsFile none\n  \
             StrictHostKeyChecking yes\n\n",
            host.name,
            lab.address(host),
            folder.display()
        )
    };
    lab.hosts.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inventory_names_hosts_roles_addresses_and_pinned_keys() {
        let mut lab = Record {
            name: "x".into(),
            network: 3,
            packages: vec![],
            base: "/b".into(),
            hosts: vec![],
            exports: vec![],
        };
        lab.add_hosts(&["cp1".into(), "w1".into()]);
        let identity = |n| Identity { public_key: format!("ssh-ed25519 {n}"), fingerprint: format!("SHA256:{n}") };
        let identities = [identity("a"), identity("b")];
        let text = inventory(&lab, &identities).unwrap();
        let read: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!(read["kind"], "Cluster");
        assert_eq!(read["spec"]["hosts"][1]["address"], "10.88.3.3");
        assert_eq!(read["spec"]["hosts"][0]["role"], "controller");
        assert_eq!(read["spec"]["hosts"][1]["ssh"]["hostKeys"]["fingerprints"][0], "SHA256:b");
        assert_eq!(known_hosts(&lab, &identities).lines().next(), Some("10.88.3.2,cp1 ssh-ed25519 a"));
    }
}
