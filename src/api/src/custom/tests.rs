use serde_json::json;

use super::*;
use crate::definitions::openapi::{Dialect, PublishedKind};

fn definition() -> Value {
    json!({
        "metadata": {"name": "crontabs.example.com", "uid": "u"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "listKind": "CronTabList"},
            "versions": [
                {"name": "v1beta1", "served": true, "storage": false, "deprecated": true,
                 "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}},
                {"name": "v1alpha1", "served": false, "storage": false,
                 "schema": {"openAPIV3Schema": {"type": "object"}}},
                {"name": "v1", "served": true, "storage": true,
                 "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
                    "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
                 "additionalPrinterColumns": [
                    {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
                    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1},
                    {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Ready')].status"},
                    {"name": "Made", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                    {"name": "Labels", "type": "string", "jsonPath": ".metadata.labels"}],
                 "selectableFields": [{"jsonPath": ".spec.cronSpec"}],
                 "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}}},
                    "spec": {"type": "object", "properties": {
                        "cronSpec": {"type": "string"}, "replicas": {"type": "integer", "default": 1}}},
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}},
            ],
        },
        "status": {"acceptedNames": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab",
            "listKind": "CronTabList", "shortNames": ["ct"], "categories": ["all"]}},
    })
}

fn texts(errors: &FieldErrors) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn each_served_version_is_a_resource_the_preferred_first() {
    let resources = resources(&definition());
    let versions: Vec<String> = resources.iter().map(|resource| resource.group_version.to_string()).collect();
    assert_eq!(versions, ["example.com/v1", "example.com/v1beta1"]);
    let first = &resources[0];
    assert_eq!(
        (first.kind.as_ref(), first.plural.as_ref(), first.singular.as_ref()),
        ("CronTab", "crontabs", "crontab")
    );
    assert_eq!((first.short_names.as_slice(), first.categories.as_slice()), (&["ct".into()][..], &["all".into()][..]));
    assert_eq!(first.subresources.iter().map(|one| one.name).collect::<Vec<_>>(), ["scale", "status"]);
    assert_eq!(first.schema_name, "com.example.v1.CronTab");
    assert_eq!(resources[1].deprecated.as_deref(), Some("example.com/v1beta1 CronTab is deprecated"));
    assert!(resources[1].subresources.is_empty());
    assert_eq!(resources[1].storage, Some(GroupVersion::new("example.com", "v1")));
    let scale = first.custom().and_then(|custom| custom.scale.clone()).expect("a scale");
    assert_eq!(scale.selector, Some(vec!["status".to_string(), "selector".to_string()]));
}

#[test]
fn objects_are_completed_and_read_by_their_schema() {
    let resources = resources(&definition());
    let custom = resources[0].custom().expect("a custom resource");
    let mut object = json!({"apiVersion": "example.com/v1", "kind": "CronTab", "metadata": {"name": "a", "odd": 1},
        "spec": {"cronSpec": "* *", "typo": 1}});
    assert_eq!(complete(custom, &mut object).expect("an object"), ["metadata.odd", "spec.typo"]);
    assert_eq!(object["spec"], json!({"cronSpec": "* *", "replicas": 1}));
    let mut wrong = json!({"metadata": {"labels": {"a": 1}}});
    assert!(complete(custom, &mut wrong).is_err());
    let other = resources[1].custom().expect("a custom resource");
    assert_eq!(other.to_stored(json!({"apiVersion": "example.com/v1beta1"}))["apiVersion"], "example.com/v1");
    let stored = json!({"apiVersion": "example.com/v1beta1", "spec": {"gone": 1}, "metadata": {"name": "a"}});
    let served = custom.to_served(stored);
    assert_eq!(served, json!({"apiVersion": "example.com/v1", "spec": {"replicas": 1}, "metadata": {"name": "a"}}));
}

#[test]
fn objects_are_validated_with_their_names() {
    let resources = resources(&definition());
    let custom = resources[0].custom().expect("a custom resource");
    let object = json!({"metadata": {"name": "longer"}, "spec": {"replicas": "x"}});
    assert_eq!(
        texts(&custom.validate_new(&object)),
        [
            "spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\"",
            "metadata.name: Too long: may not be more than 5 bytes",
        ]
    );
    assert_eq!(custom.validate_update(&object, &object), Vec::new());
}

#[test]
fn generations_count_what_is_no_status_where_status_is_apart() {
    let resources = resources(&definition());
    let (apart, together) = (resources[0].custom().expect("custom"), resources[1].custom().expect("custom"));
    let old = json!({"metadata": {"generation": 3}, "spec": {"a": 1}, "status": {"s": 1}});
    let mut new = json!({"metadata": {}, "spec": {"a": 1}, "status": {"s": 2}});
    apart.prepare_update(&mut new, &old);
    assert_eq!(new, old);
    let mut new = json!({"metadata": {}, "spec": {"a": 1}, "status": {"s": 2}});
    together.prepare_update(&mut new, &old);
    assert_eq!((&new["metadata"]["generation"], &new["status"]["s"]), (&json!(4), &json!(2)));
    let mut new =
        json!({"metadata": {"labels": {"a": "b"}, "resourceVersion": "7"}, "spec": {"a": 2}, "status": {"s": 2}});
    apart.prepare_status_update(&mut new, &old);
    assert_eq!(
        new,
        json!({"metadata": {"generation": 3, "resourceVersion": "7"}, "spec": {"a": 1}, "status": {"s": 2}})
    );
}

