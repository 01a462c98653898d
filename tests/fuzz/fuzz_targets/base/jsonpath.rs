//! JSON paths of printer columns, scales and selectable fields, on any object.
#![no_main]

use libfuzzer_sys::fuzz_target;
use machinery::jsonpath::JsonPath;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Some([path, object]) = fuzz::parts::<2>(data) else { return };
    let simple = JsonPath::parse_simple(path).is_ok();
    let Ok(path) = JsonPath::parse(path) else { return };
    assert_eq!(simple, path.names().is_some());
    let Ok(object) = serde_json::from_str::<Value>(object) else { return };
    let found = path.find(&object);
    if let Some(names) = path.names() {
        let plain = names.iter().try_fold(&object, |at, name| at.get(*name));
        assert!(plain.is_none() || found.first() == plain.as_ref());
    }
});
