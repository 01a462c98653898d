//! Server-side apply of built-in kinds on objects with any history: applying twice is applying once, a forced apply
//! has no conflicts, what is refused says so, and every managedFields list that is written can be read.
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use machinery::apply::{self, Operation, Set};
use machinery::meta;
use serde_json::Value;

fn check(object: &Value) {
    for entry in meta::managed_fields(object) {
        let set = Set::decode(&entry["fieldsV1"]).expect("what was written can be read");
        assert_eq!(set.encode(), entry["fieldsV1"]);
    }
}

fn run(data: &[u8]) -> Result<()> {
    let u = &mut Unstructured::new(data);
    let resource = fuzz::resource(u)?;
    let (schema, definitions) = (resource.schema(), resource.definitions());
    let api_version = resource.group_version.to_string();
    let mut live: Option<Value> = None;
    for _ in 0..u.int_in_range(1..=4)? {
        let subresource = *u.choose(&["", "", "status"])?;
        let operation = Operation {
            manager: u.choose(&["kubectl", "one", "two"])?,
            subresource,
            api_version: &api_version,
            now: jiff::Timestamp::UNIX_EPOCH,
            reset: resource.behaviour.reset_fields(subresource),
        };
        let mut object = fuzz::object(u, resource)?;
        if u.arbitrary()? {
            let Some(mut object) = fuzz::complete(resource, object) else { return Ok(()) };
            if u.arbitrary()?
                && let Some(live) = &live
            {
                meta::set(&mut object, "managedFields", live["metadata"]["managedFields"].clone());
            }
            apply::update_managed(live.as_ref(), &mut object, &operation, schema, definitions);
            live = Some(object);
            continue;
        }
        machinery::schema::prune(&mut object, schema, definitions);
        if machinery::schema::decode(&mut object, schema, definitions).is_err() {
            return Ok(());
        }
        meta::set(&mut object, "managedFields", Value::Null);
        let force = u.arbitrary()?;
        match apply::apply(live.as_ref(), &object, &operation, force, schema, definitions) {
            Ok(once) => {
                check(&once);
                // Where nobody owns anything, the next apply meets an owner of everything, as in Kubernetes.
                if meta::managed_fields(&once).is_empty() {
                    return Ok(());
                }
                let twice = apply::apply(Some(&once), &object, &operation, false, schema, definitions);
                assert_eq!(twice.as_ref(), Ok(&once), "twice is once");
                live = Some(once);
            }
            Err(apply::Error::Conflicts(conflicts)) => {
                assert!(!force && !conflicts.0.is_empty());
                conflicts.0.iter().for_each(|conflict| drop(conflict.message()));
            }
            Err(apply::Error::Invalid(why)) => assert!(!why.is_empty()),
        }
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    // An input that ends early has said what it says.
    let _ = run(data);
});