#[test]
fn columns_show_values_of_their_type() {
    let resources = resources(&definition());
    let custom = resources[0].custom().expect("a custom resource");
    let object = json!({"metadata": {"name": "a", "creationTimestamp": "2026-01-02T03:04:05Z", "labels": {"a": "b"}},
        "spec": {"cronSpec": "* *", "replicas": "no number"},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let now = "2026-01-02T03:05:05Z".parse().expect("a time");
    assert_eq!(json!(custom.cells(&object, now)), json!(["a", "* *", null, "True", "60s", "{\"a\":\"b\"}"]));
    let names: Vec<String> = custom.columns().iter().map(|column| column.name.to_string()).collect();
    assert_eq!(names, ["Name", "Spec", "Replicas", "Ready", "Made", "Labels"]);
    let plain = resources[1].custom().expect("a custom resource");
    assert_eq!(json!(plain.cells(&object, now)), json!(["a", "60s"]));
    assert_eq!(custom.field(&object, "spec.cronSpec"), Some("* *".to_string()));
    assert_eq!(custom.field(&object, "spec.other"), None);
}

#[test]
fn a_conversion_webhook_is_known_to_every_version() {
    assert!(resources(&definition()).iter().all(|one| one.custom().is_some_and(|custom| custom.conversion.is_none())));
    let mut converted = definition();
    let config = json!({"url": "https://a.example.com/convert"});
    converted["spec"]["conversion"] = json!({"strategy": "Webhook",
        "webhook": {"clientConfig": config, "conversionReviewVersions": ["v1", "v1beta1"]}});
    for one in resources(&converted) {
        let conversion = one.custom().and_then(|custom| custom.conversion.as_ref()).expect("a webhook");
        assert_eq!((&conversion.client_config, conversion.review_versions.join(",").as_str()), (&config, "v1,v1beta1"));
    }
}

#[test]
fn rules_are_asked_of_objects_that_fit_their_schema() {
    let mut with_rules = definition();
    with_rules["spec"]["versions"][2]["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] = json!([
        {"rule": "self.spec.replicas <= 5", "fieldPath": ".spec.replicas", "reason": "FieldValueForbidden",
         "messageExpression": "'no more than 5, not ' + string(self.spec.replicas)"},
        {"rule": "self.spec.cronSpec == oldSelf.spec.cronSpec", "message": "cronSpec stays"},
    ]);
    let resources = resources(&with_rules);
    let custom = resources[0].custom().expect("a custom resource");
    let object = |spec: Value| json!({"metadata": {"name": "a"}, "spec": spec});
    let (old, new) = (object(json!({"cronSpec": "a", "replicas": 1})), object(json!({"cronSpec": "b", "replicas": 6})));
    assert_eq!(texts(&custom.validate_new(&old)), Vec::<String>::new());
    let forbidden = "spec.replicas: Forbidden: no more than 5, not 6";
    assert_eq!(texts(&custom.validate_new(&new)), [forbidden]);
    let stays = "<nil>: Invalid value: \"object\": cronSpec stays";
    assert_eq!(texts(&custom.validate_update(&new, &old)), [forbidden, stays]);
    // A status is written of an object whose rest was all right before.
    assert_eq!(texts(&custom.validate_subresource_update("status", &new, &new)), Vec::<String>::new());
    let mut long = new.clone();
    long["metadata"]["name"] = "longer".into();
    assert_eq!(
        texts(&custom.validate_new(&long)),
        [
            "metadata.name: Too long: may not be more than 5 bytes",
            "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; \
             correct the existing errors to complete validation",
        ]
    );
}

// conformance: kubectl that validates by OpenAPI 2 takes objects that keep unknown fields
#[test]
fn clients_of_openapi_v2_are_told_only_what_they_understand() {
    let published = |schema: Value| {
        let kind = PublishedKind { group: "example.com", version: "v1", kind: "CronTab" };
        component(&schema, kind, Dialect::V2)
    };
    let free = published(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true,
        "properties": {"spec": {"type": "object"}}}));
    assert_eq!(
        free,
        json!({"type": "object", "x-kubernetes-group-version-kind":
        [{"group": "example.com", "version": "v1", "kind": "CronTab"}]})
    );
    for (field, expected) in [
        (
            json!({"type": "object", "description": "d", "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"dummy": {"type": "object"}}}),
            json!({"description": "d", "x-kubernetes-preserve-unknown-fields": true}),
        ),
        (
            json!({"type": "array", "x-kubernetes-preserve-unknown-fields": true, "items": {"type": "string"}}),
            json!({"x-kubernetes-preserve-unknown-fields": true}),
        ),
        (json!({"type": "string", "nullable": true}), json!({})),
        (
            json!({"type": "object", "required": ["a", "b"],
                "properties": {"a": {"type": "string"}, "b": {"type": "string", "nullable": true}}}),
            json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}, "b": {}}}),
        ),
        (
            json!({"type": "object", "required": ["b"], "properties": {"b": {"type": "string", "nullable": true}}}),
            json!({"type": "object", "properties": {"b": {}}}),
        ),
        (
            json!({"type": "object", "required": ["b"], "additionalProperties": {"type": "string", "nullable": true}}),
            json!({"type": "object", "additionalProperties": {}}),
        ),
    ] {
        let whole = published(json!({"type": "object", "properties": {"spec": field}}));
        assert_eq!(whole["properties"]["spec"], expected);
    }
}
