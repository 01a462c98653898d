use super::super::allocator::Allocator;
use super::*;

fn allocator() -> Allocator {
    let allocator = Allocator::new("10.43.0.0/16".parse().expect("a network"), 30000..=30100);
    allocator.load(Used::default());
    allocator
}

fn assigned(mut service: Value) -> (Value, FieldErrors) {
    let mut errors = FieldErrors::new();
    assign(&mut service, &mut allocator().promise(false), &mut errors);
    (service, errors)
}

#[test]
fn each_type_gets_what_it_needs() {
    let (service, errors) = assigned(json!({"spec": {"ports": [{"port": 80}]}}));
    assert!(errors.is_empty());
    assert!(service["spec"]["clusterIP"].as_str().is_some_and(|ip| ip.starts_with("10.43.")));
    assert_eq!(service["spec"]["clusterIPs"][0], service["spec"]["clusterIP"]);
    assert!(service["spec"]["ports"][0].get("nodePort").is_none());

    let ports =
        json!([{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}, {"port": 80, "protocol": "TCP"}]);
    let (service, _) = assigned(json!({"spec": {"type": "NodePort", "ports": ports}}));
    let ports = &service["spec"]["ports"];
    assert_eq!(ports[0]["nodePort"], ports[1]["nodePort"]);
    assert_ne!(ports[0]["nodePort"], ports[2]["nodePort"]);

    let (service, _) = assigned(json!({"spec": {"clusterIP": "None"}}));
    assert_eq!(service["spec"]["clusterIPs"], json!(["None"]));

    let (service, _) = assigned(json!({"spec": {"type": "ExternalName", "externalName": "a.b"}}));
    assert!(service["spec"].get("clusterIP").is_none());
}

#[test]
fn what_is_out_of_range_is_refused() {
    let (_, errors) = assigned(
        json!({"spec": {"clusterIP": "10.0.0.1", "type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]}}),
    );
    assert_eq!(errors.len(), 2);
    assert_eq!(errors[1].path.to_string(), "spec.ports[0].nodePort");
}

#[test]
fn families_that_the_cluster_has_not_are_refused() {
    for (spec, wrong) in [
        (json!({"ipFamilies": ["IPv4"], "ipFamilyPolicy": "PreferDualStack"}), vec![]),
        (json!({"ipFamilies": ["IPv6"]}), vec!["spec.ipFamilies[0]"]),
        (json!({"ipFamilies": ["IPv4", "IPv6"], "clusterIP": "None"}), vec!["spec.ipFamilies[1]"]),
        (json!({"ipFamilyPolicy": "RequireDualStack"}), vec!["spec.ipFamilyPolicy"]),
    ] {
        let (_, errors) = assigned(json!({"spec": spec}));
        let paths: Vec<String> = errors.iter().map(|error| error.path.to_string()).collect();
        assert_eq!(paths, wrong, "{spec}");
    }
}

#[test]
fn an_update_keeps_what_the_client_left_out_and_drops_what_the_type_does_not_have() {
    let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.43.0.9", "clusterIPs": ["10.43.0.9"],
        "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30007}]}});
    let mut service = json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}});
    carry_over(&mut service, &old);
    assert_eq!(used(&service), used(&old));
    let mut service = old.clone();
    service["spec"]["type"] = "ClusterIP".into();
    carry_over(&mut service, &old);
    assert!(used(&service).ports.is_empty() && !used(&service).addresses.is_empty());
    let mut service = old.clone();
    service["spec"]["type"] = "ExternalName".into();
    carry_over(&mut service, &old);
    assert_eq!(used(&service), Used::default());
}
