//! `fieldsV1` as clients may send it, and writes on top of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use machinery::apply::{self, Operation, Reset, Set};
use machinery::strict;
use serde_json::json;

fuzz_target!(|data: &[u8]| {
    let Ok(fields) = strict::decode_json(data, 64 * 1024) else { return };
    if let Ok(set) = Set::decode(&fields.value) {
        let written = set.encode();
        let again = Set::decode(&written).expect("what was written can be read");
        assert_eq!(again.encode(), written);
        assert_eq!(set.paths(), again.paths());
        let mut all = set.clone();
        all.add(&again);
        assert_eq!(all.encode(), written);
        assert_eq!(set.common(&again).encode(), written);
        all.take(&again);
        assert!(all.is_empty());
    }
    let resource = api::registry().get("apps", "v1", "deployments").expect("a built-in kind");
    let entry = json!({"manager": "one", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
        "fieldsV1": fields.value});
    let containers = json!([{"name": "a", "image": "b", "ports": [{"containerPort": 80}]}]);
    let live = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "managedFields": [entry]},
        "spec": {"replicas": 1, "template": {"spec": {"containers": containers}}}});
    let patch = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"},
        "spec": {"paused": true}});
    for manager in ["one", "two"] {
        let operation = Operation {
            manager,
            subresource: "",
            api_version: "apps/v1",
            now: jiff::Timestamp::UNIX_EPOCH,
            reset: Reset::Fields(&[&["status"]]),
        };
        let _ = apply::apply(Some(&live), &patch, &operation, true, resource.schema(), resource.definitions());
        let mut new = live.clone();
        new["spec"]["replicas"] = 2.into();
        apply::update_managed(Some(&live), &mut new, &operation, resource.schema(), resource.definitions());
    }
});
