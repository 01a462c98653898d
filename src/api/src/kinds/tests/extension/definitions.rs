//! CustomResourceDefinitions.

use super::*;

fn definition() -> Value {
    json!({"metadata": {"name": "things.example.com"}, "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "things", "kind": "Thing"},
        "versions": [{
            "name": "v1",
            "served": true,
            "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {
                "color": {"type": "string"},
            }}}}},
        }],
    }})
}

#[test]
fn definitions() {
    let versions = "spec.versions: Invalid value: ";
    let exactly_one = "must have exactly one version marked as storage version";
    let unstored =
        json!([{"name": "v1", "served": true, "storage": false, "schema": {"openAPIV3Schema": {"type": "object"}}}]);
    let shown = unstored.to_string();
    table(
        "customresourcedefinitions",
        &definition(),
        &[
            (
                &[("/metadata/name", json!("x.example.com"))],
                &["metadata.name: Invalid value: \"x.example.com\": must be spec.names.plural+\".\"+spec.group"],
            ),
            (
                &[("/spec/group", json!("example")), ("/metadata/name", json!("things.example"))],
                &["spec.group: Invalid value: \"example\": should be a domain with at least one dot"],
            ),
            (
                &[("/spec/scope", json!("Both"))],
                &["spec.scope: Unsupported value: \"Both\": supported values: \"Cluster\", \"Namespaced\""],
            ),
            (&[("/spec/scope", json!(""))], &["spec.scope: Required value"]),
            (&[("/spec/versions", unstored.clone())], &[&format!("{versions}{shown}: {exactly_one}")]),
            (&[("/spec/versions/0/schema", Value::Null)], &["spec.versions[0].schema.openAPIV3Schema: Required value"]),
            (
                &[("/spec/names/kind", json!("thing_s"))],
                &[
                    "spec.names.singular: Invalid value: \"thing_s\": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
                    "spec.names.kind: Invalid value: \"thing_s\": may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
                    "spec.names.listKind: Invalid value: \"thing_sList\": may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
                ],
            ),
            (
                &[("/spec/names/listKind", json!("Thing"))],
                &["spec.names.listKind: Invalid value: \"Thing\": kind and listKind may not be the same"],
            ),
            (
                &[("/spec/conversion", json!({"strategy": "Webhook"}))],
                &[
                    "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
                    "spec.conversion.conversionReviewVersions: Required value: must specify one of v1, v1beta1",
                ],
            ),
            (
                &[("/spec/preserveUnknownFields", json!(true))],
                &[
                    "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
                ],
            ),
            (
                &[("/spec/versions/0/subresources", json!({"scale": {"specReplicasPath": ".status.x"}}))],
                &[
                    "spec.versions[0].subresources.scale.specReplicasPath: Invalid value: \".status.x\": should be a json path under .spec",
                    "spec.versions[0].subresources.scale.statusReplicasPath: Required value",
                ],
            ),
            (
                &[(
                    "/spec/versions/0/additionalPrinterColumns",
                    json!([{"name": "a", "type": "text", "jsonPath": "x"}]),
                )],
                &[
                    "spec.versions[0].additionalPrinterColumns[0].type: Invalid value: \"text\": must be one of boolean,date,integer,number,string",
                    "spec.versions[0].additionalPrinterColumns[0].JSONPath: Invalid value: \"x\": must be a simple json path starting with .",
                ],
            ),
            (
                &[(
                    "/spec/versions/0/additionalPrinterColumns",
                    json!([{"name": "a", "type": "string", "jsonPath": ".a[?(@.b"}]),
                )],
                &[
                    "spec.versions[0].additionalPrinterColumns[0].JSONPath: Invalid value: \".a[?(@.b\": must be a JSONPath that this server reads: unterminated filter",
                ],
            ),
            (
                &[(
                    "/spec/versions/0/subresources",
                    json!({"scale": {"specReplicasPath": ".spec.a[0]", "statusReplicasPath": ".status.a"}}),
                )],
                &[
                    "spec.versions[0].subresources.scale.specReplicasPath: Invalid value: \".spec.a[0]\": must be a simple json path of field names",
                ],
            ),
            (
                &[
                    (
                        "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/a[0]",
                        json!({"type": "string"}),
                    ),
                    ("/spec/versions/0/selectableFields", json!([{"jsonPath": ".spec.a[0]"}])),
                ],
                &[
                    "spec.versions[0].selectableFields[0].jsonPath: Invalid value: \".spec.a[0]\": is an invalid path: must be a simple json path of field names",
                ],
            ),
            (
                &[(
                    "/spec/versions/0/selectableFields",
                    json!([{"jsonPath": ".spec.color"}, {"jsonPath": ".spec"}, {"jsonPath": ".metadata.name"}]),
                )],
                &[
                    "spec.versions[0].selectableFields[1].jsonPath: Invalid value: \".spec\": must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.",
                    "spec.versions[0].selectableFields[2].jsonPath: Invalid value: \".metadata.name\": must not point to fields in metadata",
                ],
            ),
            (
                &[("/spec/versions/0/deprecationWarning", json!("old"))],
                &[
                    "spec.versions[0].deprecationWarning: Invalid value: \"old\": can only be set for deprecated versions",
                ],
            ),
        ],
    );
    let protected =
        with(definition(), &[("/spec/group", json!("a.k8s.io")), ("/metadata/name", json!("things.a.k8s.io"))]);
    let refused = wrong("customresourcedefinitions", protected);
    assert!(
        refused.len() == 1
            && refused[0].starts_with("metadata.annotations[api-approved.kubernetes.io]: Required value"),
        "{refused:?}"
    );
    let behaviour = &resource("customresourcedefinitions").behaviour;
    assert_eq!(behaviour.validate_new(&definition()), Vec::new());
    let established =
        with(definition(), &[("/status", json!({"conditions": [{"type": "Established", "status": "True"}]}))]);
    let changed = with(established.clone(), &[("/spec/scope", json!("Cluster")), ("/spec/names/kind", json!("Other"))]);
    let paths: Vec<String> =
        behaviour.validate_update(&changed, &established).iter().map(|error| error.path.to_string()).collect();
    assert_eq!(paths, ["spec.scope", "spec.names.kind"]);
}

