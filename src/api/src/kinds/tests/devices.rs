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
                    json!([{"name": "r", "exactly": {"deviceClassName": "c", "selectors": [{}], "tolerations": [{"operator": "Equal", "effect": "Never"}]}}]),
                ),
                &[
                    &format!("{at}.exactly.selectors[0].cel: Required value"),
                    &format!(
                        "{at}.exactly.tolerations[0].effect: Unsupported value: \"Never\": supported values: \"NoExecute\", \"NoSchedule\", \"None\""
                    ),
                ],
            ),
            (
                constrained,
                &[
                    &format!("spec.devices.constraints[0].requests[0]: Invalid value: \"other\": {reference}"),
                    "spec.devices.constraints[0].matchAttribute: Invalid value: \"model\": a fully qualified name must be a domain and a name separated by a slash",
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
                    "spec.devices[0].attributes[x/y/z]: Invalid value: \"x/y/z\": must not contain more than one slash",
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

fn slice(device: Value) -> Value {
    json!({
        "driver": "d.example.com", "nodeName": "n", "devices": [device],
        "pool": {"name": "p", "resourceSliceCount": 1, "generation": 0},
    })
}

#[test]
fn selectors_compile_to_a_truth_within_their_cost() {
    let at = "spec.devices.requests[0].exactly.selectors[0].cel.expression";
    let select = |expression: &str| {
        let selectors = json!([{"cel": {"expression": expression}}]);
        json!({"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c", "selectors": selectors}}]}})
    };
    for good in [
        "device.driver == 'd'",
        "device.attributes['d.example.com'].model == 'a' && device.allowMultipleAllocations",
        "device.capacity['d.example.com'].memory.compareTo(quantity('10Gi')) >= 0",
        "cel.bind(d, device.attributes['d'], d.version.isGreaterThan(semver('1.2.3')) || d.flag)",
        "device.attributes['d'].family.matches('^a+b*$')",
        "device.attributes['d'].anything",
    ] {
        refused("resourceclaims", &[(select(good), &[])]);
    }
    let first = |expression: &str| create("resourceclaims", json!({ "spec": select(expression) })).1.join("\n");
    assert_eq!(
        first("device.driver"),
        format!("{at}: Invalid value: \"device.driver\": must evaluate to bool or the unknown type, not string")
    );
    assert!(first("device.nothing").contains("compilation failed: "), "{}", first("device.nothing"));
    assert!(first("").contains("compilation failed: "), "{}", first(""));
    let nested = "device.attributes.all(a, device.attributes.all(b, device.attributes.all(c, device.attributes.all(d, a + b + c + d != ''))))";
    assert_eq!(first(nested), format!("{at}: Forbidden: too complex, exceeds cost limit"));
    let long = format!("device.driver == '{}'", "x".repeat(10 * 1024));
    assert_eq!(first(&long), format!("{at}: Too long: may not be more than 10240 bytes"));
}

#[test]
fn capacities_that_are_shared_say_what_one_request_may_take() {
    let shared = |policy: Value| {
        let capacity = json!({"memory": {"value": "10Gi", "requestPolicy": policy}});
        slice(json!({"name": "a", "allowMultipleAllocations": true, "capacity": capacity}))
    };
    let at = "spec.devices[0].capacity[memory].requestPolicy";
    let invalid = |field: &str, value: &str, wrong: &str| format!("{at}.{field}: Invalid value: \"{value}\": {wrong}");
    let no_multiple = invalid("validRange.step", "2Gi", "value is not a multiple of a given step (3Gi) from (1Gi)");
    refused(
        "resourceslices",
        &[
            (shared(json!({"default": "2Gi"})), &[]),
            (shared(json!({"default": "1Gi", "validValues": ["1Gi", "2Gi"]})), &[]),
            (shared(json!({"default": "1Gi", "validRange": {"min": "1Gi", "max": "9Gi", "step": "2Gi"}})), &[]),
            (
                shared(json!({"validValues": ["1Gi"], "validRange": {"min": "1Gi"}})),
                &[&format!(
                    "{at}: Forbidden: exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time"
                )],
            ),
            (
                shared(json!({"validValues": ["1Gi"]})),
                &[&format!("{at}.default: Required value: required when validValues is defined")],
            ),
            (
                shared(json!({"default": "3Gi", "validValues": ["2Gi", "1Gi", "1024Mi", "11Gi"]})),
                &[
                    &invalid("validValues[1]", "1Gi", "values must be sorted in ascending order"),
                    &format!("{at}.validValues[2]: Duplicate value: \"1Gi\""),
                    &invalid("validValues[3]", "11Gi", "option is larger than capacity value: 10Gi"),
                    &invalid("validValues", "3Gi", "default value is not valid according to the requestPolicy"),
                ],
            ),
            (
                shared(json!({"default": "1Gi", "validRange": {}})),
                &[&format!("{at}.validRange.min: Required value: required when validRange is defined")],
            ),
            (shared(json!({"default": "2Gi", "validRange": {"min": "1Gi", "step": "3Gi"}})), &[&no_multiple]),
            (
                shared(json!({"default": "1Gi", "validRange": {"min": "2Gi", "max": "20Gi", "step": "0"}})),
                &[
                    &invalid("validRange.default", "1Gi", "default is less than min: 2Gi"),
                    &invalid("validRange.max", "20Gi", "max is larger than capacity value: 10Gi"),
                    &invalid("validRange.step", "0", "must be greater than zero"),
                ],
            ),
            (
                slice(json!({"name": "a", "capacity": {"memory": {"value": "1", "requestPolicy": {"default": "1"}}}})),
                &[&format!("{at}: Forbidden: allowMultipleAllocations must be true")],
            ),
        ],
    );
}

