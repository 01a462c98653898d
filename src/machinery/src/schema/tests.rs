use serde_json::{Value, json};

use super::fixture;
use super::*;

#[test]
fn unknown_fields_go_and_are_named() {
    let (schema, definitions) = fixture::deployment();
    let mut value = json!({
        "kind": "Deployment", "extra": 1,
        "metadata": {"labels": {"any": "key"}, "foo": null},
        "spec": {"containers": [{"name": "a"}, {"name": "b", "imagee": "x"}], "raw": {"kept": [null]}}
    });
    assert_eq!(prune(&mut value, &schema, &definitions), ["extra", "metadata.foo", "spec.containers[1].imagee"]);
    assert_eq!(
        value,
        json!({"kind": "Deployment", "metadata": {"labels": {"any": "key"}},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}], "raw": {"kept": [null]}}})
    );
    assert_eq!(prune(&mut value, &schema, &definitions), Vec::<String>::new());
}

#[test]
fn null_is_absent_save_where_it_is_a_value() {
    let (schema, definitions) = fixture::deployment();
    let mut value = json!({"metadata": {"labels": {"a": null}}, "spec": {"replicas": null, "nullable": null, "raw": null,
        "containers": [{"command": ["a", null], "resources": {"limits": {"cpu": null}}}, null]}, "status": null});
    assert!(prune(&mut value, &schema, &definitions).is_empty());
    assert_eq!(
        value,
        json!({"metadata": {"labels": {"a": ""}}, "spec": {"nullable": null, "raw": null,
            "containers": [{"command": ["a", ""], "resources": {"limits": {"cpu": "0"}}}, {}]}})
    );
}

#[test]
fn defaults_fill_what_is_missing_and_nothing_else() {
    let (schema, definitions) = fixture::deployment();
    let mut value = json!({"spec": {"containers": [{"ports": [{"containerPort": 1}, {"protocol": "UDP"}]}]}});
    default(&mut value, &schema, &definitions);
    assert_eq!(
        value,
        json!({"spec": {"replicas": 1, "containers": [{"ports": [{"containerPort": 1, "protocol": "TCP"}, {"protocol": "UDP"}]}]}})
    );
    let mut empty = json!({});
    default(&mut empty, &schema, &definitions);
    assert_eq!(empty, json!({}));
    let mut zero = json!({"spec": {"replicas": 0}});
    default(&mut zero, &schema, &definitions);
    assert_eq!(zero, json!({"spec": {"replicas": 0}}));
}

#[test]
fn wrong_types_are_refused_with_the_words_of_gos_decoder() {
    let (schema, definitions) = fixture::deployment();
    let field = "json: cannot unmarshal";
    let cases = [
        (
            json!({"spec": {"replicas": "1"}}),
            format!("{field} string into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ),
        (
            json!({"spec": {"replicas": 1.5}}),
            format!("{field} number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ),
        (
            json!({"spec": {"replicas": 3_000_000_000_i64}}),
            format!("{field} number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ),
        (
            json!({"spec": {"containers": {}}}),
            format!("{field} object into Go struct field DeploymentSpec.spec.containers of type []v1.Container"),
        ),
        (
            json!({"spec": {"containers": [{"image": 1}]}}),
            format!("{field} number into Go struct field Container.spec.containers.image of type string"),
        ),
        (
            json!({"spec": {"containers": ["a"]}}),
            format!("{field} string into Go struct field DeploymentSpec.spec.containers of type v1.Container"),
        ),
        (
            json!({"metadata": {"labels": {"a": true}}}),
            format!("{field} bool into Go struct field ObjectMeta.metadata.labels.a of type string"),
        ),
        (
            json!({"metadata": {"labels": "x"}}),
            format!("{field} string into Go struct field ObjectMeta.metadata.labels of type map[string]string"),
        ),
        (json!({"spec": 1}), format!("{field} number into Go struct field Deployment.spec of type v1.DeploymentSpec")),
        (json!([]), format!("{field} array into Go value of type v1.Deployment")),
        (json!({"spec": {"data": "a b"}}), "illegal base64 data at input byte 1".to_string()),
        (
            json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "x"}}}]}}),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'".to_string(),
        ),
    ];
    for (mut value, message) in cases {
        let error = decode(&mut value, &schema, &definitions).unwrap_err().to_string();
        assert_eq!(error, message, "{value}");
    }
    let mut time = json!({"metadata": {"creationTimestamp": "yesterday"}});
    assert!(decode(&mut time, &schema, &definitions).is_err());
}

