//! Objects of the built-in kinds, from what a client sends to what is stored and shown. Completing twice changes
//! nothing more, and no kind panics on what its schema lets through.
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

use api::metadata::{validate_create, validate_subresource_update, validate_update};

fn run(data: &[u8]) -> Result<()> {
    let u = &mut Unstructured::new(data);
    let resource = fuzz::resource(u)?;
    let kind = &resource.behaviour;
    let Some(mut new) = fuzz::complete(resource, fuzz::object(u, resource)?) else { return Ok(()) };
    assert_eq!(fuzz::complete(resource, new.clone()).as_ref(), Some(&new), "completing twice");

    let mut created = new.clone();
    kind.prepare_create(&mut created);
    kind.name_chosen(&mut created);
    validate_create(resource, &created);
    kind.warnings(&created);
    assert_eq!(kind.cells(&created, jiff::Timestamp::UNIX_EPOCH).len(), kind.columns().len());
    for field in kind.fields() {
        assert!(kind.field(&created, field).is_some());
    }

    let old = match u.arbitrary()? {
        true => created,
        false => match fuzz::complete(resource, fuzz::object(u, resource)?) {
            Some(old) => old,
            None => return Ok(()),
        },
    };
    for subresource in ["status", "approval", "finalize", "ephemeralcontainers", "resize"] {
        let mut changed = new.clone();
        kind.prepare_subresource_update(subresource, &mut changed, &old);
        validate_subresource_update(resource, subresource, &changed, &old);
    }
    kind.prepare_update(&mut new, &old);
    validate_update(resource, &new, &old);
    if resource.storage.is_some() {
        let stored = kind.to_stored(new);
        kind.to_served(stored);
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    // An input that ends early has said what it says.
    let _ = run(data);
});
