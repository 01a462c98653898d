//! How hosts are reached and what is said where they are not: users, sudo, keys, host keys. On the host that is in no
//! cluster, with inventories of its own; `plan` changes nothing.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::kubectl::Ran;

use crate::harness::{SPARE, Scene, drills};

drills![
    become_root_by_sudo_or_say_why_not,
    take_keys_with_and_without_a_passphrase,
    stop_at_host_keys_that_are_unknown_or_have_changed,
    tell_mistakes_in_inventories_with_their_place,
];

const LOOK: Duration = Duration::from_secs(60);

/// A user of the host, taken away with the drill.
pub struct User<'a> {
    scene: &'a Scene,
    /// As whom to log in.
    pub name: &'static str,
}

impl<'a> User<'a> {
    /// With the lab's key, the password `open sesame`, and the given line for sudoers.
    pub fn add(scene: &'a Scene, name: &'static str, sudoers: &str) -> Self {
        let script = format!(
            "set -e\nuseradd --create-home --shell /bin/bash {name}\necho '{name}:open sesame' | chpasswd\n\
             install -d -m 700 -o {name} -g {name} /home/{name}/.ssh\n\
             install -m 600 -o {name} -g {name} /root/.ssh/authorized_keys /home/{name}/.ssh/authorized_keys\n\
             [ -z '{sudoers}' ] || echo '{name} {sudoers}' >/etc/sudoers.d/{name}"
        );
        let user = Self { scene, name };
        scene.cluster.host(SPARE, &script);
        user
    }
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        let name = self.name;
        let script = format!("rm -f /etc/sudoers.d/{name}; pkill -KILL -u {name}; userdel --remove {name} 2>/dev/null");
        let _gone = self.scene.cluster.try_host(SPARE, &script);
    }
}

