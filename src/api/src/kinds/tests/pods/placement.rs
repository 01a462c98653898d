//! Where pods may run, annotations, and what may change.

use super::*;

#[test]
fn placement() {
    let required = |term: Value| json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}});
    let spread = |fields: Value| {
        let mut constraint =
            json!({"maxSkew": 1, "topologyKey": "k", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}});
        for (key, value) in fields.as_object().into_iter().flatten() {
            constraint[key] = value.clone();
        }
        json!({"topologySpreadConstraints": [constraint]})
    };
    let term = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]";
    let constraint = "spec.topologySpreadConstraints[0]";
    refused(&[
        (
            json!({}),
            required(json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a", "b"]}]})),
            &[&format!(
                "{term}.matchFields[0].values: Required value: must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            )],
        ),
        (
            json!({}),
            required(json!({"matchFields": [{"key": "spec.x", "operator": "Exists"}]})),
            &[
                &format!("{term}.matchFields[0].operator: Invalid value: \"Exists\": not a valid selector operator"),
                &format!("{term}.matchFields[0].key: Invalid value: \"spec.x\": not a valid field selector key"),
            ],
        ),
        (
            json!({}),
            json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "k",
                "matchLabelKeys": ["a"]}]}}}),
            &[
                "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set",
            ],
        ),
        (
            json!({}),
            json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "k",
                "labelSelector": {"matchLabels": {"b": "1"}}, "matchLabelKeys": ["a"], "mismatchLabelKeys": ["a"]}]}}}),
            &[
                "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].matchLabelKeys[0]: Invalid value: \"a\": exists in both matchLabelKeys and mismatchLabelKeys",
            ],
        ),
        (
            json!({}),
            spread(json!({"maxSkew": 0})),
            &[&format!("{constraint}.maxSkew: Invalid value: 0: must be greater than zero")],
        ),
        (
            json!({}),
            spread(json!({"minDomains": 0, "whenUnsatisfiable": "ScheduleAnyway"})),
            &[
                &format!("{constraint}.minDomains: Invalid value: 0: must be greater than zero"),
                &format!(
                    "{constraint}.minDomains: Invalid value: 0: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"
                ),
            ],
        ),
        (
            json!({}),
            spread(json!({"labelSelector": {"matchLabels": {"a": "1"}}, "matchLabelKeys": ["a"]})),
            &[&format!(
                "{constraint}.matchLabelKeys[0]: Invalid value: \"a\": exists in both matchLabelKeys and labelSelector"
            )],
        ),
        (
            json!({}),
            json!({"tolerations": [{"key": "k", "operator": "Exists", "value": "v"}]}),
            &["spec.tolerations[0].operator: Invalid value: \"v\": value must be empty when `operator` is 'Exists'"],
        ),
        (
            json!({}),
            json!({"schedulingGates": [{"name": "a b"}]}),
            &[
                "spec.schedulingGates[0]: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            ],
        ),
        (
            json!({}),
            json!({"dnsConfig": {"options": [{"value": "x"}]}}),
            &["spec.dnsConfig.options[0]: Required value: must not be empty"],
        ),
    ]);
}

