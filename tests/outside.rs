//! Names outside of the cluster, from hosts whose only name server is systemd-resolved's stub on their own loopback.

use std::net::Ipv4Addr;

use testkit::{NameServer, eventually};

use crate::harness::{HOSTS, PATIENCE, Scene, busybox_pod, drills};

drills![names_of_others_are_asked_of_the_servers_behind_the_hosts_stub];

const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
const DNS_PORT: u16 = 53;

/// Hosts as Ubuntu's and others' are: the stub's address in /etc, the servers behind it in /run.
const STUB: &str = "set -eu
[ -e /etc/resolv.conf.drill ] || cp /etc/resolv.conf /etc/resolv.conf.drill
printf 'nameserver 127.0.0.53\\noptions edns0 trust-ad\\nsearch .\\n' >/etc/resolv.conf
mkdir -p /run/systemd/resolve
printf 'nameserver GATEWAY\\nsearch .\\n' >/run/systemd/resolve/resolv.conf";
const AS_IT_WAS: &str = "[ ! -e /etc/resolv.conf.drill ] || { cat /etc/resolv.conf.drill >/etc/resolv.conf
rm -rf /etc/resolv.conf.drill /run/systemd/resolve; }";

/// The hosts' resolver configuration, put back with the drill.
struct Stub<'a>(&'a Scene);

impl<'a> Stub<'a> {
    fn set(scene: &'a Scene) -> Self {
        let stub = Self(scene);
        for host in HOSTS {
            scene.cluster.host(host, &STUB.replace("GATEWAY", scene.cluster.gateway()));
        }
        restart_dns(scene);
        stub
    }
}

impl Drop for Stub<'_> {
    fn drop(&mut self) {
        for host in HOSTS {
            let _unreachable = self.0.cluster.try_host(host, AS_IT_WAS);
        }
    }
}

/// Pods keep the configuration that they began with.
fn restart_dns(scene: &Scene) {
    let system = scene.cluster.kubectl().namespace("kube-system");
    system.ok("rollout restart deployment/dns");
    system.ok("rollout status deployment/dns --timeout=90s");
}

fn names_of_others_are_asked_of_the_servers_behind_the_hosts_stub(scene: &Scene) {
    let gateway: Ipv4Addr = scene.cluster.gateway().parse().expect("the lab's gateway is an address");
    let upstream = NameServer::start((gateway.into(), DNS_PORT), &[("www.example.test", OUTSIDE)]);
    let hosts = Stub::set(scene);
    scene.apply(&busybox_pod("client", None));
    scene.ready("pod/client");
    let looked_up = |name: &str, wanted: &str| {
        eventually(PATIENCE, &format!("{name}: {wanted}"), || {
            let ran = scene.sh("client", &format!("nslookup -type=a {name} 2>&1"));
            if ran.stdout.contains(wanted) { Ok(()) } else { Err(ran.report()) }
        });
    };
    looked_up("www.example.test", &format!("Address: {OUTSIDE}"));
    looked_up("nothing.example.test", "NXDOMAIN");
    assert!(upstream.questions() >= 2, "the lab's name server was asked");
    looked_up("kubernetes.default.svc.cluster.local", "Address: 10.43.0.1");

    // A pod with the host's own configuration is given the servers behind the stub as well.
    let own = busybox_pod("own", None).replace("spec:", "spec:\n  dnsPolicy: Default");
    scene.apply(&own);
    scene.ready("pod/own");
    let resolv = scene.sh("own", "cat /etc/resolv.conf").ok();
    assert!(resolv.contains(&format!("nameserver {gateway}")) && !resolv.contains("127."), "{resolv}");

    drop(hosts);
    restart_dns(scene);
    looked_up("www.example.test", "REFUSED");
}
