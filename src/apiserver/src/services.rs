//! Addresses and node ports of services, chosen while a service is written, so that the client's answer has them.
//!
//! What is chosen is a [`Promise`] until the service is kept: a write that fails gives it back. What is taken is
//! counted from the store on first use and kept up from then on by this server's own writes.

mod allocator;
mod fields;

use machinery::field::FieldErrors;
use machinery::meta;
use serde_json::Value;
use store::RangeOptions;

pub use allocator::{Allocator, Promise};

use crate::rest::target::Target;
use crate::status::Result;
use crate::storage;

fn is_service(target: &Target<'_>) -> bool {
    target.resource.plural == "services"
        && target.resource.group_version.group.is_empty()
        && target.subresource.is_none()
}

/// Chooses addresses and ports of a new service, or takes those it names.
///
/// # Errors
/// 422 for addresses and ports that are taken or out of range.
pub async fn before_create(target: &Target<'_>, object: &mut Value, dry_run: bool) -> Result<Promise> {
    if !is_service(target) {
        return Ok(Promise::nothing());
    }
    let allocator = loaded(target).await?;
    let mut promise = allocator.promise(dry_run);
    let mut errors = FieldErrors::new();
    fields::assign(object, &mut promise, &mut errors);
    finish(target, object, promise, errors)
}

/// The same for a change: what the new service still has stays its own, the rest is given back once it is kept.
///
/// # Errors
/// 422 for addresses and ports that are taken or out of range.
pub async fn before_update(target: &Target<'_>, object: &mut Value, old: &Value, dry_run: bool) -> Result<Promise> {
    if !is_service(target) {
        return Ok(Promise::nothing());
    }
    let allocator = loaded(target).await?;
    let mut promise = allocator.promise(dry_run);
    let mut errors = FieldErrors::new();
    fields::carry_over(object, old);
    promise.own(fields::used(old));
    fields::assign(object, &mut promise, &mut errors);
    promise.give_back_when_kept(fields::used(old), &fields::used(object));
    finish(target, object, promise, errors)
}

fn finish(target: &Target<'_>, object: &Value, promise: Promise, errors: FieldErrors) -> Result<Promise> {
    if errors.is_empty() { Ok(promise) } else { Err(target.invalid(meta::name(object), &errors)) }
}

/// Gives back what a deleted service had.
pub fn after_delete(target: &Target<'_>, object: &Value) {
    if target.resource.plural == "services" && target.resource.group_version.group.is_empty() {
        target.state().services.release(&fields::used(object));
    }
}

async fn loaded<'a>(target: &Target<'a>) -> Result<&'a Allocator> {
    let state = target.state();
    let _one_at_a_time = state.services.loading.lock().await;
    if !state.services.is_loaded() {
        let range = state.store.range(&storage::prefix(target.resource, ""), RangeOptions::default()).await;
        let mut used = fields::Used::default();
        for entry in range.map_err(storage::failure)?.entries {
            used.extend(fields::used(&storage::decode(&entry)?));
        }
        state.services.load(used);
    }
    Ok(&state.services)
}
