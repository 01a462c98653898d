//! The rules in a real kernel: a client, a host with the table, and endpoints, each in a network namespace.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use proxy::elements::{Contribution, contribution};
use proxy::table::{Content, Owner, skeleton};
use serde_json::json;
use testkit::netns::{Namespace, link};

/// Client 10.9.0.2, host 10.9.0.1 and 10.42.1.1, endpoints 10.42.1.2 and 10.42.1.3.
struct Net {
    client: Namespace,
    host: Namespace,
    endpoints: Namespace,
}

fn make_net() -> Net {
    let net = Net { client: Namespace::new("rkpc"), host: Namespace::new("rkph"), endpoints: Namespace::new("rkpe") };
    link((&net.client, "c0"), (&net.host, "h0"));
    link((&net.endpoints, "e0"), (&net.host, "h1"));
    for (namespace, link, address) in [
        (&net.client, "c0", "10.9.0.2/24"),
        (&net.host, "h0", "10.9.0.1/24"),
        (&net.host, "h1", "10.42.1.1/24"),
        (&net.endpoints, "e0", "10.42.1.2/24"),
        (&net.endpoints, "e0", "10.42.1.3/24"),
    ] {
        namespace.exec(&format!("ip addr add {address} dev {link}"));
        namespace.exec(&format!("ip link set {link} up"));
    }
    net.host.enter(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
    net.client.exec("ip route add default via 10.9.0.1");
    // The overlay routes service addresses to the pod bridge.
    net.host.exec("ip route add 10.43.0.0/16 dev h1");
    net
}

impl Net {
    fn apply(&self, batch: &str) {
        self.host.enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(datapath::nft::apply(batch)).unwrap();
        });
    }

    /// How often each endpoint answered `count` connections to `target`, and how often nobody did.
    fn ask(&self, from: &Namespace, target: &str, count: usize) -> BTreeMap<String, usize> {
        let target: SocketAddr = target.parse().unwrap();
        from.enter(move || {
            let mut seen = BTreeMap::new();
            for _ in 0..count {
                let answer = TcpStream::connect_timeout(&target, Duration::from_millis(500)).map(|mut stream| {
                    let mut text = String::new();
                    stream.read_to_string(&mut text).unwrap();
                    text
                });
                *seen.entry(answer.unwrap_or_else(|error| format!("{:?}", error.kind()))).or_default() += 1;
            }
            seen
        })
    }

    /// Every endpoint answers with its address and that of its client.
    fn serve(&self) {
        for address in ["10.42.1.2:8080", "10.42.1.3:8080"] {
            let listener = self.endpoints.enter(|| TcpListener::bind(address).unwrap());
            std::thread::spawn(move || {
                while let Ok((mut stream, peer)) = listener.accept() {
                    let own = stream.local_addr().unwrap().ip();
                    let _ = write!(stream, "{own} from {}", peer.ip());
                }
            });
        }
    }
}

fn web() -> Owner {
    Owner { created_s: 1, namespace: "default".into(), name: "web".into() }
}

fn contribution_of(spec: serde_json::Value, ready: &[&str]) -> Contribution {
    let service: Service = serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": spec})).unwrap();
    let endpoints: Vec<_> = ready.iter().map(|ip| json!({"addresses": [ip], "nodeName": "w1"})).collect();
    let slice: EndpointSlice = serde_json::from_value(json!({"addressType": "IPv4", "metadata": {"name": "web-1"},
        "endpoints": endpoints, "ports": [{"name": "", "port": 8080, "protocol": "TCP"}]}))
    .unwrap();
    contribution(&service, &[Arc::new(slice)], "w1")
}

#[test]
fn a_service_is_balanced_changed_refused_and_removed() {
    let net = make_net();
    net.serve();
    let mut content = Content::default();
    let spec = json!({"type": "NodePort", "clusterIP": "10.43.0.9", "ports": [{"port": 80, "nodePort": 30080}]});
    let both = contribution_of(spec.clone(), &["10.42.1.2", "10.42.1.3"]);
    let none = Contribution::default();
    net.apply(&(skeleton("10.42.0.0/16".parse().unwrap()) + &content.transition(&web(), &none, &both)));

    let seen = net.ask(&net.client, "10.43.0.9:80", 40);
    // The host replaces the client's address, so that the answer comes back through it.
    let expected = ["10.42.1.2 from 10.42.1.1", "10.42.1.3 from 10.42.1.1"];
    assert_eq!(seen.keys().collect::<Vec<_>>(), expected, "{seen:?}");
    let seen = net.ask(&net.client, "10.9.0.1:30080", 20);
    assert_eq!(seen.keys().collect::<Vec<_>>(), expected, "node port: {seen:?}");
    let seen = net.ask(&net.host, "10.9.0.1:30080", 20);
    assert_eq!(seen.len(), 2, "from the host itself: {seen:?}");

    let one = contribution_of(spec.clone(), &["10.42.1.3"]);
    net.apply(&content.transition(&web(), &both, &one));
    let seen = net.ask(&net.client, "10.43.0.9:80", 10);
    assert_eq!(seen, [("10.42.1.3 from 10.42.1.1".to_string(), 10)].into());

    let empty = contribution_of(spec, &[]);
    net.apply(&content.transition(&web(), &one, &empty));
    let refused: BTreeMap<String, usize> = [("ConnectionRefused".to_string(), 2)].into();
    assert_eq!(net.ask(&net.client, "10.43.0.9:80", 2), refused);
    assert_eq!(net.ask(&net.client, "10.9.0.1:30080", 2), refused);

    net.apply(&content.transition(&web(), &empty, &none));
    assert_eq!(net.ask(&net.client, "10.43.0.9:80", 1).get("ConnectionRefused"), None, "no longer a service");
}

#[test]
fn affinity_keeps_a_client_and_the_local_policy_keeps_its_address() {
    let net = make_net();
    net.serve();
    net.endpoints.exec("ip route add default via 10.42.1.1");
    let mut content = Content::default();
    let spec = json!({"type": "NodePort", "clusterIP": "10.43.0.9", "sessionAffinity": "ClientIP",
        "externalTrafficPolicy": "Local", "ports": [{"port": 80, "nodePort": 30080}]});
    let sticky = contribution_of(spec, &["10.42.1.2", "10.42.1.3"]);
    let batch = content.transition(&web(), &Contribution::default(), &sticky);
    net.apply(&(skeleton("10.42.0.0/16".parse().unwrap()) + &batch));
    assert_eq!(net.ask(&net.client, "10.43.0.9:80", 20).len(), 1, "one endpoint for one client");
    let seen = net.ask(&net.client, "10.9.0.1:30080", 5);
    assert!(seen.keys().all(|answer| answer.ends_with("from 10.9.0.2")), "{seen:?}");
}
