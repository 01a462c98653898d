//! Namespace.

use super::simple::Simple;
use crate::read;
use crate::table::{age, age_column, name, name_column, text};

/// The behaviour of Namespaces.
pub static NAMESPACE: Simple = Simple {
    columns: &[name_column(), text("Status", "Whether the namespace is in use or ending."), age_column()],
    cells: |object, now| vec![name(object), read::text(object, "status.phase").into(), age(object, now)],
    fields: &["status.phase", "name"],
    ..Simple::PLAIN
};
