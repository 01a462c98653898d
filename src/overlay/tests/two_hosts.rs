//! Two hosts in network namespaces, a pod on each: the real kernel, the real plugin, real packets.

use std::path::Path;

use overlay::plan::Peer;
use overlay::{Config, cni, host};
use serde_json::Value;
use testkit::netns::{Namespace, link};

struct Host {
    netns: Namespace,
    config: Config,
    cidr: ipnet::Ipv4Net,
    _folder: tempfile::TempDir,
}

fn make_host(number: u8) -> Host {
    let netns = Namespace::new(&format!("rkovl{number}"));
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        node_name: format!("h{number}"),
        node_ip: [10, 99, 0, number].into(),
        cluster_cidr: "10.42.0.0/16".parse().unwrap(),
        service_cidr: "10.43.0.0/16".parse().unwrap(),
        vni: 4096,
        port: 8472,
        cni_config_path: folder.path().join("10-rkctl.conflist"),
        cni_data_dir: folder.path().join("cni"),
    };
    let cidr = format!("10.42.{number}.0/24").parse().unwrap();
    Host { netns, config, cidr, _folder: folder }
}

impl Host {
    fn converge(&self, peers: &[&Host]) -> usize {
        let peers: Vec<Peer> =
            peers.iter().map(|peer| Peer { node_address: peer.config.node_ip, pod_cidr: peer.cidr }).collect();
        self.netns.enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(host::converge(&self.config, self.cidr, &peers)).unwrap()
        })
    }

    fn cni(&self, command: &str, pod: &Namespace, ports: &str) -> Result<String, String> {
        self.cni_of(command, &pod.name, &pod.path(), ports)
    }

    fn cni_of(&self, command: &str, id: &str, netns: &Path, ports: &str) -> Result<String, String> {
        let list: Value = serde_json::from_slice(&std::fs::read(&self.config.cni_config_path).unwrap()).unwrap();
        let mut plugin = list["plugins"][0].clone();
        plugin["cniVersion"] = list["cniVersion"].clone();
        plugin["name"] = list["name"].clone();
        plugin["runtimeConfig"] = serde_json::from_str(&format!(r#"{{"portMappings":[{ports}]}}"#)).unwrap();
        let variable = |name: &str| {
            Some(match name {
                "CNI_COMMAND" => command.to_string(),
                "CNI_CONTAINERID" => id.to_string(),
                "CNI_NETNS" => netns.display().to_string(),
                "CNI_IFNAME" => "eth0".into(),
                _ => return None,
            })
        };
        self.netns.enter(|| cni::call(variable, &plugin.to_string()))
    }
}

fn address(answer: &str) -> String {
    let answer: Value = serde_json::from_str(answer).unwrap();
    answer["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap().to_string()
}

#[test]
fn pods_reach_each_other_across_hosts_and_nothing_is_left_behind() {
    let (one, two) = (make_host(1), make_host(2));
    link((&one.netns, "rkt1"), (&two.netns, "rkt2"));
    for (host, name) in [(&one, "rkt1"), (&two, "rkt2")] {
        host.netns.exec(&format!("ip addr add {}/24 dev {name}", host.config.node_ip));
        host.netns.exec(&format!("ip link set {name} up"));
    }
    assert!(one.converge(&[&two]) > 0 && two.converge(&[&one]) > 0);
    assert_eq!(one.converge(&[&two]), 0, "a second run changes nothing");

    let (pod_one, pod_two) = (Namespace::new("rkpod1"), Namespace::new("rkpod2"));
    let port = r#"{"hostPort":8080,"containerPort":80,"protocol":"tcp"}"#;
    let first = address(&one.cni("ADD", &pod_one, "").unwrap());
    let second = address(&two.cni("ADD", &pod_two, port).unwrap());
    assert_eq!((first.as_str(), second.as_str()), ("10.42.1.2", "10.42.2.2"));
    one.cni("CHECK", &pod_one, "").unwrap();

    pod_one.exec(&format!("ping -c 2 -W 2 {second}"));
    one.netns.exec(&format!("ping -c 1 -W 2 {second}"));
    pod_one.exec("ping -c 1 -W 2 10.99.0.2");
    answers(&pod_one, &pod_two, "10.99.0.2:8080");

    for (host, pod, link) in [(&one, &pod_one, "pod 1"), (&two, &pod_two, "pod 2")] {
        host.cni("DEL", pod, port).unwrap();
        host.cni("DEL", pod, port).unwrap();
        assert!(!host.netns.exec("ip -o link").contains("rk0"), "{link} left its link behind");
        assert!(host.cni("CHECK", pod, "").is_err());
    }
    assert_eq!(one.converge(&[]), 3, "the peer's route and entries go");
    let routes = one.netns.exec("ip route show proto 142");
    assert!(routes.contains("10.43.0.0/16 dev rkbr0") && !routes.contains("10.42.2.0"), "{routes}");
}

#[test]
fn a_host_port_is_the_next_pods_though_the_one_before_is_removed_late() {
    let (client, host) = (Namespace::new("rkhpc"), make_host(3));
    link((&client, "c0"), (&host.netns, "h0"));
    client.exec("ip addr add 10.99.0.9/24 dev c0");
    client.exec("ip link set c0 up");
    host.netns.exec(&format!("ip addr add {}/24 dev h0", host.config.node_ip));
    host.netns.exec("ip link set h0 up");
    host.converge(&[]);
    let port = r#"{"hostPort":8080,"containerPort":80,"protocol":"tcp"}"#;
    let target = "10.99.0.3:8080";

    let before = Namespace::new("rkhp1");
    let after = Namespace::new("rkhp2");
    host.cni("ADD", &before, port).unwrap();
    answers(&client, &before, target);
    let refused = host.cni("ADD", &after, port).unwrap_err();
    assert!(refused.contains("host port 8080/tcp is held by sandbox rkhp1"), "{refused}");
    // The first one's namespace ends with it; the runtime tells of it only when the next one is there.
    let (id, netns) = (before.name.clone(), before.path());
    drop(before);
    host.cni("ADD", &after, port).unwrap();
    host.cni_of("DEL", &id, &netns, port).unwrap();
    answers(&client, &after, target);

    host.netns.exec("nft flush ruleset");
    host.converge(&[]);
    answers(&client, &after, target);
    // Host ports answer at loopback addresses of the host, and at those they are bound to alone
    answers(&host.netns, &after, "127.0.0.1:8080");
    let bound = Namespace::new("rkhp3");
    let at_loopback = r#"{"hostPort":8081,"containerPort":80,"protocol":"tcp","hostIP":"127.0.0.1"}"#;
    host.cni("ADD", &bound, at_loopback).unwrap();
    answers(&host.netns, &bound, "127.0.0.1:8081");
    cannot_reach_loopback(&after, &host.netns);
    host.cni("DEL", &bound, at_loopback).unwrap();
    host.cni("DEL", &after, port).unwrap();
    assert!(!host.netns.exec("nft list ruleset").contains("8080"));
}

/// What listens at a loopback address of a host is not for a pod that sends packets there.
fn cannot_reach_loopback(pod: &Namespace, host: &Namespace) {
    let listener = host.enter(|| std::net::TcpListener::bind("127.0.0.7:9000").unwrap());
    let gateway = pod.exec("ip -4 route show default").split_whitespace().nth(2).unwrap().to_string();
    for command in [
        "sysctl -qw net.ipv4.conf.all.route_localnet=1",
        "ip route del local 127.0.0.0/8 dev lo table local",
        &format!("ip route add 127.0.0.7 via {gateway}"),
    ] {
        pod.exec(command);
    }
    let target = "127.0.0.7:9000".parse().unwrap();
    let found = pod.enter(|| std::net::TcpStream::connect_timeout(&target, std::time::Duration::from_secs(1)));
    assert!(found.is_err(), "{found:?}");
    drop(listener);
}

/// Serves one connection at port 80 of a pod and asks for it from a client through `target`.
fn answers(client: &Namespace, server: &Namespace, target: &str) {
    use std::io::{Read, Write};
    use std::time::Duration;
    let listener = server.enter(|| std::net::TcpListener::bind("0.0.0.0:80").unwrap());
    std::thread::scope(|scope| {
        scope.spawn(move || listener.accept().unwrap().0.write_all(b"hello").unwrap());
        let text = client.enter(|| {
            let target = target.parse().unwrap();
            let mut stream = std::net::TcpStream::connect_timeout(&target, Duration::from_secs(3)).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        });
        assert_eq!(text, "hello");
    });
}
