//! CustomResourceDefinitions and objects of them: what validation lets through can be served, and completing an object
//! twice changes nothing more. The input is the schema and an object, as JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use machinery::strict;
use serde_json::{Value, json};

fn definition(schema: &Value) -> Value {
    let names = json!({"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com", "uid": "u"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": names,
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": schema}}],
        },
        "status": {"acceptedNames": names, "storedVersions": ["v1"]},
    })
}

fuzz_target!(|data: &[u8]| {
    let Some([schema, object]) = fuzz::parts::<2>(data) else { return };
    let Ok(schema) = strict::decode_json(schema.as_bytes(), 16 * 1024) else { return };
    let of_definitions =
        api::registry().get("apiextensions.k8s.io", "v1", "customresourcedefinitions").expect("a built-in kind");
    let Some(definition) = fuzz::complete(of_definitions, definition(&schema.value)) else { return };
    if !api::metadata::validate_create(of_definitions, &definition).is_empty() {
        return;
    }
    let resources = api::custom::resources(&definition);
    let [resource] = resources.as_slice() else { panic!("one version is served") };
    let Ok(object) = strict::decode_json(object.as_bytes(), 16 * 1024) else { return };
    let mut object = object.value;
    if !object.is_object() {
        return;
    }
    object["apiVersion"] = "example.com/v1".into();
    object["kind"] = "Thing".into();
    let Some(once) = fuzz::complete(resource, object) else { return };
    assert_eq!(fuzz::complete(resource, once.clone()).as_ref(), Some(&once), "completing twice");
    api::metadata::validate_create(resource, &once);
    api::metadata::validate_update(resource, &once, &once);
    resource.behaviour.cells(&once, jiff::Timestamp::UNIX_EPOCH);
});
