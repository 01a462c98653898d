//! Lease.

use machinery::field::FieldErrors;
use serde_json::Value;

use super::simple::Simple;
use crate::check::At;
use crate::read;
use crate::table::{age, age_column, name, name_column, text};

/// The behaviour of Leases.
pub static LEASE: Simple = Simple {
    columns: &[name_column(), text("Holder", "Who holds the lease."), age_column()],
    cells: |object, now| vec![name(object), read::text(object, "spec.holderIdentity").into(), age(object, now)],
    validate,
    ..Simple::PLAIN
};

fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    let duration = spec.at("leaseDurationSeconds");
    if duration.int().is_some_and(|seconds| seconds <= 0) {
        duration.invalid(&mut errors, "must be greater than 0");
    }
    spec.at("leaseTransitions").non_negative(&mut errors);
    errors
}
