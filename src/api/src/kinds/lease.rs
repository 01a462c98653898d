//! Lease.

use super::simple::Simple;
use crate::read;
use crate::table::{age, age_column, name, name_column, text};

/// The behaviour of Leases.
pub static LEASE: Simple = Simple {
    columns: &[name_column(), text("Holder", "Who holds the lease."), age_column()],
    cells: |object, now| vec![name(object), read::text(object, "spec.holderIdentity").into(), age(object, now)],
    ..Simple::PLAIN
};