#[test]
fn versions_that_objects_are_stored_in_stay() {
    let schema = json!({"openAPIV3Schema": {"type": "object"}});
    let version =
        |name: &str, storage: bool| json!({"name": name, "served": true, "storage": storage, "schema": schema});
    let first = with(definition(), &[("/spec/versions", json!([version("v1", true), version("v2", false)]))]);
    let flipped = with(first.clone(), &[("/spec/versions", json!([version("v1", false), version("v2", true)]))]);
    let without = with(first.clone(), &[("/spec/versions", json!([version("v2", true)]))]);
    let stored =
        |object: &Value, versions: Value| with(object.clone(), &[("/status", json!({"storedVersions": versions}))]);
    let gone = "status.storedVersions[0]: Invalid value: \"v1\": must appear in spec.versions";
    for (new, old, expected) in [
        (&flipped, stored(&first, json!(["v1"])), &[][..]),
        (&without, stored(&flipped, json!(["v1", "v2"])), &[gone]),
        (&without, stored(&flipped, json!(["v2"])), &[]),
        // Nobody has written the status yet.
        (&without, first.clone(), &[gone]),
    ] {
        let errors = resource("customresourcedefinitions").behaviour.validate_update(new, &old);
        assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_spec_that_was_taken_stays_good() {
    let definitions = resource("customresourcedefinitions");
    let path = "/spec/versions/0/additionalPrinterColumns";
    let made = [("/metadata/uid", json!("u")), ("/metadata/creationTimestamp", json!("2026-01-01T00:00:00Z"))];
    let old = with(with(definition(), &made), &[(path, json!([{"name": "a", "type": "string", "jsonPath": ".a["}]))]);
    let old = complete(definitions, old);
    let released = with(old.clone(), &[("/metadata/labels", json!({"a": "b"}))]);
    assert_eq!(crate::metadata::validate_update(definitions, &released, &old), Vec::new());
    let changed = with(released, &[("/spec/versions/0/deprecated", json!(true))]);
    assert_eq!(crate::metadata::validate_update(definitions, &changed, &old).len(), 1);
}

#[test]
fn schemas_of_custom_resources_are_structural() {
    let judge = |schema: Value| {
        let object = with(definition(), &[("/spec/versions/0/schema/openAPIV3Schema", schema)]);
        let prefix = "spec.versions[0].schema.openAPIV3Schema";
        let wrong = wrong("customresourcedefinitions", object);
        wrong.iter().map(|error| error.strip_prefix(prefix).unwrap_or(error).to_string()).collect::<Vec<_>>()
    };
    let field = |schema: Value| json!({"type": "object", "properties": {"f": schema}});
    let item = json!({"type": "object", "properties": {"k": {"type": "string"}}, "required": ["k"]});
    for (schema, expected) in [
        (
            json!({"type": "array", "items": {"type": "string"}}),
            &[".type: Invalid value: \"array\": must be object at the root"][..],
        ),
        (json!({}), &[".type: Required value: must not be empty at the root"]),
        (json!({"type": "object", "nullable": true}), &[".nullable: Forbidden: nullable cannot be true at the root"]),
        (field(json!({})), &[".properties[f].type: Required value: must not be empty for specified object fields"]),
        (field(json!({"x-kubernetes-preserve-unknown-fields": true})), &[]),
        (field(json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]})), &[]),
        (field(json!({"type": "array"})), &[".properties[f].items: Required value: must be specified"]),
        (
            field(json!({"type": "array", "items": {}})),
            &[".properties[f].items.type: Required value: must not be empty for specified array items"],
        ),
        (field(json!({"type": "string", "$ref": "#/x"})), &[".properties[f].$ref: Forbidden: $ref is not supported"]),
        (
            field(json!({"type": "null"})),
            &[".properties[f].type: Forbidden: type cannot be set to null, use nullable as an alternative"],
        ),
        (
            field(json!({"type": "text"})),
            &[
                ".properties[f].type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
            ],
        ),
        (
            field(
                json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}}),
            ),
            &[
                ".properties[f].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
            ],
        ),
        (
            field(json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true})),
            &[
                ".properties[f].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            ],
        ),
        (
            field(json!({"type": "string", "pattern": "("})),
            &[
                ".properties[f].pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: error parsing regexp: missing closing ): `(`",
            ],
        ),
        (
            field(json!({"type": "string", "anyOf": [{"type": "string"}, {"pattern": "a"}]})),
            &[".properties[f].anyOf[0].type: Forbidden: must be empty to be structural"],
        ),
        (
            field(
                json!({"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}),
            ),
            &[],
        ),
        (
            field(json!({"type": "array", "items": item, "x-kubernetes-list-type": "map"})),
            &[
                ".properties[f].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
            ],
        ),
        (
            field(
                json!({"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"]}),
            ),
            &[
                ".properties[f].x-kubernetes-list-map-keys: Invalid value: [\"n\"]: entries must all be names of item properties",
            ],
        ),
        (
            field(json!({"type": "string", "x-kubernetes-list-type": "set"})),
            &[".properties[f].type: Invalid value: \"string\": must be array if x-kubernetes-list-type is specified"],
        ),
        (
            field(json!({"type": "object", "x-kubernetes-embedded-resource": true})),
            &[
                ".properties[f].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
            ],
        ),
        (
            field(json!({"type": "string", "anyOf": [{"x-kubernetes-validations": [{"rule": "true"}]}],
                "allOf": [{"x-kubernetes-validations": [{"rule": "true"}]}]})),
            &[".properties[f].anyOf[0].x-kubernetes-validations: Forbidden: must be empty to be structural"],
        ),
        (
            field(json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false})),
            &[
                ".properties[f].additionalProperties: Forbidden: additionalProperties cannot be set to false",
                ".properties[f].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
            ],
        ),
        (
            field(json!({"type": "object", "additionalProperties": false})),
            &[".properties[f].additionalProperties: Forbidden: additionalProperties cannot be set to false"],
        ),
        (
            field(json!({"type": "array", "items": item, "x-kubernetes-list-type": "set"})),
            &[
                ".properties[f].items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with x-kubernetes-list-type=set",
            ],
        ),
        (
            field(json!({"type": "array", "x-kubernetes-list-type": "set",
                "items": {"type": "object", "x-kubernetes-map-type": "atomic"}})),
            &[],
        ),
        (
            field(json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "array",
                "items": {"type": "string"}, "x-kubernetes-list-type": "set"}})),
            &[
                ".properties[f].items.x-kubernetes-list-type: Invalid value: \"set\": must be atomic as item of a list with x-kubernetes-list-type=set",
            ],
        ),
        (
            field(json!({"type": "array", "x-kubernetes-list-type": "set",
                "items": {"type": "string", "nullable": true}})),
            &[".properties[f].items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is set"],
        ),
        (
            field(json!({"type": "object", "properties": {"a": {"type": "string"}},
                "allOf": [{"properties": {"a": {"type": "string", "pattern": "("}}}]})),
            &[
                ".properties[f].allOf[0].properties[a].type: Forbidden: must be empty to be structural",
                ".properties[f].allOf[0].properties[a].pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: error parsing regexp: missing closing ): `(`",
            ],
        ),
        (
            field(json!({"type": "array", "items": {"type": "string"}, "not": {"items": {"items": {"default": "x"}}}})),
            &[".properties[f].not.items.items.default: Forbidden: must be undefined to be structural"],
        ),
        (
            field(json!({"x-kubernetes-int-or-string": true,
                "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"anyOf": [{"type": "string"}]}]})),
            &[".properties[f].allOf[1].anyOf[0].type: Forbidden: must be empty to be structural"],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "string"}}}},
                "oneOf": [{"properties": {"metadata": {"required": ["x"]}}}, {"properties": {"a": {"properties": {"c": {}}}}}]}),
            &[
                ".oneOf[0].properties[metadata]: Forbidden: must not be specified in a nested context",
                ".properties[metadata]: Required value: because it is defined in spec.versions[0].schema.openAPIV3Schema.oneOf[0].properties[metadata]",
                ".properties[a].properties[c]: Required value: because it is defined in spec.versions[0].schema.openAPIV3Schema.oneOf[1].properties[a].properties[c]",
            ],
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            &[
                ".properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
            ],
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 9}}}}}),
            &[],
        ),
    ] {
        assert_eq!(judge(schema.clone()), expected, "{schema}");
    }
}

