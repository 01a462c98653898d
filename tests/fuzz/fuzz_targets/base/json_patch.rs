//! JSON patches: done whole or not at all, and bounded in depth and size.
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use machinery::{patch, strict};
use serde_json::{Value, json};

fn pointer(u: &mut Unstructured<'_>) -> Result<String> {
    let steps = u.int_in_range(0..=4)?;
    (0..steps)
        .map(|_| Ok(format!("/{}", if u.arbitrary()? { fuzz::text(u)? } else { u.int_in_range(0..=3)?.to_string() })))
        .collect()
}

fn operation(u: &mut Unstructured<'_>) -> Result<Value> {
    let op = *u.choose(&["add", "remove", "replace", "move", "copy", "test", "other"])?;
    let mut operation = json!({"op": op, "path": pointer(u)?});
    if matches!(op, "move" | "copy") {
        operation["from"] = pointer(u)?.into();
    }
    if matches!(op, "add" | "replace" | "test") {
        operation["value"] = fuzz::json(u)?;
    }
    Ok(operation)
}

fn run(data: &[u8]) -> Result<()> {
    let u = &mut Unstructured::new(data);
    let before = fuzz::json(u)?;
    let operations = u.int_in_range(0..=24)?;
    let patch: Value = (0..operations).map(|_| operation(u)).collect::<Result<_>>()?;
    let patch = if u.ratio(1, 32)? { fuzz::json(u)? } else { patch };
    let mut after = before.clone();
    match patch::json(&mut after, &patch) {
        Ok(()) => {
            assert!(strict::depth(&after) <= strict::MAX_DEPTH);
            let bytes = |value: &Value| value.to_string().len();
            // Names may be written longer than in the pointer that brought them, by their escapes.
            assert!(bytes(&after) <= bytes(&before) + 2 * bytes(&patch) + 2 * patch::MAX_COPIED_BYTES);
        }
        Err(_) => assert_eq!(after, before, "a patch that fails changes nothing"),
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    // An input that ends early has said what it says.
    let _ = run(data);
});
