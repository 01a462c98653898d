//! Webhooks and policies of admission.

use super::*;

fn rule() -> Value {
    json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]})
}

#[test]
fn webhooks() {
    let webhook = json!({
        "name": "a.example.com",
        "rules": [rule()],
        "clientConfig": {"service": {"namespace": "n", "name": "s", "path": "/a"}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    });
    let sound = json!({"webhooks": [webhook]});
    let form = "; desired format: https://host[/path]";
    let url = |text: &str| ("/webhooks/0/clientConfig", json!({"url": text}));
    for plural in ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"] {
        table(
            plural,
            &sound,
            &[
                (
                    &[("/webhooks/0/name", json!("a.com"))],
                    &[
                        "webhooks[0].name: Invalid value: \"a.com\": should be a domain with at least three segments separated by dots",
                    ],
                ),
                (
                    &[("/webhooks", json!([webhook, webhook]))],
                    &["webhooks[1].name: Duplicate value: \"a.example.com\""],
                ),
                (
                    &[("/webhooks/0/sideEffects", Value::Null)],
                    &["webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun"],
                ),
                (
                    &[("/webhooks/0/sideEffects", json!("Some"))],
                    &[
                        "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"",
                    ],
                ),
                (
                    &[("/webhooks/0/timeoutSeconds", json!(31))],
                    &[
                        "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
                    ],
                ),
                (
                    &[("/webhooks/0/clientConfig", json!({}))],
                    &["webhooks[0].clientConfig: Required value: exactly one of url or service is required"],
                ),
                (&[url("https://h/p")], &[]),
                (
                    &[url("http://h")],
                    &[&format!(
                        "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme{form}"
                    )],
                ),
                (
                    &[url("https://a:b@h")],
                    &[&format!(
                        "webhooks[0].clientConfig.url: Invalid value: \"\": user information is not permitted in the URL{form}"
                    )],
                ),
                (
                    &[url("https://h?q#f")],
                    &[
                        &format!(
                            "webhooks[0].clientConfig.url: Invalid value: \"f\": fragments are not permitted in the URL{form}"
                        ),
                        &format!(
                            "webhooks[0].clientConfig.url: Invalid value: \"q\": query parameters are not permitted in the URL{form}"
                        ),
                    ],
                ),
                (
                    &[("/webhooks/0/clientConfig/service", json!({"path": "a"}))],
                    &[
                        "webhooks[0].clientConfig.service.name: Required value: service name is required",
                        "webhooks[0].clientConfig.service.namespace: Required value: service namespace is required",
                        "webhooks[0].clientConfig.service.path: Invalid value: \"a\": must start with a '/'",
                    ],
                ),
                (
                    &[("/webhooks/0/clientConfig/service/path", json!("/a//b"))],
                    &["webhooks[0].clientConfig.service.path: Invalid value: \"/a//b\": segment[1] may not be empty"],
                ),
                (
                    &[("/webhooks/0/admissionReviewVersions", json!([]))],
                    &["webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1"],
                ),
                (
                    &[("/webhooks/0/admissionReviewVersions", json!(["v2", "v2"]))],
                    &[
                        "webhooks[0].admissionReviewVersions[1]: Invalid value: \"v2\": duplicate version",
                        "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\",\"v2\"]: must include at least one of v1, v1beta1",
                    ],
                ),
                (
                    &[("/webhooks/0/rules", json!([{}]))],
                    &[
                        "webhooks[0].rules[0].operations: Required value",
                        "webhooks[0].rules[0].apiGroups: Required value",
                        "webhooks[0].rules[0].apiVersions: Required value",
                        "webhooks[0].rules[0].resources: Required value",
                    ],
                ),
                (
                    &[("/webhooks/0/rules/0/operations", json!(["*", "CREATE", "GET"]))],
                    &[
                        "webhooks[0].rules[0].operations: Invalid value: [\"*\",\"CREATE\",\"GET\"]: if '*' is present, must not specify other operations",
                        "webhooks[0].rules[0].operations[2]: Unsupported value: \"GET\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"DELETE\", \"UPDATE\"",
                    ],
                ),
                (
                    &[("/webhooks/0/rules/0/resources", json!(["*/*", "pods"]))],
                    &[
                        "webhooks[0].rules[0].resources: Invalid value: [\"*/*\",\"pods\"]: if '*/*' is present, must not specify other resources",
                    ],
                ),
                (
                    &[("/webhooks/0/rules/0/resources", json!(["pods/*", "pods/status"]))],
                    &[
                        "webhooks[0].rules[0].resources[1]: Invalid value: \"pods/status\": if 'pods/*' is present, must not specify pods/status",
                    ],
                ),
                (
                    &[("/webhooks/0/matchConditions", json!([{"name": "a"}, {"name": "a", "expression": "true"}]))],
                    &[
                        "webhooks[0].matchConditions[0].expression: Required value",
                        "webhooks[0].matchConditions[1].name: Duplicate value: \"a\"",
                    ],
                ),
            ],
        );
        // Conditions are compiled when they are written, and when they are changed.
        let conditioned = |expression: &str| {
            let conditions = json!([{"name": "a", "expression": expression}]);
            with(sound.clone(), &[("/webhooks/0/matchConditions", conditions)])
        };
        let behaviour = &resource(plural).behaviour;
        assert!(behaviour.validate_new(&conditioned("object.metadata.name != 'skip-me'")).is_empty());
        let refused = behaviour.validate_new(&conditioned("... [] bad expression"));
        let text = refused[0].to_string();
        assert!(text.starts_with("webhooks[0].matchConditions[0].expression: Invalid value:"), "{text}");
        assert!(refused.len() == 1 && text.contains("compilation failed"), "{refused:?}");
        let number = behaviour.validate_new(&conditioned("1"));
        assert!(number[0].to_string().ends_with("must evaluate to bool"), "{number:?}");
        let broken = conditioned("params.a");
        assert!(behaviour.validate_update(&broken, &broken).is_empty());
        assert_eq!(behaviour.validate_update(&broken, &sound).len(), 1);
    }
}

