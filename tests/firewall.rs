//! Hosts whose firewall refuses what nobody asked for: nftables' own rules, firewalld and ufw, one host each. The
//! cluster works behind them, and nothing else is opened, stopped or lost.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use testkit::eventually;

use crate::harness::{Cluster, HOSTS, PATIENCE, Scene, differences, drills, get_many, service};

drills![
    let_the_cluster_through_and_nothing_else,
    let_services_through_to_pods_on_hosts_networks,
    hold_through_a_restart_of_the_firewall,
    hold_through_a_reboot,
    are_as_they_were_after_a_reset,
];

/// Ports that the operator has opened on every host; one is for pods that use the host's network.
const OPERATORS_PORT: u16 = 7070;
const HOST_PORT: u16 = 7072;
/// A port that nobody has opened.
const CLOSED_PORT: u16 = 7071;
/// The agent's port, which only the cluster's hosts may reach.
const AGENT_PORT: u16 = 10250;
/// What is not answered in this time on the same machine is refused without a word.
const CONNECT_BOUND: Duration = Duration::from_secs(1);
/// Hosts that start again at the same time, and their pods with them.
const REBOOT_BOUND: Duration = Duration::from_secs(120);

/// A kind of firewall: where it runs, and what it says of itself.
struct Wall {
    host: &'static str,
    unit: &'static str,
    /// Makes it the host's only one; as often as one likes.
    raise: &'static str,
    /// Its rules, one a line.
    show: &'static str,
}

const WALLS: [Wall; 3] = [
    Wall {
        host: "cp1",
        unit: "nftables",
        raise: "systemctl disable -q --now firewalld ufw
            cat >/etc/nftables.conf <<'END'
#!/usr/sbin/nft -f
flush ruleset
table inet filter {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        iif lo accept
        icmp type echo-request accept
        tcp dport { 22, 7070, 7072 } accept
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
    }
}
END
            systemctl enable -q nftables
            systemctl is-active -q nftables || systemctl start nftables",
        show: "nft list table inet filter",
    },
    Wall {
        host: "w1",
        unit: "firewalld",
        raise: "systemctl disable -q --now ufw
            firewall-cmd -q --permanent --query-port 7072/tcp ||
                { firewall-cmd -q --permanent --add-port 7070/tcp --add-port 7072/tcp && firewall-cmd -q --reload; }",
        show: "firewall-cmd --list-all-zones; firewall-cmd --list-all-policies",
    },
    Wall {
        host: "w2",
        unit: "ufw",
        raise: "systemctl disable -q --now firewalld
            ufw default deny incoming; ufw default deny routed
            ufw allow 22/tcp; ufw allow 7070/tcp; ufw allow 7072/tcp
            ufw --force enable; systemctl start ufw",
        show: "ufw status verbose; ufw show added",
    },
];

/// Gives each host its firewall, and puts down what it says before the cluster comes.
pub fn raise(cluster: &Cluster) {
    at_once(&WALLS, |wall| {
        cluster.host(wall.host, &format!("set -e\nexport PATH=$PATH:/usr/sbin\n{}", wall.raise));
        let before = before(cluster, wall);
        if !before.exists() {
            std::fs::write(before, said_by(cluster, wall)).expect("a file of ours");
        }
    });
}

