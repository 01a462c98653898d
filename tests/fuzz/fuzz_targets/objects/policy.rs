//! Admission policies, from the JSON of their specification to verdicts on requests.
#![no_main]

use std::sync::Arc;

use api::policy::{Binding, Input, ValidatingPolicy};
use libfuzzer_sys::fuzz_target;
use machinery::strict;
use serde_json::json;

fuzz_target!(|data: &[u8]| {
    let Ok(spec) = strict::decode_json(data, 16 * 1024) else { return };
    let group = "admissionregistration.k8s.io";
    let policies = api::registry().get(group, "v1", "validatingadmissionpolicies").expect("a built-in kind");
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p"}, "spec": spec.value});
    Binding::read(&policy);
    let Some(policy) = fuzz::complete(policies, policy) else { return };
    api::metadata::validate_create(policies, &policy);
    let policy = ValidatingPolicy::read(&policy);
    let object = json!({"metadata": {"name": "x", "labels": {"a": "b"}}, "spec": {"replicas": 3, "list": [1, 2]}});
    let namespace = json!({"metadata": {"name": "n", "labels": {"env": "prod"}}});
    let request = json!({"operation": "CREATE", "namespace": "n", "userInfo": {"username": "ann"}, "dryRun": false});
    policy.validate(&Input {
        object: &object,
        old_object: &serde_json::Value::Null,
        request: &request,
        namespace: &namespace,
        params: &serde_json::Value::Null,
        request_resource: &cel::Attributes { resource: "pods".to_string(), ..cel::Attributes::default() },
        answers: &Arc::default(),
    });
});
