use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::json;

use super::*;

/// A field that holds bytes: a text or a message.
fn bytes(number: u32, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_key(number, WireType::LengthDelimited, &mut out);
    encode_varint(value.len() as u64, &mut out);
    out.extend_from_slice(value);
    out
}

fn number(field: u32, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    encode_key(field, WireType::Varint, &mut out);
    encode_varint(value, &mut out);
    out
}

fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let type_meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), bytes(1, &type_meta), bytes(2, raw)].concat()
}

#[test]
fn a_config_map_comes_through_without_gos_zeros() {
    let metadata = [bytes(1, b"settings"), bytes(2, b""), bytes(8, b""), number(7, 0)].concat();
    let entry = [bytes(1, b"a"), bytes(2, b"b")].concat();
    let empty = [bytes(1, b"e"), bytes(2, b"")].concat();
    let binary = [bytes(1, b"x"), bytes(2, &[0xff])].concat();
    let raw = [bytes(1, &metadata), bytes(2, &entry), bytes(2, &empty), bytes(3, &binary)].concat();
    assert_eq!(
        decode(&body("v1", "ConfigMap", &raw)).expect("a ConfigMap"),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"},
            "data": {"a": "b", "e": ""}, "binaryData": {"x": "/w=="}})
    );
}

#[test]
fn a_pod_comes_through_with_inlined_parts_quantities_and_pointers_to_zero() {
    let quantity = [bytes(1, b"cpu"), bytes(2, &bytes(1, b"100m"))].concat();
    let resources = bytes(2, &quantity);
    let get = [bytes(1, b"/"), bytes(2, &[number(1, 0), number(2, 80), bytes(3, b"")].concat())].concat();
    let probe = [bytes(1, &bytes(2, &get)), number(3, 0), number(4, 5)].concat();
    let container = [bytes(1, b"c"), bytes(8, &resources), bytes(10, &probe)].concat();
    let volume = [bytes(1, b"v"), bytes(2, &bytes(2, b""))].concat();
    let spec = [bytes(2, &container), bytes(1, &volume), number(4, 0), number(11, 0), bytes(10, b"")].concat();
    let raw = [bytes(1, &bytes(1, b"p")), bytes(2, &spec)].concat();
    let pod = decode(&body("v1", "Pod", &raw)).expect("a Pod");
    assert_eq!(pod["spec"]["containers"][0]["resources"], json!({"requests": {"cpu": "100m"}}));
    assert_eq!(
        pod["spec"]["containers"][0]["livenessProbe"],
        json!({"httpGet": {"path": "/", "port": 80}, "periodSeconds": 5})
    );
    assert_eq!(pod["spec"]["volumes"], json!([{"name": "v", "emptyDir": {}}]));
    assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 0);
    assert!(pod["spec"].get("hostNetwork").is_none() && pod["spec"].get("nodeName").is_none());
}

#[test]
fn every_message_of_the_registry_is_in_the_table() {
    // What came after the table was made is refused with a message that says so.
    const NEWER: [&str; 1] = ["storagemigration.k8s.io"];
    for resource in api::registry().resources() {
        let known = FIELDS.contains_key(message_name(resource.schema_name).as_str());
        let newer = NEWER.contains(&resource.group_version.group.as_str())
            || resource.kind.starts_with("MutatingAdmissionPolicy")
            || matches!(resource.kind, "ClusterTrustBundle" | "PodCertificateRequest" | "DeviceTaintRule");
        assert!(known || newer, "{}", resource.schema_name);
    }
}

#[test]
fn damaged_bodies_are_refused() {
    let whole = body("v1", "ConfigMap", &bytes(1, &bytes(1, b"settings")));
    for end in 0..whole.len() {
        // Cut anywhere, it is refused or an object with less in it; it never panics.
        let _ = decode(&whole[..end]);
    }
    assert!(decode(b"{}").is_err());
    assert!(decode(&body("v1", "Nothing", b"")).is_err());
}

/// The fields in JSON of a message, those of inlined messages among them.
fn names_of(message: &str, into: &mut Vec<&'static str>) {
    for known in FIELDS.get(message).into_iter().flat_map(HashMap::values) {
        into.push(known.name);
        known.inlined.into_iter().for_each(|inlined| names_of(inlined, into));
    }
}

const ALPHA: [&str; 6] = [
    "io.k8s.api.core.v1.NodeSystemInfo runningInUserNamespace",
    "io.k8s.api.resource.v1.DeviceCounterConsumption compatibilityGroups",
    "io.k8s.api.resource.v1.DeviceDerivedAttribute expression",
    "io.k8s.api.resource.v1.DeviceDerivedAttribute name",
    "io.k8s.api.resource.v1.DeviceSubRequest derivedAttributes",
    "io.k8s.api.resource.v1.ExactDeviceRequest derivedAttributes",
];

#[test]
fn every_field_of_every_kind_has_a_number() {
    let mut missing = std::collections::BTreeSet::new();
    for resource in api::registry().resources() {
        for (name, schema) in &resource.definitions().0 {
            let Type::Object { fields, .. } = &schema.type_ else { continue };
            let mut known = Vec::new();
            names_of(&message_name(name), &mut known);
            // apiVersion and kind of an object are the envelope's.
            let is_object = fields.contains_key("metadata");
            let absent = fields.keys().filter(|field| !known.iter().any(|known| wire::is_same_name(field, known)));
            let absent = absent.filter(|field| !(is_object && ["apiVersion", "kind"].contains(&field.as_str())));
            missing.extend(absent.map(|field| format!("{name} {field}")));
        }
    }
    // Alpha fields that the published definitions do not number yet; clients that send them use JSON.
    let alpha = |name: &str| name.contains(".v1alpha") || ALPHA.contains(&name);
    missing.retain(|name| !alpha(name));
    assert!(missing.is_empty(), "{missing:#?}");
}
