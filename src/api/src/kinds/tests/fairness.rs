//! What is refused of flow schemas and priority levels, rule by rule.

use super::*;

fn refused(plural: &str, cases: &[(Value, &[&str])]) {
    for (spec, expected) in cases {
        assert_eq!(&create(plural, json!({ "spec": spec })).1, expected, "{plural} {spec}");
    }
}

#[test]
fn schemas() {
    let rule =
        |rule: Value| json!({"matchingPrecedence": 5, "priorityLevelConfiguration": {"name": "p"}, "rules": [rule]});
    let user = json!({"kind": "User", "user": {"name": "u"}});
    let get = json!({"verbs": ["get"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]});
    let at = "spec.rules[0]";
    refused(
        "flowschemas",
        &[
            (rule(json!({"subjects": [user], "resourceRules": [get]})), &[]),
            (
                json!({"matchingPrecedence": 1, "priorityLevelConfiguration": {}}),
                &[
                    "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
                    "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
                ],
            ),
            (
                json!({"matchingPrecedence": 10_001, "priorityLevelConfiguration": {"name": "p"}}),
                &["spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000"],
            ),
            (
                rule(json!({})),
                &[
                    &format!("{at}.subjects: Required value: subjects must contain at least one value"),
                    &format!(
                        "{at}: Required value: at least one of resourceRules and nonResourceRules has to be non-empty"
                    ),
                ],
            ),
            (
                rule(json!({"subjects": [{"kind": "User", "group": {"name": "g"}}], "resourceRules": [get]})),
                &[
                    &format!("{at}.subjects[0].user: Required value: user is required when subject kind is 'User'"),
                    &format!("{at}.subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'"),
                ],
            ),
            (
                rule(
                    json!({"subjects": [user], "resourceRules": [{"verbs": ["get", "*"], "apiGroups": [], "resources": ["a"]}]}),
                ),
                &[
                    &format!(
                        "{at}.resourceRules[0].verbs: Invalid value: [\"get\",\"*\"]: if '*' is present, must not specify other verbs"
                    ),
                    &format!(
                        "{at}.resourceRules[0].apiGroups: Required value: resource rules must supply at least one api group"
                    ),
                    &format!(
                        "{at}.resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace"
                    ),
                ],
            ),
            (
                rule(
                    json!({"subjects": [user], "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["a", "/b//c", "/d*"]}]}),
                ),
                &[
                    &format!(
                        "{at}.nonResourceRules[0].nonResourceURLs[0]: Invalid value: \"a\": must start with slash"
                    ),
                    &format!(
                        "{at}.nonResourceRules[0].nonResourceURLs[1]: Invalid value: \"/b//c\": must not contain double slash"
                    ),
                    &format!(
                        "{at}.nonResourceRules[0].nonResourceURLs[2]: Invalid value: \"/d*\": wildcard can only do suffix matching"
                    ),
                ],
            ),
        ],
    );
}

#[test]
fn levels() {
    let limited = |response: Value| json!({"type": "Limited", "limited": {"limitResponse": response}});
    let queuing = "spec.limited.limitResponse.queuing";
    refused(
        "prioritylevelconfigurations",
        &[
            (
                json!({"type": "Exempt"}),
                &["spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'"],
            ),
            (json!({"type": "Limited"}), &["spec.limited: Required value: must not be empty when type is Limited"]),
            (limited(json!({"type": "Reject"})), &[]),
            (
                limited(json!({"type": "Queue", "queuing": {"queues": 4, "handSize": 5, "queueLengthLimit": 0}})),
                &[
                    &format!("{queuing}.queueLengthLimit: Invalid value: 0: must be positive"),
                    &format!("{queuing}.handSize: Invalid value: 5: should not be greater than queues (4)"),
                ],
            ),
            (
                limited(json!({"type": "Queue", "queuing": {"queues": 512, "handSize": 8, "queueLengthLimit": 1}})),
                &[&format!(
                    "{queuing}.handSize: Invalid value: 8: required entropy bits of deckSize 512 and handSize 8 should not be greater than 60"
                )],
            ),
        ],
    );
}
