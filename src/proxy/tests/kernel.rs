//! The rules in a real kernel: a client, a host with the table, and endpoints, each in a network namespace.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use proxy::conntrack;
use proxy::elements::{Contribution, contribution};
use proxy::table::{Content, Owner, removal, skeleton};
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
        self.on_host(|| datapath::nft::apply(batch)).unwrap();
    }

    fn on_host<T: Send, F: Future<Output = T>>(&self, work: impl FnOnce() -> F + Send) -> T {
        self.host.enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(work())
        })
    }

    /// A table with nothing but this service in it.
    fn begin(&self, contribution: &Contribution) -> Content {
        let mut content = Content::default();
        let batch = content.transition(&web(), &Contribution::default(), contribution);
        self.apply(&(skeleton(PODS.parse().unwrap()) + &batch));
        content
    }

    /// A pod of this host with address 10.42.2.2, in a namespace of its own.
    fn add_pod(&self) -> Namespace {
        let pod = Namespace::new("rkpp");
        link((&pod, "p0"), (&self.host, "h2"));
        for (namespace, link, address) in [(&pod, "p0", "10.42.2.2/24"), (&self.host, "h2", "10.42.2.1/24")] {
            namespace.exec(&format!("ip addr add {address} dev {link}"));
            namespace.exec(&format!("ip link set {link} up"));
        }
        pod.exec("ip route add default via 10.42.2.1");
        self.endpoints.exec("ip route replace default via 10.42.1.1");
        pod
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

const PODS: &str = "10.42.0.0/16";

fn web() -> Owner {
    Owner { created_s: 1, namespace: "default".into(), name: "web".into() }
}

fn contribution_of(spec: serde_json::Value, ready: &[&str]) -> Contribution {
    contribution_on("w1", spec, ready)
}

/// What a host of that name has of a service whose endpoints are all on `w1`.
fn contribution_on(node: &str, spec: serde_json::Value, ready: &[&str]) -> Contribution {
    let protocol = spec["ports"][0]["protocol"].as_str().unwrap_or("TCP").to_string();
    let service: Service = serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": spec})).unwrap();
    let endpoints: Vec<_> = ready.iter().map(|ip| json!({"addresses": [ip], "nodeName": "w1"})).collect();
    let slice: EndpointSlice = serde_json::from_value(json!({"addressType": "IPv4", "metadata": {"name": "web-1"},
        "endpoints": endpoints, "ports": [{"name": "", "port": 8080, "protocol": protocol}]}))
    .unwrap();
    contribution(&service, &[Arc::new(slice)], node)
}

#[test]
fn a_service_is_balanced_changed_refused_and_removed() {
    let net = make_net();
    net.serve();
    let spec = json!({"type": "NodePort", "clusterIP": "10.43.0.9", "ports": [{"port": 80, "nodePort": 30080}]});
    let both = contribution_of(spec.clone(), &["10.42.1.2", "10.42.1.3"]);
    let none = Contribution::default();
    let mut content = net.begin(&both);

    let seen = net.ask(&net.client, "10.43.0.9:80", 40);
    // The host replaces the client's address, so that the answer comes back through it.
    let expected = ["10.42.1.2 from 10.42.1.1", "10.42.1.3 from 10.42.1.1"];
    assert_eq!(seen.keys().collect::<Vec<_>>(), expected, "{seen:?}");
    let seen = net.ask(&net.client, "10.9.0.1:30080", 20);
    assert_eq!(seen.keys().collect::<Vec<_>>(), expected, "node port: {seen:?}");
    let seen = net.ask(&net.host, "10.9.0.1:30080", 20);
    assert_eq!(seen.len(), 2, "from the host itself: {seen:?}");

    let refused: BTreeMap<String, usize> = [("ConnectionRefused".to_string(), 2)].into();
    for from in [&net.client, &net.host] {
        assert_eq!(net.ask(from, "10.43.0.9:81", 2), refused, "a port that the service has not");
    }
    let one = contribution_of(spec.clone(), &["10.42.1.3"]);
    net.apply(&content.transition(&web(), &both, &one));
    let seen = net.ask(&net.client, "10.43.0.9:80", 10);
    assert_eq!(seen, [("10.42.1.3 from 10.42.1.1".to_string(), 10)].into());

    let empty = contribution_of(spec, &[]);
    net.apply(&content.transition(&web(), &one, &empty));
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
    let spec = json!({"type": "NodePort", "clusterIP": "10.43.0.9", "sessionAffinity": "ClientIP",
        "externalTrafficPolicy": "Local", "ports": [{"port": 80, "nodePort": 30080}]});
    net.begin(&contribution_of(spec, &["10.42.1.2", "10.42.1.3"]));
    assert_eq!(net.ask(&net.client, "10.43.0.9:80", 20).len(), 1, "one endpoint for one client");
    let seen = net.ask(&net.client, "10.9.0.1:30080", 5);
    assert!(seen.keys().all(|answer| answer.ends_with("from 10.9.0.2")), "{seen:?}");
    assert_eq!(seen.len(), 1, "one endpoint for one client: {seen:?}");
}

/// Which endpoint answers, given that it is one alone.
fn only(seen: BTreeMap<String, usize>) -> String {
    assert_eq!(seen.len(), 1, "one endpoint for one client: {seen:?}");
    seen.into_keys().next().unwrap().split(' ').next().unwrap().to_string()
}

#[test]
fn a_client_stays_with_its_endpoint_while_that_lives_and_others_come_and_go() {
    let net = make_net();
    net.serve();
    let spec = |seconds: u32| {
        json!({"clusterIP": "10.43.0.9", "sessionAffinity": "ClientIP", "ports": [{"port": 80}],
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}}})
    };
    let ask = |count| only(net.ask(&net.client, "10.43.0.9:80", count));
    // Eight that do not answer, so that a chance that is no memory is found out.
    let many: Vec<String> = (3..12).map(|last| format!("10.42.1.{last}")).collect();
    let one = contribution_of(spec(600), &["10.42.1.2"]);
    let more: Vec<&str> = ["10.42.1.2"].into_iter().chain(many.iter().map(String::as_str)).collect();
    let more = contribution_of(spec(600), &more);
    let two = contribution_of(spec(600), &["10.42.1.2", "10.42.1.3"]);
    let other = contribution_of(spec(600), &["10.42.1.3"]);
    let mut content = net.begin(&one);
    assert_eq!(ask(1), "10.42.1.2");
    net.apply(&content.transition(&web(), &one, &more));
    assert_eq!(ask(10), "10.42.1.2", "others have come");
    net.begin(&more);
    assert_eq!(ask(10), "10.42.1.2", "the agent was restarted");
    let mut content = net.begin(&more);
    net.apply(&content.transition(&web(), &more, &other));
    assert_eq!(ask(5), "10.42.1.3", "its endpoint is gone");
    net.apply(&content.transition(&web(), &other, &two));
    assert_eq!(ask(10), "10.42.1.3", "the old one came back");

    let brief = contribution_of(spec(1), &["10.42.1.2", "10.42.1.3"]);
    net.apply(&(removal() + &skeleton(PODS.parse().unwrap())));
    net.begin(&brief);
    let first = ask(1);
    // Each wait ends the memory; that the same is drawn twenty times does not happen.
    let moved = (0..20).any(|_| {
        std::thread::sleep(Duration::from_millis(1300));
        ask(1) != first
    });
    assert!(moved, "the affinity never ends");
}

