//! Strategic merge patches, with their directives, of built-in kinds: a patch that is refused changes nothing, and one
//! without directives done twice is done once.
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use machinery::{patch, strict};
use serde_json::{Value, json};

/// Puts directives somewhere into a patch.
fn direct(u: &mut Unstructured<'_>, value: &mut Value) -> Result<()> {
    match value {
        Value::Object(fields) => {
            for field in fields.values_mut() {
                direct(u, field)?;
            }
            let names: Vec<String> = fields.keys().cloned().collect();
            match u.int_in_range(0..=15)? {
                0 => drop(fields.insert("$patch".into(), (*u.choose(&["delete", "replace", "merge", "x"])?).into())),
                1 => drop(fields.insert("$retainKeys".into(), names.into())),
                2 if !names.is_empty() => {
                    let order = fuzz::json(u)?;
                    fields.insert(format!("$setElementOrder/{}", u.choose(&names)?), order);
                }
                3 if !names.is_empty() => {
                    let gone = json!([fuzz::text(u)?, fuzz::text(u)?]);
                    fields.insert(format!("$deleteFromPrimitiveList/{}", u.choose(&names)?), gone);
                }
                4 if !names.is_empty() => drop(fields.insert(u.choose(&names)?.clone(), Value::Null)),
                _ => {}
            }
        }
        Value::Array(items) => {
            for item in items {
                direct(u, item)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn run(data: &[u8]) -> Result<()> {
    let u = &mut Unstructured::new(data);
    let resource = fuzz::resource(u)?;
    let (schema, definitions) = (resource.schema(), resource.definitions());
    let before = fuzz::object(u, resource)?;
    let mut patch = fuzz::object(u, resource)?;
    let is_plain: bool = u.arbitrary()?;
    if !is_plain {
        direct(u, &mut patch)?;
    }
    let mut once = before.clone();
    if patch::strategic(&mut once, &patch, schema, definitions).is_err() {
        assert_eq!(once, before, "a patch that fails changes nothing");
        return Ok(());
    }
    assert!(strict::depth(&once) <= strict::MAX_DEPTH + 2);
    assert!(once.to_string().len() <= before.to_string().len() + patch.to_string().len());
    if is_plain && !patch.to_string().contains("\"$") {
        let mut twice = once.clone();
        if patch::strategic(&mut twice, &patch, schema, definitions).is_ok() {
            assert_eq!(once, twice, "twice is once");
        }
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    // An input that ends early has said what it says.
    let _ = run(data);
});
