//! ControllerRevision.

use machinery::field::FieldErrors;
use machinery::gvk::GroupVersion;
use machinery::meta;
use serde_json::Value;

use super::simple::Simple;
use crate::check::At;
use crate::read;
use crate::table::{NONE, age, age_column, column, name, name_column, text};

/// The behaviour of ControllerRevisions.
pub static CONTROLLER_REVISION: Simple = Simple {
    columns: &[
        name_column(),
        text("Controller", "The object whose revision this is."),
        column("Revision", "integer", "The revision's number."),
        age_column(),
    ],
    cells: |object, now| {
        vec![name(object), controller(object).into(), read::int(object, "revision").into(), age(object, now)]
    },
    validate: |object| {
        let mut errors = FieldErrors::new();
        let root = At::root(object);
        if !root.at("data").is_set() {
            root.at("data").required(&mut errors, "data is mandatory");
        }
        root.at("revision").non_negative(&mut errors);
        errors
    },
    validate_update: |object, old| {
        let mut errors = FieldErrors::new();
        At::root(object).at("data").immutable(&mut errors, read::at(old, "data"));
        errors
    },
    ..Simple::PLAIN
};

fn controller(object: &Value) -> String {
    let Some(owner) = meta::controller_of(object) else { return NONE.to_string() };
    let kind = meta::kind(owner).to_lowercase();
    let name = read::text(owner, "name");
    match GroupVersion::parse(meta::api_version(owner)) {
        Some(found) if !found.group.is_empty() => format!("{kind}.{}/{name}", found.group),
        _ => format!("{kind}/{name}"),
    }
}