#[test]
fn with_the_local_policy_pods_and_the_host_are_served_from_elsewhere_and_others_dropped() {
    let net = make_net();
    net.serve();
    let pod = net.add_pod();
    let spec = json!({"type": "NodePort", "clusterIP": "10.43.0.9", "externalTrafficPolicy": "Local",
        "externalIPs": ["198.51.100.3"], "ports": [{"port": 80, "nodePort": 30080}]});
    net.begin(&contribution_on("w2", spec.clone(), &["10.42.1.3"]));
    net.host.exec("ip route add 198.51.100.3/32 dev h1");
    for target in ["10.9.0.1:30080", "198.51.100.3:80"] {
        assert_eq!(net.ask(&net.client, target, 1), [("TimedOut".to_string(), 1)].into(), "from outside: {target}");
        let from_pod = [("10.42.1.3 from 10.42.2.2".to_string(), 2)].into();
        assert_eq!(net.ask(&pod, target, 2), from_pod, "from a pod: {target}");
        assert!(net.ask(&net.host, target, 1).keys().all(|answer| answer.starts_with("10.42.1.3")), "from the host");
    }
    net.begin(&contribution_on("w1", spec, &["10.42.1.3"]));
    for target in ["10.9.0.1:30080", "198.51.100.3:80"] {
        let kept = [("10.42.1.3 from 10.9.0.2".to_string(), 1)].into();
        assert_eq!(net.ask(&net.client, target, 1), kept, "with an endpoint here: {target}");
    }
}

#[test]
fn udp_flows_to_an_endpoint_that_went_while_nobody_looked_are_forgotten() {
    let net = make_net();
    let spec = json!({"clusterIP": "10.43.0.9", "ports": [{"port": 53, "protocol": "UDP"}]});
    let (one, other) = (contribution_of(spec.clone(), &["10.42.1.2"]), contribution_of(spec, &["10.42.1.3"]));
    let sockets = ["10.42.1.2:8080", "10.42.1.3:8080"].map(|address| {
        net.endpoints.enter(|| {
            let socket = UdpSocket::bind(address).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            socket
        })
    });
    let client = net.client.enter(|| UdpSocket::bind("10.9.0.2:4000").unwrap());
    let arrives = || {
        client.send_to(b"x", "10.43.0.9:53").unwrap();
        sockets.iter().position(|socket| socket.recv_from(&mut [0; 8]).is_ok())
    };
    net.begin(&one);
    assert_eq!(arrives(), Some(0));
    net.begin(&other);
    assert_eq!(arrives(), Some(0), "the kernel keeps the flow");
    net.on_host(|| async {
        let stale = conntrack::survey([&other].into_iter()).await;
        assert_eq!(stale.len(), 1, "{stale:?}");
        conntrack::forget(stale).await;
        assert_eq!(conntrack::survey([&other].into_iter()).await, []);
    });
    assert_eq!(arrives(), Some(1));
}
