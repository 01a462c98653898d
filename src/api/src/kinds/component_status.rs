//! ComponentStatus, read only.

use serde_json::Value;

use super::simple::Simple;
use crate::read;
use crate::table::{name, name_column, text};

/// The behaviour of ComponentStatuses.
pub static COMPONENT_STATUS: Simple = Simple {
    columns: &[
        name_column(),
        text("Status", "Whether the component is healthy."),
        text("Message", "What the component says of its health."),
        text("Error", "Why its health is not known."),
    ],
    cells: |object, _| {
        let found = read::list(object, "conditions").iter().find(|found| read::text(found, "type") == "Healthy");
        let condition = found.unwrap_or(&Value::Null);
        let status = match read::text(condition, "status") {
            "True" => "Healthy",
            "False" => "Unhealthy",
            _ => "Unknown",
        };
        let of = |field: &str| Value::from(read::text(condition, field));
        vec![name(object), status.into(), of("message"), of("error")]
    },
    ..Simple::PLAIN
};
