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
    for resource in api::registry().resources() {
        assert!(speaks(resource), "{}", resource.schema_name);
    }
}

#[test]
fn json_within_a_message_nests_no_deeper_than_a_body_may() {
    let revision = |levels: usize| {
        let nested = "[".repeat(levels) + &"]".repeat(levels);
        decode(&body("apps/v1", "ControllerRevision", &bytes(2, &bytes(1, nested.as_bytes()))))
    };
    assert!(revision(99).is_ok());
    for levels in [100, 126, 127, 100_000] {
        assert_eq!(revision(levels).expect_err("too deep").code(), 400, "{levels}");
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

/// A value of a schema in which every field is there and says something.
fn filled(schema: &machinery::schema::Schema, definitions: &Definitions, name: &str, depth: usize) -> Value {
    let own_name = match &schema.type_ {
        Type::Reference(name) => name.to_string(),
        _ => String::new(),
    };
    let resolved = definitions.resolve(schema);
    let is_quantity = own_name.ends_with(".Quantity");
    match &resolved.type_ {
        Type::Object { fields, .. } => {
            let mut object = Map::new();
            for (field, schema) in fields.iter().filter(|_| depth < 12) {
                object.insert(field.clone(), filled(schema, definitions, field, depth + 1));
            }
            Value::Object(object)
        }
        Type::Map { values, .. } => json!({"key": filled(values, definitions, name, depth + 1)}),
        Type::List { items, .. } => json!([filled(items, definitions, name, depth + 1)]),
        Type::String { format } => match format.as_deref() {
            Some("byte") => "eA==".into(),
            Some("quantity") => "500m".into(),
            Some("date-time-micro" | "micro-time") => "2026-01-02T03:04:05.000006Z".into(),
            Some("date-time") if own_name.ends_with("MicroTime") => "2026-01-02T03:04:05.000006Z".into(),
            Some("date-time") => "2026-01-02T03:04:05Z".into(),
            _ if is_quantity => "1Gi".into(),
            _ => format!("a {name}").into(),
        },
        Type::Integer { .. } => 7.into(),
        Type::Number { .. } => 0.5.into(),
        Type::Boolean => true.into(),
        Type::IntOrString if is_quantity => "1Gi".into(),
        Type::IntOrString => "25%".into(),
        // A schema or something else: here, something else.
        Type::Any if own_name.ends_with("OrBool") => true.into(),
        Type::Any if own_name.ends_with("OrStringArray") => json!(["a"]),
        Type::Any if own_name.ends_with("OrArray") => json!([{"type": "a"}]),
        Type::Any | Type::Reference(_) => json!({"any": ["thing"]}),
    }
}

/// Whether the message that a field holds, alone or in a list, is in the table.
fn is_numbered(schema: &machinery::schema::Schema, definitions: &Definitions) -> bool {
    match (&schema.type_, &definitions.resolve(schema).type_) {
        (Type::Reference(target), Type::Object { .. }) => FIELDS.contains_key(message_name(target).as_str()),
        (_, Type::List { items, .. }) => is_numbered(items, definitions),
        (_, Type::Map { values, .. }) => is_numbered(values, definitions),
        _ => true,
    }
}

/// The first place where two values differ.
fn difference(left: &Value, right: &Value, path: &str) -> Option<String> {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            let names: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            let of = |map: &Map<String, Value>, name: &String| map.get(name).cloned().unwrap_or_default();
            names.into_iter().find_map(|name| difference(&of(left, name), &of(right, name), &format!("{path}.{name}")))
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            left.iter().zip(right).find_map(|(left, right)| difference(left, right, path))
        }
        _ => (left != right).then(|| format!("{path}: {left} {right}")),
    }
}

