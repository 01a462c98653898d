//! RuntimeClass.

use super::simple::Simple;
use crate::read;
use crate::table::{age, age_column, name, name_column, text};

/// The behaviour of RuntimeClasses.
pub static RUNTIME_CLASS: Simple = Simple {
    columns: &[name_column(), text("Handler", "The runtime's own name for it."), age_column()],
    cells: |object, now| vec![name(object), read::text(object, "handler").into(), age(object, now)],
    ..Simple::PLAIN
};
