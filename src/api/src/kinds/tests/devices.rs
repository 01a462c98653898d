//! What is refused of claims on devices and of what drivers publish, rule by rule.

use super::*;

fn refused(plural: &str, cases: &[(Value, &[&str])]) {
    for (spec, expected) in cases {
        assert_eq!(&create(plural, json!({ "spec": spec })).1, expected, "{plural} {spec}");
    }
}

fn claim() -> Value {
    json!({"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}})
}

#[test]
fn claims() {
    let requests = |requests: Value| json!({"devices": {"requests": requests}});
    let at = "spec.devices.requests[0]";
    let reference =
        "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
    let mut constrained = claim();
    constrained["devices"]["constraints"] = json!([{"requests": ["other"], "matchAttribute": "model"}]);
    let mut configured = claim();
    configured["devices"]["config"] = json!([{"opaque": {"driver": "d", "parameters": 5}}]);
    refused(
        "resourceclaims",
        &[
            (claim(), &[]),
            (
                requests(json!([{"name": "r"}, {"name": "r", "exactly": {"deviceClassName": "c"}}])),
                &[
                    &format!("{at}: Required value: exactly one of `exactly` or `firstAvailable` is required"),
                    "spec.devices.requests[1]: Duplicate value: \"r\"",
                ],
            ),
            (
                requests(json!([{"name": "r", "exactly": {"allocationMode": "All", "count": 2}}])),
                &[
                    &format!("{at}.exactly.deviceClassName: Required value"),
                    &format!(
                        "{at}.exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'"
                    ),
                ],
            ),
            (
                requests(
                    json!([{"name": "r", "exactly": {"deviceClassName": "c", "selectors": [{}], "tolerations": [{"operator": "Equal"}]}}]),
                ),
                &[
                    &format!("{at}.exactly.selectors[0].cel: Required value"),
                    &format!(
                        "{at}.exactly.tolerations[0].operator: Invalid value: \"Equal\": must be `Exists` when `key` is empty"
                    ),
                ],
            ),
            (
                constrained,
                &[
                    &format!("spec.devices.constraints[0].requests[0]: Invalid value: \"other\": {reference}"),
                    "spec.devices.constraints[0].matchAttribute: Invalid value: \"model\": must include a domain",
                ],
            ),
            (
                configured,
                &["spec.devices.config[0].opaque.parameters: Invalid value: 5: parameters must be a valid JSON object"],
            ),
        ],
    );
    let errors = update("resourceclaims", json!({ "spec": claim() }), |object| {
        object["spec"]["devices"]["requests"][0]["exactly"]["count"] = json!(2);
    });
    assert!(
        errors[0].starts_with("spec: Invalid value: ") && errors[0].ends_with(": field is immutable"),
        "{errors:?}"
    );
}

#[test]
fn who_has_a_claim() {
    let (old, _) = create("resourceclaims", json!({ "spec": claim() }));
    let behaviour = &resource("resourceclaims").behaviour;
    let errors = |status: Value| -> Vec<String> {
        let mut new = old.clone();
        new["status"] = status;
        behaviour.validate_subresource_update("status", &new, &old).iter().map(ToString::to_string).collect()
    };
    let pod = json!({"resource": "pods", "name": "p", "uid": "u"});
    let result = json!({"request": "r", "driver": "d.example.com", "pool": "p", "device": "d"});
    assert_eq!(
        errors(json!({"reservedFor": [pod]})),
        ["status.reservedFor: Forbidden: may not be specified when `allocated` is not set"]
    );
    assert!(errors(json!({"reservedFor": [pod], "allocation": {"devices": {"results": [result]}}})).is_empty());
    assert_eq!(
        errors(
            json!({"allocation": {"devices": {"results": [result]}}, "devices": [{"driver": "d.example.com", "pool": "p", "device": "e"}]})
        ),
        [
            "status.devices[0]: Invalid value: {\"device\":\"e\",\"driver\":\"d.example.com\",\"pool\":\"p\"}: must be an allocated device in the claim"
        ]
    );
}

#[test]
fn slices_and_classes() {
    let slice = |fields: Value| {
        let mut spec =
            json!({"driver": "d", "nodeName": "n", "pool": {"name": "p", "resourceSliceCount": 1, "generation": 0}});
        for (key, value) in fields.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        spec
    };
    let device = |device: Value| slice(json!({"devices": [device]}));
    refused(
        "resourceslices",
        &[
            (slice(json!({})), &[]),
            (
                slice(json!({"allNodes": true})),
                &[
                    "spec: Invalid value: \"{`nodeName`, `allNodes`}\": exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set",
                ],
            ),
            (
                device(json!({"name": "a", "attributes": {"model": {}, "x/y/z": {"int": 1}, "v": {"version": "1.2"}}})),
                &[
                    "spec.devices[0].attributes[model]: Invalid value: \"\": exactly one value must be specified",
                    "spec.devices[0].attributes[v].version: Invalid value: \"1.2\": must be a string compatible with semver.org spec 2.0.0",
                    "spec.devices[0].attributes[x/y/z]: Invalid value: \"y/z\": a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')",
                ],
            ),
            (
                device(json!({"name": "a", "taints": [{"key": "k"}], "nodeName": "n"})),
                &[
                    "spec.devices[0].taints[0].effect: Required value",
                    "spec.devices[0]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec",
                ],
            ),
        ],
    );
    refused(
        "deviceclasses",
        &[(
            json!({"extendedResourceName": "cpu"}),
            &["spec.extendedResourceName: Invalid value: \"cpu\": must be a valid extended resource name"],
        )],
    );
}
