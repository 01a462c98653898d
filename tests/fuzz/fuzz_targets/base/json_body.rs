//! JSON bodies: what is read is what any reader of JSON reads, the last of duplicates counts, and nothing is deeper
//! than the bound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use machinery::strict;

fuzz_target!(|data: &[u8]| {
    let read = strict::decode_json(data, strict::MAX_BYTES);
    let plain = serde_json::from_slice::<serde_json::Value>(data);
    match (read, plain) {
        (Ok(read), Ok(plain)) => {
            assert!(strict::depth(&read.value) <= strict::MAX_DEPTH);
            assert_eq!(read.value, plain);
            let written = serde_json::to_vec(&read.value).expect("a value is JSON");
            let again = strict::decode_json(&written, usize::MAX).expect("what was written can be read");
            assert!(again.duplicates.is_empty());
            assert_eq!(again.value, read.value);
        }
        (Ok(_), Err(error)) => panic!("read what is no JSON: {error}"),
        // Deeper than objects may be, and not too deep for the library.
        (Err(_), Ok(plain)) => assert!(strict::depth(&plain) > strict::MAX_DEPTH),
        (Err(_), Err(_)) => {}
    }
});
