//! JSON merge patches: twice is once, what differs between two objects and is written as a patch makes one of the
//! other.
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use machinery::patch;
use serde_json::{Map, Value};

/// The merge patch from one object to another, neither of which has nulls (RFC 7396 cannot set one).
fn difference(from: &Map<String, Value>, to: &Map<String, Value>) -> Value {
    let mut patch = Map::new();
    for name in from.keys().filter(|name| !to.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, new) in to {
        let changed = match (from.get(name), new) {
            (Some(Value::Object(old)), Value::Object(new)) => difference(old, new),
            (Some(old), new) if old == new => continue,
            (_, new) => new.clone(),
        };
        patch.insert(name.clone(), changed);
    }
    Value::Object(patch)
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, v)| (name, without_nulls(v))).collect()
        }
        other => other,
    }
}

fn run(data: &[u8]) -> Result<()> {
    let u = &mut Unstructured::new(data);
    let (object, patch) = (fuzz::json(u)?, fuzz::json(u)?);
    let mut once = object.clone();
    if patch::merge(&mut once, &patch).is_ok() {
        let mut twice = once.clone();
        patch::merge(&mut twice, &patch).expect("it was taken before");
        assert_eq!(once, twice);
    }
    if let (Value::Object(from), Value::Object(to)) = (without_nulls(object), without_nulls(patch)) {
        let mut patched = Value::Object(from.clone());
        patch::merge(&mut patched, &difference(&from, &to)).expect("an object");
        assert_eq!(patched, Value::Object(to));
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    // An input that ends early has said what it says.
    let _ = run(data);
});
