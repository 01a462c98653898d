//! A host without the container runtime and the programs of the network: `up` installs the host's own packages, and
//! `reset` takes them away again; as a user with sudo and a password, with values of its own. On the host that is in no cluster, with a source of packages in its own files.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Kubectl, eventually};

use crate::access::User;
use crate::harness::{PATIENCE, SPARE, Scene, busybox_pod, differences, drills, on_a_shared_disk};

drills![installs_what_is_missing_and_takes_it_back];

const BOUND: Duration = Duration::from_secs(300);
/// What a host of a cluster needs beyond Debian's least.
const WANTED: &str = "containerd runc conntrack nftables";
/// Where the host's own source of packages is.
const SOURCE: &str = "/srv/packages";

/// What the runtime makes for itself, beside its data.
const MADE: &str = "/run/containerd /etc/cni /opt/cni /opt/containerd";

/// Installed packages, units that systemd knows, and programs.
const STATE: &str = "dpkg-query -W -f '${db:Status-Abbrev} ${Package}\\n' | sort
systemctl list-unit-files --no-legend --plain --type=service | awk '{print $1, $2}' | sort
systemctl list-units --no-legend --plain --type=service --state=running,failed | awk '{print $1}' | grep -v '^user@' | sort
for program in containerd ctr runc nft conntrack rkctl; do command -v $program; done
ls -d /var/lib/rkctl/* /etc/rkctl /etc/containerd /etc/cni /opt/cni /opt/containerd /run/containerd 2>/dev/null
true";

/// The host without its packages; they come back with the drill's end.
struct Bare<'a>(&'a Scene);

impl<'a> Bare<'a> {
    fn make(scene: &'a Scene) -> Self {
        let cluster = &scene.cluster;
        let would = format!("apt-get -s purge --auto-remove {WANTED} | awk '$1 == \"Purg\" {{print $2}}'");
        let packages = cluster.host(SPARE, &would);
        let packages: Vec<&str> = packages.split_whitespace().collect();
        assert!(WANTED.split(' ').all(|package| packages.contains(&package)), "{packages:?}");
        let archive = source(&cluster.file("packages"), &packages);
        let unpack = format!(
            "set -e
mkdir -p {SOURCE} /etc/apt/aside
tar -x -C {SOURCE}
for list in /etc/apt/sources.list /etc/apt/sources.list.d; do [ ! -e $list ] || mv $list /etc/apt/aside; done
echo 'deb [trusted=yes] file:{SOURCE} ./' >/etc/apt/sources.list"
        );
        cluster.host_with(SPARE, &unpack, &archive);
        let bare = Self(scene);
        bare.purge();
        bare
    }

    fn purge(&self) {
        let purge = "DEBIAN_FRONTEND=noninteractive apt-get purge -y -qq --auto-remove";
        self.0.cluster.host(SPARE, &format!("{purge} {WANTED} >/dev/null; rm -rf {MADE}"));
    }
}

impl Drop for Bare<'_> {
    fn drop(&mut self) {
        let script = format!(
            "export DEBIAN_FRONTEND=noninteractive
dpkg --purge needs-runtime 2>/dev/null
apt-get update -qq; apt-get install -y -qq --no-install-recommends {WANTED} >/dev/null
systemctl disable -q --now containerd
rm -rf --one-file-system {MADE}
find /var/lib/containerd -mindepth 1 -xdev -delete
rm -rf {SOURCE} /etc/apt/sources.list; mv /etc/apt/aside/* /etc/apt/; rmdir /etc/apt/aside"
        );
        let _unreachable = self.0.cluster.try_host(SPARE, &script);
    }
}

/// An archive of the packages, from where this machine has its own, and of one that needs the runtime.
fn source(folder: &Path, packages: &[&str]) -> Vec<u8> {
    let run = |command: &mut Command| {
        let ran = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        assert!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr));
        ran.stdout
    };
    let control = folder.join("needs-runtime/DEBIAN");
    std::fs::create_dir_all(&control).expect("a folder of ours");
    let text = "Package: needs-runtime\nVersion: 1\nArchitecture: all\nMaintainer: drills <drills@example.test>\n\
                Depends: containerd\nDescription: something that needs the runtime\n";
    std::fs::write(control.join("control"), text).expect("a file of ours");
    run(Command::new("dpkg-deb").args(["--build", "needs-runtime", "."]).current_dir(folder));
    run(Command::new("apt-get")
        .args(["-qq", "-o", "APT::Sandbox::User=root", "download"])
        .args(packages)
        .current_dir(folder));
    let index = run(Command::new("dpkg-scanpackages").args(["--multiversion", "."]).current_dir(folder));
    std::fs::write(folder.join("Packages"), index).expect("a file of ours");
    run(Command::new("sh").args(["-c", "exec tar -c Packages *.deb"]).current_dir(folder))
}

/// A cluster of the host alone, made by this user.
fn inventory(scene: &Scene, user: &str) -> String {
    let ssh = json!({
        "user": user, "identityFile": scene.cluster.key(),
        "hostKeys": { "policy": "strict", "file": scene.cluster.known_hosts() },
    });
    let host = json!({ "name": SPARE, "role": "single", "groups": ["edge"], "address": scene.cluster.address(SPARE), "ssh": ssh,
        "become": if user == "root" { json!({}) } else { json!({ "password": "cmd:echo open sesame" }) },
        "agent": on_a_shared_disk() });
    // No value that could be taken for the default.
    let spec = json!({
        "groups": { "edge": { "labels": { "tier": "edge" }, "taints": ["dedicated=edge:PreferNoSchedule"] } },
        "hosts": [host],
        "api": { "sans": ["api.shop.example"] },
        "network": { "podCIDR": "10.52.0.0/16", "serviceCIDR": "10.53.0.0/16", "clusterDomain": "shop.example" },
        "addons": { "metrics": { "enabled": false } },
    });
    json!({ "metadata": { "name": "bare" }, "spec": spec }).to_string()
}

/// `up` of the host alone; answers the step that installed packages.
fn up(scene: &Scene, user: &str) -> Option<Value> {
    let kubeconfig = scene.cluster.file("bare.kubeconfig");
    let words = ["--output", "json", "--kubeconfig", &kubeconfig.to_string_lossy()];
    let said = scene.cluster.rkctl_with("up", &inventory(scene, user), &words, BOUND).ok();
    let report: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    report["steps"].as_array()?.iter().find(|step| step["id"] == "packages").cloned()
}

/// Networks, domain, names, labels and addons are those of the inventory, from the API server to the pods.
fn is_made_of_the_inventorys_values(scene: &Scene) {
    let kubectl = Kubectl::new(scene.cluster.file("bare.kubeconfig")).namespace("default");
    let node = kubectl.json(&["get", "node", SPARE]);
    assert!(node["spec"]["podCIDR"].as_str().is_some_and(|cidr| cidr.starts_with("10.52.")), "{node:#}");
    assert_eq!(node["metadata"]["labels"]["tier"], "edge", "{node:#}");
    let taint = json!({ "key": "dedicated", "value": "edge", "effect": "PreferNoSchedule" });
    assert_eq!(node["spec"]["taints"], json!([taint]), "{node:#}");
    assert_eq!(kubectl.ok("get service kubernetes -o jsonpath={.spec.clusterIP}"), "10.53.0.1");
    let addons = kubectl.ok("get deployments --namespace kube-system -o name");
    assert_eq!(addons, "deployment.apps/dns\n", "metrics is left out");
    assert_eq!(kubectl.ok("get --raw /readyz --tls-server-name api.shop.example"), "ok");
    let other = kubectl.run("get --raw /readyz --tls-server-name api.other.example").err();
    assert!(other.contains("certificate"), "{other}");

    scene.cluster.import_images_on(SPARE);
    eventually(PATIENCE, "pods can be made", || kubectl.run("get serviceaccount default").status.success());
    kubectl.apply(&busybox_pod("client", None));
    kubectl.ok("wait --for=condition=Ready pod/client --timeout=60s");
    let inside = |script: &str| kubectl.run(&["exec", "client", "--", "sh", "-c", script]);
    let resolv = inside("cat /etc/resolv.conf").ok();
    let search = "search default.svc.shop.example svc.shop.example shop.example";
    assert!(resolv.contains(search) && resolv.contains("nameserver 10.53.0.10"), "{resolv}");
    eventually(PATIENCE, "the service has its name in the domain", || {
        let ran = inside("nslookup -type=a kubernetes.default.svc.shop.example");
        if ran.stdout.contains("Address: 10.53.0.1") { Ok(()) } else { Err(ran.report()) }
    });
    assert!(inside("ip address show eth0").ok().contains(" 10.52."), "the pod has an address of its network");
}

fn reset(scene: &Scene, user: &str) -> String {
    scene.cluster.rkctl_with("reset", &inventory(scene, user), &["--yes"], BOUND).ok()
}

fn installs_what_is_missing_and_takes_it_back(scene: &Scene) {
    let _bare = Bare::make(scene);
    let before = scene.cluster.host(SPARE, STATE);
    assert!(!before.contains("containerd") && !before.contains("bin/nft"), "{before}");

    // A user whom sudo asks for a password does all of it.
    let operator = User::add(scene, "operator1", "ALL=(ALL) ALL");
    let step = up(scene, operator.name).expect("packages are installed");
    assert!(
        step["title"].as_str().is_some_and(|title| title.contains("containerd, runc, nftables, conntrack")),
        "{step}"
    );
    assert_eq!(step["outcome"], "done", "{step}");
    is_made_of_the_inventorys_values(scene);
    let units = scene.cluster.host(SPARE, "systemctl is-active containerd rkctl-server rkctl-agent");
    assert_eq!(units.lines().collect::<Vec<_>>(), ["active"; 3]);
    assert_eq!(reset(scene, operator.name).trim(), format!("{SPARE}: as it was before rkctl"));
    let now = scene.cluster.host(SPARE, STATE);
    assert!(now == before, "{}", differences(&before, &now));

    drop(operator);
    // What somebody else has come to need meanwhile stays, and runs for them.
    assert!(up(scene, "root").is_some());
    scene.cluster.host(SPARE, "apt-get install -y -qq needs-runtime >/dev/null");
    let said = reset(scene, "root");
    let wanted = format!("{SPARE}: as it was before rkctl, but the packages ");
    assert!(
        said.starts_with(&wanted) && said.contains(" containerd") && said.contains("needed by needs-runtime"),
        "{said}"
    );
    let left = "systemctl is-active containerd; grep -c rkctl /etc/containerd/config.toml
        find /var/lib/rkctl /usr/local/bin /etc/rkctl -mindepth 1 2>/dev/null; true";
    assert_eq!(scene.cluster.host(SPARE, left), "active\n0\n");
}