/// Takes out what has no number, of which clients hear in JSON alone.
fn without_unnumbered(value: &mut Value, schema: &machinery::schema::Schema, definitions: &Definitions) {
    let own_name = match &schema.type_ {
        Type::Reference(name) => name.to_string(),
        _ => String::new(),
    };
    match (&definitions.resolve(schema).type_, value) {
        (Type::Object { fields, .. }, Value::Object(object)) => {
            let mut known = Vec::new();
            names_of(&message_name(&own_name), &mut known);
            let has_message = |name: &String| is_numbered(&fields[name], definitions);
            object.retain(|name, _| known.iter().any(|known| wire::is_same_name(name, known)) && has_message(name));
            for (name, value) in object {
                without_unnumbered(value, &fields[name], definitions);
            }
        }
        (Type::Map { values, .. }, Value::Object(object)) => {
            object.values_mut().for_each(|value| without_unnumbered(value, values, definitions));
        }
        (Type::List { items, .. }, Value::Array(list)) => {
            list.iter_mut().for_each(|value| without_unnumbered(value, items, definitions));
        }
        _ => {}
    }
}

#[test]
fn every_kind_comes_back_as_it_went() {
    let mut kinds = 0;
    for resource in api::registry().resources().iter().filter(|resource| speaks(resource)) {
        let (definitions, schema) = (resource.definitions(), resource.schema());
        let mut object = filled(schema, definitions, "", 0);
        let root =
            machinery::schema::Schema { type_: Type::Reference((&*resource.schema_name).into()), ..Default::default() };
        without_unnumbered(&mut object, &root, definitions);
        object["apiVersion"] = resource.group_version.to_string().into();
        object["kind"] = (&*resource.kind).into();
        let bytes = encode(&object).unwrap_or_else(|why| panic!("{}: {why}", resource.kind));
        let back = decode(&bytes).unwrap_or_else(|status| panic!("{}: {}", resource.kind, status.message()));
        assert_eq!(difference(&back, &object, &resource.kind), None);
        kinds += 1;
    }
    assert!(kinds > 55, "{kinds} kinds have a protobuf form");
}

#[test]
fn what_is_zero_and_set_is_told() {
    let set =
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "a"}, "spec": {"replicas": 0}});
    assert_eq!(decode(&encode(&set).expect("bytes")).expect("a ReplicaSet"), set);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "c", "ports": [{"containerPort": 80}], "livenessProbe": {"httpGet": {"port": 80}}}],
        "volumes": [{"name": "v", "emptyDir": {}}],
    }});
    assert_eq!(decode(&encode(&pod).expect("bytes")).expect("a Pod"), pod);
}

#[test]
fn whole_numbers_are_whole_however_they_come() {
    let bounds = json!({"maximum": 5, "minimum": -3, "multipleOf": 0.5, "default": 7});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "d"}, "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": bounds}}]}});
    let back = decode(&encode(&definition).expect("bytes")).expect("a definition");
    let schema = &back["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    assert_eq!((&schema["maximum"], &schema["minimum"]), (&json!(5), &json!(-3)), "{schema}");
    assert_eq!((&schema["multipleOf"], &schema["default"]), (&json!(0.5), &json!(7)), "{schema}");
}

#[test]
fn lists_events_and_failures_have_their_messages() {
    let pod = |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}});
    let list = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "7"},
        "items": [pod("a"), pod("b")]});
    let encoded = encode(&list).expect("bytes");
    let metadata = |name: &str| bytes(1, &bytes(1, name.as_bytes()));
    let raw = [bytes(1, &bytes(2, b"7")), bytes(2, &metadata("a")), bytes(2, &metadata("b"))].concat();
    assert_eq!(encoded, body("v1", "PodList", &raw));
    let event = watch_event("ADDED", &pod("a")).expect("an event");
    let object = encode(&pod("a")).expect("bytes");
    let message = [bytes(1, b"ADDED"), bytes(2, &bytes(1, &object))].concat();
    assert_eq!(event, [&(message.len() as u32).to_be_bytes()[..], &message].concat());
    let status =
        Status::not_found(&machinery::gvk::GroupResource { group: String::new(), resource: "pods".into() }, "p");
    let back = decode(&encode(&status.to_value()).expect("bytes")).expect("a Status");
    assert_eq!((&back["code"], &back["details"]["name"]), (&json!(404), &json!("p")), "{back}");
    let partial = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "a"}});
    assert_eq!(encode(&partial).expect("bytes"), body("meta.k8s.io/v1", "PartialObjectMetadata", &metadata("a")));
    assert!(encode(&json!({"apiVersion": "v1", "kind": "Nothing"})).is_err());
}
