//! Objects of the built-in kinds as the JSON that clients write; the first byte chooses the kind.
#![no_main]

use libfuzzer_sys::fuzz_target;
use machinery::strict;
use serde_json::Map;

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_first() else { return };
    let resources = api::registry().resources();
    let resource = &resources[usize::from(*choice) % resources.len()];
    let Ok(decoded) = strict::decode_json(body, strict::MAX_BYTES) else { return };
    let mut object = decoded.value;
    if !object.is_object() {
        return;
    }
    object["apiVersion"] = resource.group_version.to_string().into();
    object["kind"] = resource.kind.as_ref().into();
    if !object["metadata"].is_object() {
        object["metadata"] = Map::new().into();
    }
    let Some(mut object) = fuzz::complete(resource, object) else { return };
    assert_eq!(fuzz::complete(resource, object.clone()).as_ref(), Some(&object), "completing twice");
    let kind = &resource.behaviour;
    kind.prepare_create(&mut object);
    kind.name_chosen(&mut object);
    api::metadata::validate_create(resource, &object);
    kind.warnings(&object);
    kind.cells(&object, jiff::Timestamp::UNIX_EPOCH);
});
