//! DNS messages, whose names lead to answers about services and pods.
#![no_main]

use std::net::IpAddr;
use std::sync::Arc;

use dns::zone::{self, Data, View};
use hickory_proto::op::Message;
use hickory_proto::rr::Name;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use libfuzzer_sys::fuzz_target;
use serde_json::json;

/// One service with an address, and one without, which is its endpoints.
struct Cluster;

impl View for Cluster {
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        let address = match name {
            "web" => "10.43.0.9",
            "db" => "None",
            _ => return None,
        };
        let service = json!({"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": address,
            "clusterIPs": [address], "ports": [{"name": "http", "protocol": "TCP", "port": 80}]}});
        serde_json::from_value(service).ok().map(Arc::new)
    }

    fn slices(&self, namespace: &str, name: &str) -> Vec<Arc<EndpointSlice>> {
        let slice = json!({"metadata": {"name": "s", "namespace": namespace,
            "labels": {"kubernetes.io/service-name": name}}, "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.42.0.5"], "hostname": "db-0", "conditions": {"ready": true}}],
            "ports": [{"name": "http", "protocol": "TCP", "port": 8080}]});
        serde_json::from_value(slice).ok().map(Arc::new).into_iter().collect()
    }

    fn has_namespace(&self, namespace: &str) -> bool {
        namespace == "n"
    }

    fn service_at(&self, address: IpAddr) -> Option<Arc<Service>> {
        (address == IpAddr::from([10, 43, 0, 9])).then(|| self.service("n", "web")).flatten()
    }

    fn slices_at(&self, _: IpAddr) -> Vec<Arc<EndpointSlice>> {
        self.slices("n", "db")
    }
}

fn ask(name: &Name) {
    let labels: Option<Vec<String>> =
        name.iter().map(|label| String::from_utf8(label.to_ascii_lowercase()).ok()).collect();
    let Some(labels) = labels else { return };
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    for data in zone::resolve(&Cluster, &labels).into_iter().flatten() {
        // What leads on leads to a name that there is.
        if let Data::Alias(target) | Data::Pointer(target) = data {
            let target: Vec<&str> = target.split('.').collect();
            assert!(zone::resolve(&Cluster, &target).is_some(), "{labels:?} leads to {target:?}");
        }
    }
    if let Ok(net) = name.parse_arpa_name() {
        zone::reverse(&Cluster, net.addr());
    }
}

fuzz_target!(|data: &[u8]| {
    if let Ok(message) = Message::from_vec(data) {
        message.queries.iter().for_each(|query| ask(query.name()));
    }
    if let Some(name) = std::str::from_utf8(data).ok().and_then(|text| Name::from_ascii(text).ok()) {
        ask(&name);
    }
});
