//! Objects as rows of a Table.

use api::resource::Resource;
use jiff::Timestamp;
use machinery::table::{self, IncludeObject};
use serde_json::Value;

use super::target::Target;
use crate::status::{Result, Status};

/// How much of each object the rows carry.
///
/// # Errors
/// 400 for a value that is unknown.
pub fn include(target: &Target<'_>) -> Result<IncludeObject> {
    let text = target.context.query.get("includeObject").unwrap_or_default();
    IncludeObject::parse(text).ok_or_else(|| Status::bad_request(format!("unrecognized includeObject value: {text:?}")))
}

/// The column definitions of a resource.
pub fn columns(resource: &Resource) -> Vec<Value> {
    let columns = resource.behaviour.columns();
    columns.iter().map(|c| table::column(c.name, c.type_, c.format, c.description, c.priority)).collect()
}

/// The row of an object.
pub fn row(resource: &Resource, object: Value, include: IncludeObject) -> Value {
    let cells = resource.behaviour.cells(&object, Timestamp::now());
    table::row(cells, object, include)
}
