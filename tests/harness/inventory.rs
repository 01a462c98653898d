//! The inventory the cluster is made from, as the drills change it.

use std::path::Path;

use serde_json::{Value, json};

use super::git_server::GitServer;
use super::hosts::Status;

/// How often the cluster looks at the repository.
pub const GIT_INTERVAL_S: u64 = 2;

/// A slow machine takes its time to let in.
const CONNECT_TIMEOUT: &str = "30s";

/// The inventory of a cluster: a host for each name, the first the controller; it follows `git` where that is given.
pub fn inventory(name: &str, hosts: &[&str], status: &Status, git: Option<&GitServer>) -> Value {
    let host = |(index, host): (usize, &&str)| {
        let role = match (index, hosts.len()) {
            (_, 1) => "single",
            (0, _) => "controller",
            _ => "worker",
        };
        json!({ "name": host, "role": role, "address": status.addresses[*host] })
    };
    let mut inventory = json!({
        "apiVersion": "rkctl.dev/v1",
        "kind": "Cluster",
        "metadata": { "name": name },
        "spec": {
            "defaults": {
                "ssh": {
                    "user": "root",
                    "identityFile": status.key,
                    "hostKeys": { "policy": "strict", "file": status.known_hosts },
                    "connectTimeout": CONNECT_TIMEOUT,
                },
                "agent": on_a_shared_disk(),
            },
            "hosts": hosts.iter().enumerate().map(host).collect::<Vec<_>>(),
        },
    });
    if let Some(git) = git {
        inventory["spec"]["gitops"] = json!({
            "url": git.url(),
            "path": "cluster",
            "interval": format!("{GIT_INTERVAL_S}s"),
            "auth": {
                "sshKey": format!("file:{}", git.user_key().display()),
                "knownHosts": format!("file:{}", git.known_hosts().display()),
            },
        });
    }
    inventory
}

/// The settings of an agent whose host shares the disk of this machine: how full that is evicts nobody.
pub fn on_a_shared_disk() -> Value {
    let signals = ["nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree"];
    let nothing: Value = signals.iter().map(|signal| (signal.to_string(), json!("0%"))).collect();
    json!({ "evictionHard": nothing, "imageGCHighThresholdPercent": 100 })
}

/// The host of an inventory by its name.
pub fn host<'a>(inventory: &'a mut Value, name: &str) -> &'a mut Value {
    let hosts = inventory["spec"]["hosts"].as_array_mut().expect("the hosts are a list");
    hosts.iter_mut().find(|host| host["name"] == name).unwrap_or_else(|| panic!("the inventory has no host {name}"))
}

/// Writes it as YAML, of which JSON is a part; whole at any moment, since drills beside this one read it.
pub fn write(inventory: &Value, path: &Path) {
    let text = serde_json::to_string_pretty(inventory).expect("JSON is written");
    let new = path.with_extension("new");
    let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, path));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
