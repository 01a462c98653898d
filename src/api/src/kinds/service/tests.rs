use serde_json::json;

use super::*;

fn create(spec: Value) -> (Value, Vec<String>) {
    let mut object = json!({"metadata": {"name": "s", "namespace": "n"}, "spec": spec});
    for (field, default) in [("type", "ClusterIP"), ("sessionAffinity", "None")] {
        fill(&mut object["spec"], field, default);
    }
    items_at(&mut object, "spec.ports").for_each(|port| fill(port, "protocol", "TCP"));
    Service.default(&mut object);
    Service.prepare_create(&mut object);
    let errors = Service.validate(&object).iter().map(ToString::to_string).collect();
    (object, errors)
}

#[test]
fn services_are_filled_in() {
    let (object, errors) = create(json!({"ports": [{"port": 80}], "clusterIP": "10.43.0.9"}));
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(
        object["spec"],
        json!({"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "clusterIP": "10.43.0.9", "clusterIPs": ["10.43.0.9"],
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]})
    );
    // Whoever turns affinity off sends its settings along, as read.
    let (object, errors) = create(json!({"type": "ClusterIP", "sessionAffinity": "None", "ports": [{"port": 1}],
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10_800}}}));
    assert_eq!((object["spec"].get("sessionAffinityConfig"), errors.len()), (None, 0));
    let (object, _) = create(json!({"type": "NodePort", "sessionAffinity": "ClientIP", "ports": [{"port": 1}]}));
    assert_eq!(object["spec"]["externalTrafficPolicy"], "Cluster");
    assert_eq!(object["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10_800);
}

#[test]
fn faults_are_named() {
    let cases: Vec<(Value, &[&str])> = vec![
        (json!({}), &["spec.ports: Required value"]),
        (json!({"clusterIP": "None"}), &[]),
        (
            json!({"ports": [{"port": 80}, {"port": 80, "name": "b"}]}),
            &[
                "spec.ports[0].name: Required value",
                "spec.ports[1]: Duplicate value: {\"port\":80,\"protocol\":\"TCP\"}",
            ],
        ),
        (
            json!({"ports": [{"port": 80, "nodePort": 30000}]}),
            &["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ),
        (json!({"type": "ExternalName"}), &["spec.externalName: Required value"]),
        (json!({"type": "ExternalName", "externalName": "example.com."}), &[]),
        (
            json!({"ports": [{"port": 0}]}),
            &[
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            json!({"type": "NodePort", "clusterIP": "None", "ports": [{"port": 1}]}),
            &["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(create(spec.clone()).1, expected, "{spec}");
    }
}

#[test]
fn what_was_allocated_stays_and_goes_with_the_type() {
    let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.43.0.1", "clusterIPs": ["10.43.0.1"],
        "externalTrafficPolicy": "Cluster", "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30001}]}});
    let mut same = json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}});
    Service.prepare_update(&mut same, &old);
    assert_eq!(same["spec"]["clusterIP"], "10.43.0.1");
    assert_eq!(same["spec"]["ports"][0]["nodePort"], 30001);
    let mut plain = old.clone();
    plain["spec"]["type"] = json!("ClusterIP");
    Service.prepare_update(&mut plain, &old);
    assert_eq!(
        plain["spec"],
        json!({"type": "ClusterIP", "clusterIP": "10.43.0.1", "clusterIPs": ["10.43.0.1"],
            "ports": [{"port": 80, "protocol": "TCP"}]})
    );
    let mut moved = old.clone();
    moved["spec"]["clusterIP"] = json!("10.43.0.2");
    Service.prepare_update(&mut moved, &old);
    let errors: Vec<String> = Service.validate_update(&moved, &old).iter().map(ToString::to_string).collect();
    assert_eq!(errors, ["spec.clusterIPs[0]: Invalid value: [\"10.43.0.2\"]: may not change once set"]);
}
