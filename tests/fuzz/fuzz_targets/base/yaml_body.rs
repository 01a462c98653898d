//! YAML bodies and files: bounded in depth, and JSON is YAML that says the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use machinery::strict::{self, Booleans};

fuzz_target!(|data: &[u8]| {
    for booleans in [Booleans::Yaml11, Booleans::Yaml12] {
        let documents = strict::decode_yaml_documents(data, strict::MAX_BYTES, booleans).unwrap_or_default();
        for document in &documents {
            assert!(strict::depth(&document.value) <= strict::MAX_DEPTH);
        }
    }
    let Ok(read) = strict::decode_yaml(data, strict::MAX_BYTES) else { return };
    assert!(strict::depth(&read.value) <= strict::MAX_DEPTH);
    let written = serde_json::to_vec(&read.value).expect("a value is JSON");
    let as_json = strict::decode_json(&written, usize::MAX).expect("what was written can be read");
    assert_eq!(as_json.value, read.value);
});
