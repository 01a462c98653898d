//! Secret.

use super::simple::Simple;
use crate::read;
use crate::table::{age, age_column, column, name, name_column, text};

/// The behaviour of Secrets.
pub static SECRET: Simple = Simple {
    columns: &[
        name_column(),
        text("Type", "What the secret is used for."),
        column("Data", "integer", "How many keys it has."),
        age_column(),
    ],
    cells: |object, now| {
        let count = read::map(object, "data").len();
        vec![name(object), read::text(object, "type").into(), count.into(), age(object, now)]
    },
    fields: &["type"],
    ..Simple::PLAIN
};
