//! ServiceAccount.

use super::simple::Simple;
use crate::read;
use crate::table::{age, age_column, column, name, name_column};

/// The behaviour of ServiceAccounts.
pub static SERVICE_ACCOUNT: Simple = Simple {
    columns: &[name_column(), column("Secrets", "integer", "How many secrets it names."), age_column()],
    cells: |object, now| vec![name(object), read::list(object, "secrets").len().into(), age(object, now)],
    ..Simple::PLAIN
};
