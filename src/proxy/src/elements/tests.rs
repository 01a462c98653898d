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
    assert_eq!(element(&found, Map::ClusterIps, "10.43.0.9").unwrap(), "");
    assert_eq!(found.elements.len(), 5, "the unready endpoint is left out");
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
    assert_eq!(element(&near, Map::OutsideNodePorts, "tcp . 30080").unwrap(), "goto pk1");
    let slot = format!("tcp . 30080 . {OUTSIDE}");
    assert_eq!(element(&near, Map::NodePortEndpoints, &slot).unwrap(), "10.42.1.2 . 8080");
    assert_eq!(element(&near, Map::Services, "10.43.0.9 . tcp . 80").unwrap(), "goto sn2", "inside, all are used");
    assert_eq!(element(&near, Map::NodePorts, "tcp . 30080").unwrap(), "goto pn2", "by pods and hosts as well");
    let far = contribution(&service(spec), &slices, "cp1");
    assert_eq!(element(&far, Map::OutsideNodePorts, "tcp . 30080").unwrap(), "accept");
    assert_eq!(element(&far, Map::RefusedNodePorts, "tcp . 30080").unwrap(), "drop");
    assert_eq!(element(&far, Map::NodePorts, "tcp . 30080").unwrap(), "goto pn2", "pods are served from elsewhere");
}

#[test]
fn local_endpoints_that_terminate_serve_where_no_other_local_one_does() {
    let leaving = json!({"addressType": "IPv4", "metadata": {"name": "web-2"}, "ports": [{"port": 80, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["10.42.1.2"], "nodeName": "w1",
            "conditions": {"ready": false, "serving": true, "terminating": true}}]});
    let slices = [Arc::new(serde_json::from_value(leaving).unwrap()), slice("", 80, &[("10.42.2.2", "w2", true)])];
    let spec = json!({"type": "NodePort", "clusterIP": "10.43.0.9", "externalTrafficPolicy": "Local",
        "internalTrafficPolicy": "Local", "ports": [{"port": 80, "nodePort": 30080}]});
    let found = contribution(&service(spec), &slices, "w1");
    assert_eq!(element(&found, Map::OutsideNodePorts, "tcp . 30080").unwrap(), "goto pk1");
    let slot = format!("tcp . 30080 . {OUTSIDE}");
    assert_eq!(element(&found, Map::NodePortEndpoints, &slot).unwrap(), "10.42.1.2 . 80");
    assert_eq!(element(&found, Map::Endpoints, "10.43.0.9 . tcp . 80 . 0").unwrap(), "10.42.1.2 . 80");
    assert_eq!(element(&found, Map::NodePortEndpoints, "tcp . 30080 . 0").unwrap(), "10.42.2.2 . 80", "from inside");
    assert_eq!(element(&found, Map::RefusedNodePorts, "tcp . 30080"), None);
}

#[test]
fn with_affinity_an_endpoint_keeps_its_number_while_others_come_and_go() {
    let spec = json!({"clusterIP": "10.43.0.9", "sessionAffinity": "ClientIP", "ports": [{"port": 80}]});
    let numbers = |endpoints: &[(&str, &str, bool)]| {
        let found = contribution(&service(spec.clone()), &[slice("", 8080, endpoints)], "w1");
        let chain = format!("goto snh10800-{}", endpoints.len());
        assert_eq!(element(&found, Map::Services, "10.43.0.9 . tcp . 80").unwrap(), chain);
        let number = |(map, key): &(Map, String)| {
            (*map == Map::Endpoints).then(|| key.rsplit_once(" . ").map(|(_, number)| number.to_string()))?
        };
        let numbers: BTreeMap<String, String> =
            found.elements.iter().filter_map(|(key, value)| Some((value.clone(), number(key)?))).collect();
        for (slot, number) in found.elements.iter().filter(|((map, _), _)| *map == Map::Slots) {
            assert!(numbers.values().any(|known| known == number), "{slot:?} leads nowhere");
        }
        numbers
    };
    let one = numbers(&[("10.42.1.3", "w1", true)]);
    let three = numbers(&[("10.42.1.2", "w1", true), ("10.42.1.3", "w1", true), ("10.42.1.4", "w1", true)]);
    assert_eq!(three.len(), 3);
    assert_eq!(one["10.42.1.3 . 8080"], three["10.42.1.3 . 8080"]);
}

#[test]
fn the_time_of_an_affinity_is_the_services() {
    let chain = |config: serde_json::Value| {
        let spec = json!({"type": "NodePort", "clusterIP": "10.43.0.9", "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": config, "externalTrafficPolicy": "Local", "ports": [{"port": 80, "nodePort": 30080}]});
        let found = contribution(&service(spec), &[slice("", 8080, &[("10.42.1.2", "w1", true)])], "w1");
        element(&found, Map::OutsideNodePorts, "tcp . 30080").unwrap()
    };
    assert_eq!(chain(json!({"clientIP": {"timeoutSeconds": 60}})), "goto pkh60-1");
    assert_eq!(chain(json!({"clientIP": {}})), "goto pkh10800-1");
    assert_eq!(chain(json!({"clientIP": {"timeoutSeconds": 100_000}})), "goto pkh10800-1");
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

#[test]
fn hints_are_followed_where_every_endpoint_has_one_and_one_is_for_here() {
    let hints = |node: &str, zone: &str| json!({"forNodes": [{"name": node}], "forZones": [{"name": zone}]});
    let zones = |zone: &str| json!({"forZones": [{"name": zone}]});
    let endpoint = |last: u8, hints: serde_json::Value| json!({"addresses": [format!("10.42.1.{last}")], "conditions": {"ready": true}, "hints": hints});
    let by_zone = [endpoint(2, zones("a")), endpoint(3, zones("a")), endpoint(4, zones("b"))];
    let by_node = [endpoint(2, hints("w1", "a")), endpoint(3, hints("w2", "a")), endpoint(4, hints("w3", "b"))];
    let mut partly = by_zone.clone();
    partly[2]["hints"] = json!(null);
    let service = service(json!({"clusterIP": "10.43.0.9", "ports": [{"port": 80}]}));
    for (endpoints, node, zone, expected) in [
        (&by_zone, "w1", Some("a"), 2),
        (&by_zone, "w1", Some("b"), 1),
        (&by_zone, "w1", Some("c"), 3),
        (&by_zone, "w1", None, 3),
        (&partly, "w1", Some("a"), 3),
        (&by_node, "w2", Some("a"), 1),
        (&by_node, "w9", Some("a"), 2),
        (&by_node, "w9", None, 3),
    ] {
        let slice = json!({"addressType": "IPv4", "metadata": {}, "endpoints": endpoints,
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}]});
        let slices = [Arc::new(serde_json::from_value(slice).unwrap())];
        let found = contribution(&service, &slices, Place { node, zone });
        let chain = element(&found, Map::Services, "10.43.0.9 . tcp . 80").unwrap();
        assert_eq!(chain, format!("goto sn{expected}"), "{node} {zone:?} {endpoints:?}");
    }
}