#[test]
fn rules_of_custom_resources_have_to_compile() {
    let with_rule = |rule: &str| {
        let schema = json!({"type": "object", "properties": {
            "f": {"type": "string", "x-kubernetes-validations": [{"rule": rule}]}}});
        with(definition(), &[("/spec/versions/0/schema/openAPIV3Schema", schema)])
    };
    let behaviour = &resource("customresourcedefinitions").behaviour;
    let texts = |errors: Vec<machinery::field::FieldError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (good, wrong) = (with_rule("self != ''"), with_rule("self.x"));
    assert_eq!(texts(behaviour.validate_new(&good)), Vec::<String>::new());
    let at = "spec.versions[0].schema.openAPIV3Schema.properties[f].x-kubernetes-validations[0].rule";
    let expected = format!(
        "{at}: Invalid value: \"self.x\": compilation failed: ERROR: <input>:1:5: type 'string' does not support field \
         selection\n | self.x\n | ....^"
    );
    assert_eq!(texts(behaviour.validate_new(&wrong)), std::slice::from_ref(&expected));
    assert_eq!(texts(behaviour.validate_update(&wrong, &good)), [expected]);
    // What is kept already does not stand in the way of other changes.
    assert_eq!(texts(behaviour.validate_update(&wrong, &wrong)), Vec::<String>::new());
}

