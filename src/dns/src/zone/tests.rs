use super::*;
use serde_json::json;

struct Cluster {
    services: Vec<Arc<Service>>,
    slices: Vec<Arc<EndpointSlice>>,
}

impl View for Cluster {
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        self.services.iter().find(|service| names(service) == Some((namespace, name))).cloned()
    }
    fn slices(&self, namespace: &str, name: &str) -> Vec<Arc<EndpointSlice>> {
        self.slices.iter().filter(|slice| service_of(slice) == Some((namespace, name))).cloned().collect()
    }
    fn has_namespace(&self, namespace: &str) -> bool {
        self.services.iter().any(|service| service.metadata.namespace.as_deref() == Some(namespace))
    }
    fn service_at(&self, address: IpAddr) -> Option<Arc<Service>> {
        self.services.iter().find(|service| cluster_addresses(service).contains(&address)).cloned()
    }
    fn slices_at(&self, address: IpAddr) -> Vec<Arc<EndpointSlice>> {
        let has = |slice: &&Arc<EndpointSlice>| slice.endpoints.iter().flatten().any(|e| has_address(e, address));
        self.slices.iter().filter(has).cloned().collect()
    }
}

fn cluster() -> Cluster {
    let service = |name: &str, spec| {
        let value = json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec});
        Arc::new(serde_json::from_value(value).unwrap())
    };
    let slice = json!({"addressType": "IPv4",
        "metadata": {"name": "db-x", "namespace": "default", "labels": {"kubernetes.io/service-name": "db"}},
        "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": ["10.42.1.5"], "hostname": "db-0", "conditions": {"ready": true}},
            {"addresses": ["10.42.2.6"], "conditions": {"ready": true}},
            {"addresses": ["10.42.2.7"], "hostname": "db-2", "conditions": {"ready": false}}]});
    Cluster {
        services: vec![
            service(
                "web",
                json!({"clusterIP": "10.43.0.9", "ports": [{"name": "http", "port": 80}, {"port": 53, "protocol": "UDP"}]}),
            ),
            service("db", json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]})),
            service("out", json!({"type": "ExternalName", "externalName": "example.org"})),
        ],
        slices: vec![Arc::new(serde_json::from_value(slice).unwrap())],
    }
}

fn ask(name: &str) -> Answer {
    let labels: Vec<&str> = name.split('.').collect();
    resolve(&cluster(), &labels)
}

fn addresses(list: &[&str]) -> Answer {
    Some(list.iter().map(|address| Data::Address(address.parse().unwrap())).collect())
}

#[test]
fn services_have_their_address_and_headless_ones_those_of_their_ready_endpoints() {
    assert_eq!(ask("web.default.svc"), addresses(&["10.43.0.9"]));
    assert_eq!(ask("db.default.svc"), addresses(&["10.42.1.5", "10.42.2.6"]));
    assert_eq!(ask("out.default.svc"), Some(vec![Data::Alias("example.org".into())]));
}

#[test]
fn endpoints_of_headless_services_have_names_of_their_own() {
    assert_eq!(ask("db-0.db.default.svc"), addresses(&["10.42.1.5"]));
    assert_eq!(ask("10-42-2-6.db.default.svc"), addresses(&["10.42.2.6"]));
    assert_eq!(ask("db-2.db.default.svc"), None, "not ready");
    assert_eq!(ask("web-0.web.default.svc"), None, "not headless");
}

#[test]
fn ports_are_found_by_name_and_protocol() {
    let port = |port, weight, target: &str, address: &str| Data::Port {
        port,
        weight,
        target: target.into(),
        address: address.parse().unwrap(),
    };
    assert_eq!(ask("_http._tcp.web.default.svc"), Some(vec![port(80, 100, "web.default.svc", "10.43.0.9")]));
    assert_eq!(ask("_http._udp.web.default.svc"), None);
    let db =
        [port(5432, 50, "db-0.db.default.svc", "10.42.1.5"), port(5432, 50, "10-42-2-6.db.default.svc", "10.42.2.6")];
    assert_eq!(ask("_sql._tcp.db.default.svc"), Some(db.to_vec()));
    assert_eq!(ask("_tcp.web.default.svc"), Some(vec![]), "a name between others exists");
}

#[test]
fn pods_have_dashed_names() {
    assert_eq!(ask("10-42-1-9.default.pod"), addresses(&["10.42.1.9"]));
    assert_eq!(ask("10-42-1.default.pod"), None);
    // Nothing is known of a namespace without services, where there may be pods all the same.
    assert_eq!(ask("10-42-1-9.quiet.pod"), addresses(&["10.42.1.9"]));
}

#[test]
fn what_does_not_exist_is_told_from_what_has_nothing() {
    assert_eq!(ask("nothing.default.svc"), None);
    assert_eq!(ask("default.svc"), Some(vec![]));
    assert_eq!(ask("nowhere.svc"), None);
    assert_eq!(ask("a.b.c.d.e.svc"), None);
    assert_eq!(ask("dns-version"), Some(vec![Data::Text("1.1.0".into())]));
}

#[test]
fn addresses_have_names() {
    let ask = |address: &str| reverse(&cluster(), address.parse().unwrap());
    assert_eq!(ask("10.43.0.9"), Some(vec![Data::Pointer("web.default.svc".into())]));
    assert_eq!(ask("10.42.1.5"), Some(vec![Data::Pointer("db-0.db.default.svc".into())]));
    assert_eq!(ask("10.42.2.6"), None, "no host name");
    assert_eq!(ask("192.0.2.1"), None);
}

proptest::proptest! {
    #[test]
    fn no_question_makes_it_fall_over(name in "[a-z0-9_.-]{0,60}") {
        let labels: Vec<&str> = name.split('.').collect();
        let _ = resolve(&cluster(), &labels);
    }
}