/// An inventory of one host: the spare one, with more settings.
fn inventory(scene: &Scene, ssh: Value, r#become: Value) -> Value {
    let host = json!({ "name": SPARE, "address": scene.cluster.address(SPARE), "ssh": ssh, "become": r#become });
    json!({ "spec": { "hosts": [host] } })
}

fn plan(scene: &Scene, inventory: &Value) -> Ran {
    scene.cluster.rkctl_with("plan", &inventory.to_string(), &[], LOOK)
}

/// What is said of the host that cannot be worked on.
fn refusal(scene: &Scene, inventory: &Value) -> String {
    let ran = plan(scene, inventory);
    assert_eq!(ran.status.code(), Some(3), "{}", ran.report());
    ran.stdout
}

fn become_root_by_sudo_or_say_why_not(scene: &Scene) {
    let (key, known_hosts) = (scene.cluster.key(), scene.cluster.known_hosts());
    let ssh = |user: &str| json!({ "user": user, "identityFile": key, "hostKeys": { "policy": "strict", "file": known_hosts } });
    let free = User::add(scene, "free", "ALL=(ALL) NOPASSWD: ALL");
    assert!(plan(scene, &inventory(scene, ssh(free.name), json!({}))).ok().contains("steps."));

    let asked = User::add(scene, "asked", "ALL=(ALL) ALL");
    let said = refusal(scene, &inventory(scene, ssh(asked.name), json!({})));
    assert!(said.contains("sudo refused asked: it wants a password"), "{said}");
    for password in ["cmd:echo open sesame", "cmd:printf 'open sesame'"] {
        let right = inventory(scene, ssh(asked.name), json!({ "password": password }));
        assert!(plan(scene, &right).ok().contains("steps."));
    }
    let said = refusal(scene, &inventory(scene, ssh(asked.name), json!({ "password": "cmd:echo shut" })));
    assert!(said.contains("sudo refused asked: the password is wrong") && !said.contains("shut"), "{said}");
    let said = refusal(scene, &inventory(scene, ssh(asked.name), json!({ "password": "env:RKCTL_NOT_SET" })));
    assert!(said.contains("the secret env:RKCTL_NOT_SET cannot be read: the variable is not set"), "{said}");

    let nobody = User::add(scene, "nobody1", "");
    let said = refusal(scene, &inventory(scene, ssh(nobody.name), json!({ "password": "cmd:echo open sesame" })));
    assert!(said.contains("is not in the sudoers file") && said.contains("or log in as root"), "{said}");
    let said = refusal(scene, &inventory(scene, ssh(nobody.name), json!({ "method": "none" })));
    assert!(said.contains("commands do not run as root"), "{said}");
}

fn take_keys_with_and_without_a_passphrase(scene: &Scene) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    let ssh = |key: PathBuf, more: Value| {
        let mut ssh = json!({ "user": "root", "identityFile": key,
            "hostKeys": { "policy": "accept-new", "file": path("known_hosts") } });
        for (name, value) in more.as_object().into_iter().flatten() {
            ssh[name] = value.clone();
        }
        inventory(scene, ssh, json!({}))
    };
    std::fs::copy(scene.cluster.key(), path("key")).expect("the lab's key is a file");
    let locked = std::process::Command::new("ssh-keygen")
        .args(["-q", "-p", "-P", "", "-N", "open sesame", "-f"])
        .arg(path("key"))
        .status();
    assert!(locked.is_ok_and(|status| status.success()), "ssh-keygen gives the copy a passphrase");

    let said = refusal(scene, &ssh(path("missing"), json!({})));
    assert!(said.contains("missing") && said.contains("correct `ssh.identityFile`"), "{said}");
    let said = refusal(scene, &ssh(path("key"), json!({})));
    assert!(said.contains("is encrypted and no passphrase was given"), "{said}");
    let said = refusal(scene, &ssh(path("key"), json!({ "passphrase": "cmd:echo shut" })));
    assert!(said.contains("the passphrase of the private key") && said.contains("is wrong"), "{said}");
    assert!(plan(scene, &ssh(path("key"), json!({ "passphrase": "cmd:echo open sesame" }))).ok().contains("steps."));
    let said = refusal(scene, &ssh(scene.cluster.key(), json!({ "user": "nosuchuser" })));
    assert!(said.contains("user nosuchuser was refused") && said.contains("authorized_keys"), "{said}");
}

fn stop_at_host_keys_that_are_unknown_or_have_changed(scene: &Scene) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let known = folder.path().join("known_hosts");
    let with = |host_keys: Value| {
        let ssh = json!({ "user": "root", "identityFile": scene.cluster.key(), "hostKeys": host_keys });
        inventory(scene, ssh, json!({}))
    };
    let said = refusal(scene, &with(json!({ "policy": "strict", "file": known })));
    assert!(said.contains("nothing is known about") && said.contains("SHA256:"), "{said}");
    let accepting = with(json!({ "policy": "accept-new", "file": known }));
    plan(scene, &accepting).ok();
    plan(scene, &with(json!({ "policy": "strict", "file": known }))).ok();

    // Another host's key in its place.
    let line = std::fs::read_to_string(&known).expect("the key was written down");
    let other = std::fs::read_to_string(scene.cluster.known_hosts()).expect("a file of the lab");
    let other = other.lines().find(|line| line.contains(scene.cluster.address("cp1")) && line.contains("ed25519"));
    let key: Vec<&str> = other.expect("cp1's key is known").split_whitespace().skip(1).collect();
    let address = line.split_whitespace().next().expect("a line");
    std::fs::write(&known, format!("{address} {}\n", key.join(" "))).expect("a file of ours");
    let said = refusal(scene, &accepting);
    assert!(said.contains("has CHANGED") && said.contains("ssh-keygen -f"), "{said}");

    let pinned = format!("SHA256:{}", "A".repeat(43));
    let said = refusal(scene, &with(json!({ "fingerprints": [pinned] })));
    assert!(said.contains("which is none of the 1 pinned ones"), "{said}");
}

fn tell_mistakes_in_inventories_with_their_place(scene: &Scene) {
    for (text, wanted) in [
        ("spec: {hosts: [{adress: 192.0.2.1}]}", ":1:17: unknown key `adress`; did you mean `address`?"),
        ("spec:\n  hosts: [{address: 192.0.2.1, role: controler}]", ":2:38: unknown value `controler`; did you mean"),
        ("spec:\n  hosts: []", ":2:10: there is no host"),
        (
            "spec:\n  hosts: [{address: 192.0.2.1, groups: [gpus]}]\n  groups: {gpu: {}}",
            ":2:41: there is no group `gpus`; did you mean `gpu`?",
        ),
        ("spec:\n  hosts: [{address: 192.0.2.1, ssh: {password: open}}]", "a secret must be a reference"),
    ] {
        let ran = scene.cluster.rkctl_with("plan", text, &[], LOOK);
        assert_eq!(ran.status.code(), Some(2), "{}", ran.report());
        assert!(ran.stderr.contains(wanted) && ran.stdout.is_empty(), "{wanted}\n{}", ran.report());
    }
}