#[test]
fn the_authorities_of_a_conversion_webhook_are_certificates() {
    let with_bundle = |bundle: &str| {
        json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://a.example.com/", "caBundle": bundle}}}}})
    };
    let behaviour = &resource("customresourcedefinitions").behaviour;
    let found = |errors: machinery::field::FieldErrors| -> Vec<String> {
        let texts = errors.iter().map(ToString::to_string);
        texts.filter(|text| text.contains("caBundle")).collect()
    };
    let none = with_bundle("bm9uZQ==");
    assert_eq!(
        found(behaviour.validate_new(&none)),
        ["spec.conversion.webhookClientConfig.caBundle: Invalid value: \"bm9uZQ==\": unable to load root \
             certificates: unable to parse bytes as PEM block"]
    );
    assert_eq!(found(behaviour.validate_update(&none, &none)), Vec::<String>::new());
    assert_eq!(found(behaviour.validate_update(&none, &with_bundle(""))).len(), 1);
    assert!(found(behaviour.validate_new(&with_bundle("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t"))).is_empty());
}

#[test]
fn defaults_fit_the_schema_that_they_stand_in() {
    for (property, expected) in [
        (json!({"type": "integer", "default": 3, "minimum": 1}), None),
        (
            json!({"type": "integer", "default": 0, "minimum": 1}),
            Some("default: Invalid value: 0: <root> in body should be greater than or equal to 1"),
        ),
        (json!({"type": "string", "default": 3}), Some("default: Invalid value:")),
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "default": {"b": "c"}}),
            Some("default: Invalid value: {\"b\":\"c\"}: must not have unknown fields"),
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string", "maxLength": 1}}, "default": {"a": "long"}}),
            Some("default.a: Too long:"),
        ),
        (json!({"type": "string", "nullable": true, "default": null}), None),
    ] {
        let field = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/color";
        let object = with(definition(), &[(field, property.clone())]);
        let wrong = resource("customresourcedefinitions").behaviour.validate_new(&object);
        let told: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        let path = "spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[color].";
        match expected {
            None => assert!(told.is_empty(), "{property}: {told:?}"),
            Some(words) => assert!(told.iter().any(|told| told.starts_with(&format!("{path}{words}"))), "{told:?}"),
        }
    }
}