/// Does something with each of several things at the same time; what goes wrong with one goes wrong here.
fn at_once<T: Sync>(things: &[T], work: impl Fn(&T) + Sync) {
    std::thread::scope(|scope| {
        let threads: Vec<_> = things.iter().map(|thing| scope.spawn(|| work(thing))).collect();
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

fn before(cluster: &Cluster, wall: &Wall) -> PathBuf {
    cluster.file(&format!("rules-{}", wall.unit))
}

fn said_by(cluster: &Cluster, wall: &Wall) -> String {
    let show = format!("export PATH=$PATH:/usr/sbin\nsystemctl is-active {}\n{}", wall.unit, wall.show);
    // What ufw says of what it does with routed packets is the kernel's doing as long as that routes none: a host that
    // is made on a machine without forwarding has none before the cluster comes.
    cluster.host(wall.host, &show).replace("disabled (routed)", "deny (routed)")
}

/// Every firewall runs, and nothing of what it said before the cluster came is gone.
#[track_caller]
fn walls_stand(cluster: &Cluster) {
    for wall in &WALLS {
        let before = std::fs::read_to_string(before(cluster, wall)).expect("it was put down");
        let now = said_by(cluster, wall);
        let changed = differences(&before, &now);
        assert!(!changed.lines().any(|line| line.starts_with('-')), "{} has lost rules:\n{changed}", wall.unit);
    }
}

/// A pod on each host, the first one too, behind a node port.
const WEB: &str = "
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations: [{operator: Exists}]
      containers:
        - name: web
          image: rkctl.local/web:1
          imagePullPolicy: Never
          ports: [{name: http, containerPort: 8080}]
          readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1, timeoutSeconds: 5}
";

/// Pods reach each other by address and by name, and are reached from outside, on and from every host.
fn cluster_works(scene: &Scene, bound: Duration) {
    let url = format!("http://web.{}.svc.cluster.local/", scene.namespace);
    eventually(bound, "every pod reaches every pod, and the service by its name", || {
        let pods = scene.pods("app=web");
        let texts = |path: &str| -> Vec<String> {
            pods.iter().filter_map(|pod| pod.pointer(path)?.as_str().map(str::to_owned)).collect()
        };
        let (names, addresses) = (texts("/metadata/name"), texts("/status/podIP"));
        if (names.len(), addresses.len()) != (HOSTS.len(), HOSTS.len()) {
            return Err(format!("{names:?} have {addresses:?}"));
        }
        let urls = addresses.iter().map(|address| format!("http://{address}:8080/")).chain([url.clone()]);
        let script: String = urls.map(|url| format!("timeout 3 wget -q -O - {url} || exit 1;")).collect();
        let ran = names.iter().map(|name| scene.sh(name, &script));
        ran.into_iter().find(|ran| !ran.status.success()).map_or(Ok(()), |ran| Err(ran.report()))
    });
    node_port_works(scene, bound);
}

/// The pods of all hosts answer at the node port of each.
fn node_port_works(scene: &Scene, bound: Duration) {
    let port = scene.kubectl.ok("get service web -o jsonpath={.spec.ports[0].nodePort}");
    for host in HOSTS {
        let url = format!("http://{}:{port}/", scene.cluster.address(host));
        eventually(bound, &format!("the pods of all hosts answer at {url}"), || {
            let answers = get_many(&url, 30)?;
            let who: BTreeSet<&str> = answers.iter().filter_map(|line| line.split_whitespace().next()).collect();
            if who.len() == HOSTS.len() { Ok(()) } else { Err(format!("only {who:?}")) }
        });
    }
}

/// Something listens on ports of every host; from outside only the operator's is reached, and from another host too.
fn the_rest_is_closed(scene: &Scene) {
    at_once(&HOSTS, |host| {
        let start = |port: u16| {
            format!(
                "systemctl is-active -q drill-{port} ||
                    systemd-run -q --collect --unit drill-{port} socat TCP-LISTEN:{port},fork,reuseaddr /dev/null\n"
            )
        };
        scene.cluster.host(host, &(start(OPERATORS_PORT) + &start(CLOSED_PORT)));
        let listening = format!("ss -Hltn | grep -c -e ':{OPERATORS_PORT} ' -e ':{CLOSED_PORT} ' -e ':{AGENT_PORT} '");
        eventually(PATIENCE, &format!("{host} listens"), || scene.cluster.try_host(host, &listening).stdout == "3\n");
    });
    at_once(&HOSTS, |host| {
        let address = scene.cluster.address(host);
        let is_open = |port: u16| {
            let to = SocketAddr::new(address.parse().expect("an address"), port);
            TcpStream::connect_timeout(&to, CONNECT_BOUND).is_ok()
        };
        let found = [OPERATORS_PORT, CLOSED_PORT, AGENT_PORT].map(|port| (port, is_open(port)));
        let wanted = [(OPERATORS_PORT, true), (CLOSED_PORT, false), (AGENT_PORT, false)];
        assert_eq!(found, wanted, "ports of {host} that are open to those outside");
        for neighbour in HOSTS.iter().filter(|other| *other != host) {
            let connect = |port: u16| {
                let script = format!("socat -u /dev/null TCP:{address}:{port},connect-timeout=1 2>/dev/null");
                scene.cluster.try_host(neighbour, &script).status.success()
            };
            assert!(connect(AGENT_PORT), "{neighbour} reaches the agent of {host}");
            assert!(!connect(CLOSED_PORT), "{neighbour} reaches on {host} only what the cluster needs");
        }
    });
    at_once(&HOSTS, |host| {
        scene.cluster.host(host, &format!("systemctl stop drill-{OPERATORS_PORT} drill-{CLOSED_PORT}"));
    });
}

/// The pods behind their service.
fn deploy(scene: &Scene) {
    scene.apply(&[WEB, &service("web", "NodePort")].concat());
    scene.rolled_out("daemonset/web");
}

fn let_the_cluster_through_and_nothing_else(scene: &Scene) {
    deploy(scene);
    cluster_works(scene, PATIENCE);
    for pod in scene.pods("app=web") {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        scene.kubectl.ok(&["logs", name]);
    }
    the_rest_is_closed(scene);
    walls_stand(&scene.cluster);
    let report = scene.cluster.up();
    assert_eq!(report["steps"], serde_json::json!([]), "a second `up` has nothing to do: {report:#}");
}

/// Such pods have the hosts' addresses, which no rule for the pod network covers; their port is the operator's to open.
fn let_services_through_to_pods_on_hosts_networks(scene: &Scene) {
    let own_port = format!("env: [{{name: PORT, value: '{HOST_PORT}'}}]");
    let pods = WEB.replace("      tolerations:", "      hostNetwork: true\n      tolerations:").replace(
        "ports: [{name: http, containerPort: 8080}]",
        &format!("{own_port}\n          ports: [{{name: http, containerPort: {HOST_PORT}}}]"),
    );
    scene.apply(&[pods, service("web", "NodePort")].concat());
    scene.rolled_out("daemonset/web");
    node_port_works(scene, PATIENCE);
}

fn hold_through_a_restart_of_the_firewall(scene: &Scene) {
    deploy(scene);
    cluster_works(scene, PATIENCE);
    for wall in &WALLS {
        scene.cluster.host(wall.host, &format!("systemctl restart {}", wall.unit));
    }
    cluster_works(scene, PATIENCE);
    the_rest_is_closed(scene);
    walls_stand(&scene.cluster);
}

fn hold_through_a_reboot(scene: &Scene) {
    deploy(scene);
    at_once(&HOSTS, |host| scene.cluster.host_verb("reboot", host));
    cluster_works(scene, REBOOT_BOUND);
    the_rest_is_closed(scene);
    walls_stand(&scene.cluster);
    assert_eq!(scene.cluster.plan()["plan"]["steps"], serde_json::json!([]), "nothing was lost");
}

fn are_as_they_were_after_a_reset(scene: &Scene) {
    scene.cluster.reset();
    for wall in &WALLS {
        let rules = std::fs::read_to_string(before(&scene.cluster, wall)).expect("it was put down");
        let now = said_by(&scene.cluster, wall);
        assert!(now == rules, "{}:\n{}", wall.unit, differences(&rules, &now));
        eventually(PATIENCE, &format!("{} is as it was", wall.host), || {
            let (before, now) = (scene.cluster.before(wall.host), scene.cluster.snapshot(wall.host));
            if now == before { Ok(()) } else { Err(differences(&before, &now)) }
        });
    }
}