#[test]
fn quantities_and_times_take_their_canonical_form() {
    let (schema, definitions) = fixture::deployment();
    let mut value = json!({"metadata": {"creationTimestamp": "2026-01-02T03:04:05+02:00"},
        "spec": {"containers": [{"resources": {"limits": {"cpu": 1.5, "memory": "1024Mi", "pods": 3}}}]}});
    decode(&mut value, &schema, &definitions).unwrap();
    assert_eq!(
        value,
        json!({"metadata": {"creationTimestamp": "2026-01-02T01:04:05Z"},
            "spec": {"containers": [{"resources": {"limits": {"cpu": "1500m", "memory": "1Gi", "pods": "3"}}}]}})
    );
}

#[test]
fn what_a_schema_requires_enumerates_and_bounds() {
    let (schema, definitions) = fixture::deployment();
    let errors = |value: Value| -> Vec<String> {
        check(&value, &schema, &definitions).iter().map(ToString::to_string).collect()
    };
    assert_eq!(errors(json!({"spec": {"selector": {}, "containers": [{"name": "a"}]}})), Vec::<String>::new());
    assert_eq!(
        errors(json!({"spec": {"replicas": -1, "strategy": {"type": "Never"}, "containers": [
            {"name": "a", "ports": [{"containerPort": 1}, {"containerPort": 1, "protocol": "TCP"}]},
            {"image": "x"}]}})),
        [
            "spec.selector: Required value",
            "spec.containers[0].ports[1]: Duplicate value: {\"containerPort\":1,\"protocol\":\"TCP\"}",
            "spec.containers[1].name: Required value",
            "spec.replicas: Invalid value: -1: spec.replicas in body should be greater than or equal to 0",
            "spec.strategy.type: Unsupported value: \"Never\": supported values: \"Recreate\", \"RollingUpdate\"",
        ]
    );
    assert_eq!(
        errors(json!({"metadata": {"finalizers": ["a", "a"]}, "spec": {"selector": {}, "replicas": "x"}})),
        [
            "metadata.finalizers[1]: Duplicate value: \"a\"",
            "spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\"",
        ]
    );
}

#[test]
fn times_have_the_decimals_of_their_type() {
    let time = Schema { type_: Type::String { format: Some("date-time".into()) }, ..Schema::default() };
    let names = ["v1.Time", "v1.MicroTime"];
    let definitions = Definitions(names.map(|name| (name.into(), time.clone().into())).into());
    let fields = [("at", reference(names[0])), ("renewed", reference(names[1]))];
    let fields = fields.map(|(name, schema)| (name.to_string(), schema.into())).into();
    let type_ = Type::Object { fields, required: Vec::new(), atomic: false };
    let schema = Schema { type_, ..Schema::default() };
    for (given, kept) in [
        (["2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"], ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000Z"]),
        (
            ["2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.678Z"],
            ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678000Z"],
        ),
        (
            ["2026-01-02T03:04:05.9+01:00", "2026-01-02T04:04:05.1234567+01:00"],
            ["2026-01-02T02:04:05Z", "2026-01-02T03:04:05.123456Z"],
        ),
    ] {
        let mut value = json!({"at": given[0], "renewed": given[1]});
        decode(&mut value, &schema, &definitions).unwrap();
        assert_eq!(value, json!({"at": kept[0], "renewed": kept[1]}));
    }
}