#[test]
fn annotations() {
    let annotated = |key: &str, value: &str, container: Value| {
        let mut object = pod(container, json!({}));
        object["metadata"] = json!({"name": "x", "namespace": "n", "uid": "u", "annotations": {key: value}});
        create("pods", object).1
    };
    let none = json!({});
    for (key, value, expected) in [
        ("kubernetes.io/config.mirror", "h", "\"h\": must set spec.nodeName if mirror pod annotation is set"),
        ("controller.kubernetes.io/pod-deletion-cost", "+1", "\"+1\": must be a 32bit integer"),
        ("seccomp.security.alpha.kubernetes.io/pod", "x", "\"x\": must be a valid seccomp profile"),
        (
            "container.seccomp.security.alpha.kubernetes.io/c",
            "localhost//x",
            "\"localhost//x\": must be a relative path",
        ),
        ("container.apparmor.security.beta.kubernetes.io/d", "unconfined", "\"d\": container not found"),
        ("container.apparmor.security.beta.kubernetes.io/c", "x", "\"x\": invalid AppArmor profile name: \"x\""),
    ] {
        assert_eq!(
            annotated(key, value, none.clone()),
            [format!("metadata.annotations[{key}]: Invalid value: {expected}")],
            "{key}"
        );
    }
    assert!(annotated("controller.kubernetes.io/pod-deletion-cost", "-10", none).is_empty());
    let profile = json!({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}, "appArmorProfile": {"type": "Localhost", "localhostProfile": "p"}}});
    assert_eq!(
        annotated("container.seccomp.security.alpha.kubernetes.io/c", "unconfined", profile.clone()),
        [
            "spec.containers[0].securityContext.seccompProfile.type: Forbidden: seccomp type in annotation and field must match"
        ]
    );
    assert_eq!(
        annotated("container.apparmor.security.beta.kubernetes.io/c", "localhost/q", profile),
        [
            "spec.containers[0].securityContext.appArmorProfile.localhostProfile: Forbidden: apparmor profile in annotation and field must match"
        ]
    );
}

#[test]
fn what_may_change_of_a_pod_that_waits_for_its_gates() {
    let gated = pod(
        json!({}),
        json!({"schedulingGates": [{"name": "g"}], "nodeSelector": {"a": "1"}, "affinity": {"nodeAffinity":
            {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms":
                [{"matchExpressions": [{"key": "k", "operator": "Exists"}]}]}}}}),
    );
    const TERMS: &str = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    assert!(update("pods", gated.clone(), |object| object["spec"]["nodeSelector"]["b"] = json!("2")).is_empty());
    assert_eq!(
        update("pods", gated.clone(), |object| object["spec"]["nodeSelector"] = json!({"b": "2"})),
        [
            "spec.nodeSelector: Invalid value: {\"b\":\"2\"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        ]
    );
    assert!(
        update("pods", gated.clone(), |object| {
            let term = object.pointer_mut(TERMS).expect("terms");
            term[0]["matchExpressions"].as_array_mut().expect("a list").push(json!({"key": "l", "operator": "Exists"}));
        })
        .is_empty()
    );
    let path = TERMS[1..].replace('/', ".");
    assert_eq!(
        update("pods", gated.clone(), |object| {
            object.pointer_mut(TERMS).expect("terms")[0]["matchExpressions"][0]["key"] = json!("l");
        }),
        [format!(
            "{path}[0]: Invalid value: {{\"matchExpressions\":[{{\"key\":\"l\",\"operator\":\"Exists\"}}]}}: only additions are allowed (no mutations or deletions)"
        )]
    );
    assert_eq!(
        update("pods", gated.clone(), |object| object["spec"]["affinity"] = json!({})),
        [format!(
            "{path}: Invalid value: null: no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        )]
    );
    assert_eq!(
        update("pods", gated, |object| object["spec"]["schedulingGates"][0]["name"] = json!("h")),
        ["spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'h'"]
    );
}

#[test]
fn mirror_pods_stay_what_they_are() {
    let plain = pod(json!({}), json!({"nodeName": "n"}));
    assert_eq!(
        update("pods", plain, |object| object["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "h"})),
        ["metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not add mirror pod annotation"]
    );
    let mut mirror = pod(json!({}), json!({"nodeName": "n"}));
    mirror["metadata"] =
        json!({"name": "x", "namespace": "n", "uid": "u", "annotations": {"kubernetes.io/config.mirror": "h"}});
    assert_eq!(
        update("pods", mirror.clone(), |object| object["metadata"]["annotations"] = json!({})),
        [
            "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not remove or update mirror pod annotation"
        ]
    );
    let (old, _) = create("pods", mirror);
    let behaviour = &resource("pods").behaviour;
    for (subresource, expected) in [
        ("ephemeralcontainers", "<nil>: Forbidden: static pods do not support ephemeral containers"),
        ("resize", "<nil>: Forbidden: static pods cannot be resized"),
    ] {
        let errors: Vec<String> =
            behaviour.validate_subresource_update(subresource, &old, &old).iter().map(ToString::to_string).collect();
        assert_eq!(errors, [expected]);
    }
}
