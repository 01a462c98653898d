use super::*;
use serde_json::json;

fn service(spec: serde_json::Value) -> Service {
    serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": spec})).unwrap()
}

fn slice(port_name: &str, port: u16, endpoints: &[(&str, &str, bool)]) -> Arc<EndpointSlice> {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|(ip, node, ready)| json!({"addresses": [ip], "nodeName": node, "conditions": {"ready": ready}}))
        .collect();
    let value = json!({"addressType": "IPv4", "metadata": {"name": "web-1"}, "endpoints": endpoints,
        "ports": [{"name": port_name, "port": port, "protocol": "TCP"}]});
    Arc::new(serde_json::from_value(value).unwrap())
}

fn element(found: &Contribution, map: Map, key: &str) -> Option<String> {
    found.elements.get(&(map, key.to_string())).cloned()
}

#[test]
fn a_service_costs_one_element_and_one_an_endpoint() {
    let service = service(json!({"clusterIP": "10.43.0.9", "ports": [{"port": 80}]}));
    let slices = [slice("", 8080, &[("10.42.1.2", "w1", true), ("10.42.2.2", "w2", true), ("10.42.2.3", "w2", false)])];
    let found = contribution(&service, &slices, "w1");
    assert_eq!(element(&found, Map::Services, "10.43.0.9 . tcp . 80").unwrap(), "goto sn2");
    assert_eq!(element(&found, Map::Endpoints, "10.43.0.9 . tcp . 80 . 0").unwrap(), "10.42.1.2 . 8080");
    assert_eq!(element(&found, Map::Endpoints, "10.43.0.9 . tcp . 80 . 1").unwrap(), "10.42.2.2 . 8080");
    assert_eq!(element(&found, Map::Hairpin, "10.42.1.2 . 10.42.1.2").unwrap(), "");
    assert_eq!(found.elements.len(), 4, "the unready endpoint is left out");
}

#[test]
fn headless_and_external_names_put_nothing_in() {
    let slices = [slice("", 80, &[("10.42.1.2", "w1", true)])];
    for spec in [
        json!({"clusterIP": "None", "ports": [{"port": 80}]}),
        json!({"type": "ExternalName", "externalName": "example.org"}),
    ] {
        assert_eq!(contribution(&service(spec), &slices, "w1"), Contribution::default());
    }
}

#[test]
fn without_endpoints_the_port_is_refused() {
    let service =
        service(json!({"type": "NodePort", "clusterIP": "10.43.0.9", "ports": [{"port": 80, "nodePort": 30080}]}));
    let found = contribution(&service, &[], "w1");
    assert_eq!(element(&found, Map::Refused, "10.43.0.9 . tcp . 80").unwrap(), "goto refuse");
    assert_eq!(element(&found, Map::RefusedNodePorts, "tcp . 30080").unwrap(), "goto refuse");
}

#[test]
fn the_local_policy_uses_local_endpoints_and_drops_where_there_is_none() {
    let spec = json!({"type": "NodePort", "clusterIP": "10.43.0.9", "externalTrafficPolicy": "Local",
        "ports": [{"port": 80, "nodePort": 30080}]});
    let slices = [slice("", 8080, &[("10.42.1.2", "w1", true), ("10.42.2.2", "w2", true)])];
    let near = contribution(&service(spec.clone()), &slices, "w1");
    assert_eq!(element(&near, Map::NodePorts, "tcp . 30080").unwrap(), "goto pnk1");
    assert_eq!(element(&near, Map::Services, "10.43.0.9 . tcp . 80").unwrap(), "goto sn2", "inside, all are used");
    let far = contribution(&service(spec), &slices, "cp1");
    assert_eq!(element(&far, Map::RefusedNodePorts, "tcp . 30080").unwrap(), "drop");
}

#[test]
fn affinity_chooses_by_the_clients_address() {
    let spec = json!({"clusterIP": "10.43.0.9", "sessionAffinity": "ClientIP", "ports": [{"port": 80}]});
    let found = contribution(&service(spec), &[slice("", 8080, &[("10.42.1.2", "w1", true)])], "w1");
    assert_eq!(element(&found, Map::Services, "10.43.0.9 . tcp . 80").unwrap(), "goto sh1");
}

#[test]
fn several_ports_are_told_apart_by_name() {
    let spec = json!({"clusterIP": "10.43.0.9", "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]});
    let slices = [slice("a", 8080, &[("10.42.1.2", "w1", true)]), slice("b", 9090, &[("10.42.1.2", "w1", true)])];
    let found = contribution(&service(spec), &slices, "w1");
    assert_eq!(element(&found, Map::Endpoints, "10.43.0.9 . tcp . 80 . 0").unwrap(), "10.42.1.2 . 8080");
    assert_eq!(element(&found, Map::Endpoints, "10.43.0.9 . tcp . 81 . 0").unwrap(), "10.42.1.2 . 9090");
}

#[test]
fn load_balancer_and_external_addresses_are_served() {
    let value = json!({"metadata": {"name": "web"}, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}},
        "spec": {"type": "LoadBalancer", "clusterIP": "10.43.0.9", "externalIPs": ["198.51.100.3"], "ports": [{"port": 80}]}});
    let service: Service = serde_json::from_value(value).unwrap();
    let found = contribution(&service, &[slice("", 8080, &[("10.42.1.2", "w1", true)])], "w1");
    for address in ["10.43.0.9", "192.0.2.7", "198.51.100.3"] {
        assert_eq!(element(&found, Map::Services, &format!("{address} . tcp . 80")).unwrap(), "goto sn1");
    }
}

#[test]
fn endpoints_that_terminate_serve_only_where_no_other_does() {
    let value = json!({"addressType": "IPv4", "metadata": {"name": "web-1"}, "ports": [{"port": 80, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["10.42.1.2"], "conditions": {"ready": false, "serving": true, "terminating": true}}]});
    let leaving: Arc<EndpointSlice> = Arc::new(serde_json::from_value(value).unwrap());
    let service = service(json!({"clusterIP": "10.43.0.9", "ports": [{"port": 80}]}));
    let found = contribution(&service, std::slice::from_ref(&leaving), "w1");
    assert_eq!(element(&found, Map::Endpoints, "10.43.0.9 . tcp . 80 . 0").unwrap(), "10.42.1.2 . 80");
    let found = contribution(&service, &[leaving, slice("", 80, &[("10.42.2.2", "w2", true)])], "w1");
    assert_eq!(element(&found, Map::Endpoints, "10.43.0.9 . tcp . 80 . 0").unwrap(), "10.42.2.2 . 80");
    assert_eq!(element(&found, Map::Endpoints, "10.43.0.9 . tcp . 80 . 1"), None);
}