#[test]
fn policies() {
    let sound = json!({"spec": {
        "matchConstraints": {"resourceRules": [rule()]},
        "validations": [{"expression": "object.spec.replicas < 5"}],
    }});
    table(
        "validatingadmissionpolicies",
        &sound,
        &[
            (
                &[("/spec", json!({}))],
                &[
                    "spec.matchConstraints: Required value",
                    "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
                    "spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item",
                ],
            ),
            (&[("/spec/matchConstraints", json!({}))], &["spec.matchConstraints.resourceRules: Required value"]),
            (
                &[("/spec/validations/0", json!({"expression": " ", "message": " ", "reason": "Because"}))],
                &[
                    "spec.validations[0].expression: Required value: expression is not specified",
                    "spec.validations[0].message: Invalid value: \" \": message must be non-empty if specified",
                    "spec.validations[0].reason: Unsupported value: \"Because\": supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\", \"Unauthorized\"",
                ],
            ),
            (
                &[("/spec/validations/0/expression", json!("a\n|| b"))],
                &[
                    "spec.validations[0].message: Required value: message must be specified if expression contains line breaks",
                ],
            ),
            (
                &[("/spec/validations/0/message", json!("a\nb"))],
                &["spec.validations[0].message: Invalid value: \"a\\nb\": message must not contain line breaks"],
            ),
            (&[("/spec/paramKind", json!({"apiVersion": "v1"}))], &["spec.paramKind.kind: Required value"]),
            (
                &[("/spec/auditAnnotations", json!([{"key": "a"}, {"key": "a", "valueExpression": "'x'"}]))],
                &[
                    "spec.auditAnnotations[0].valueExpression: Required value: valueExpression is not specified",
                    "spec.auditAnnotations[1].key: Duplicate value: \"a\"",
                ],
            ),
            (
                &[("/spec/variables", json!([{"name": "a", "expression": "1"}, {"name": "a", "expression": ""}]))],
                &[
                    "spec.variables[1].name: Duplicate value: \"a\"",
                    "spec.variables[1].expression: Required value: expression is not specified",
                ],
            ),
        ],
    );
    let sound = json!({"spec": {
        "matchConstraints": {"resourceRules": [rule()]},
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}}],
    }});
    table(
        "mutatingadmissionpolicies",
        &sound,
        &[
            (&[("/spec/reinvocationPolicy", Value::Null)], &["spec.reinvocationPolicy: Required value"]),
            (
                &[("/spec/matchConstraints/resourceRules/0/operations", json!(["CREATE", "DELETE"]))],
                &[
                    "spec.matchConstraints.resourceRules[0].operations[1]: Unsupported value: \"DELETE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"UPDATE\"",
                ],
            ),
            (
                &[("/spec/mutations", json!([]))],
                &["spec.mutations: Required value: mutations must contain at least one item"],
            ),
            (
                &[("/spec/mutations/0", json!({"patchType": "Other"}))],
                &[
                    "spec.mutations[0].patchType: Unsupported value: \"Other\": supported values: \"ApplyConfiguration\", \"JSONPatch\"",
                ],
            ),
            (
                &[("/spec/mutations/0/jsonPatch", Value::Null)],
                &["spec.mutations[0].jsonPatch.expression: Required value: expression is not specified"],
            ),
        ],
    );
    let sound = json!({"spec": {"policyName": "p", "validationActions": ["Deny"]}});
    table(
        "validatingadmissionpolicybindings",
        &sound,
        &[
            (
                &[("/spec", json!({}))],
                &[
                    "spec.policyName: Required value",
                    "spec.validationActions: Required value: at least one validation action is required",
                ],
            ),
            (
                &[("/spec/validationActions", json!(["Deny", "Warn", "Sing"]))],
                &[
                    "spec.validationActions[2]: Unsupported value: \"Sing\": supported values: \"Audit\", \"Deny\", \"Warn\"",
                    "spec.validationActions: Invalid value: [\"Deny\",\"Warn\",\"Sing\"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)",
                ],
            ),
            (
                &[("/spec/paramRef", json!({}))],
                &[
                    "spec.paramRef: Required value: one of name or selector must be specified",
                    "spec.paramRef.parameterNotFoundAction: Required value",
                ],
            ),
            (
                &[("/spec/paramRef", json!({"name": "a", "selector": {}, "parameterNotFoundAction": "Deny"}))],
                &[
                    "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
                    "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
                ],
            ),
        ],
    );
    for plural in ["validatingadmissionpolicybindings", "mutatingadmissionpolicybindings"] {
        assert_eq!(resource(plural).behaviour.validate_new(&sound), Vec::new());
    }
}