#[test]
fn devices_say_what_their_nodes_wait_for_and_give() {
    let with = |field: &str, value: Value| {
        let mut device = json!({"name": "a", "capacity": {"memory": {"value": "1"}}});
        device[field] = value;
        device
    };
    let conditions = |ready: Value, failed: Value| {
        slice(json!({"name": "a", "bindingConditions": ready, "bindingFailureConditions": failed}))
    };
    let resources = |taken: Value| slice(with("nodeAllocatableResources", taken));
    let at = "spec.devices[0]";
    let mapped = format!("{at}.nodeAllocatableResources[cpu].mapping");
    let mut typed = slice(with("consumesCounters", json!([{"counterSet": "s", "counters": {"c": {"value": "1"}}}])));
    typed["partitionTypeAttribute"] = json!("d.example.com/profile");
    let mut named = typed.clone();
    named["devices"][0]["attributes"] = json!({"profile": {"string": "half"}});
    let mut skipping = slice(json!({"name": "a"}));
    skipping["skipNodeOperations"] = json!(["NodePrepareResources", "Other"]);
    refused(
        "resourceslices",
        &[
            (conditions(json!(["ready"]), json!(["failed"])), &[]),
            (
                conditions(json!(["a", "a"]), json!(["a"])),
                &[
                    &format!("{at}.bindingConditions[1]: Duplicate value: \"a\""),
                    &format!(
                        "{at}.bindingFailureConditions[0]: Invalid value: \"a\": bindingFailureConditions must not overlap with bindingConditions"
                    ),
                ],
            ),
            (
                slice(with("bindingConditions", json!(["a"]))),
                &[&format!(
                    "{at}.bindingFailureConditions: Invalid value: null: bindingFailureConditions are required to use bindingConditions"
                )],
            ),
            (resources(json!({"cpu": {"mapping": {"capacityKey": "memory", "capacityMultiplier": "2"}}})), &[]),
            (
                resources(json!({"cpu": {"mapping": {"capacityKey": "other", "deviceMultiplier": "0"}}, "pods": {}})),
                &[
                    &format!("{mapped}.capacityKey: Not found: \"other\""),
                    &format!(
                        "{mapped}.capacityMultiplier: Required value: capacityMultiplier is required when capacityKey is set"
                    ),
                    &format!("{mapped}.deviceMultiplier: Invalid value: \"0\": must be positive"),
                    &format!(
                        "{at}.nodeAllocatableResources[pods]: Invalid value: \"pods\": must be a node allocatable resource name"
                    ),
                    &format!(
                        "{at}.nodeAllocatableResources[pods]: Required value: at least one of mapping or overhead must be set"
                    ),
                ],
            ),
            (named, &[]),
            (
                typed,
                &[&format!(
                    "{at}.attributes[d.example.com/profile]: Required value: device consumes counters and `partitionTypeAttribute` names this attribute, so it must be set"
                )],
            ),
            (
                skipping,
                &[
                    "spec.skipNodeOperations[1]: Unsupported value: \"Other\": supported values: \"*\", \"NodePrepareResources\", \"NodeUnprepareResources\"",
                    "spec.skipNodeOperations: Invalid value: [\"NodePrepareResources\",\"Other\"]: NodePrepareResources cannot be skipped unless NodeUnprepareResources is also skipped",
                ],
            ),
        ],
    );
}
