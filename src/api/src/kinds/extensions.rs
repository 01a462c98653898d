//! CustomResourceDefinition and APIService: stored and served.

use machinery::apply::Reset;
use serde_json::Value;

use super::simple::Simple;
use crate::read;
use crate::table::{age, age_column, name, name_column, text};

/// The behaviour of CustomResourceDefinitions.
pub static CRD: Simple =
    Simple { has_generation: true, reset_in_status: Reset::Fields(&[&["metadata"], &["spec"]]), ..Simple::CREATED_AT };

/// The behaviour of APIServices.
pub static API_SERVICE: Simple = Simple {
    columns: &[
        name_column(),
        text("Service", "Who serves the group and version."),
        text("Available", "Whether it answers."),
        age_column(),
    ],
    cells: |object, now| vec![name(object), service(object).into(), available(object).into(), age(object, now)],
    fields: &["spec.service.name", "spec.service.namespace"],
    reset_in_status: Reset::Fields(&[&["metadata"], &["spec"]]),
    ..Simple::PLAIN
};

fn service(object: &Value) -> String {
    let service = read::at(object, "spec.service");
    if service.is_null() {
        return "Local".to_string();
    }
    format!("{}/{}", read::text(service, "namespace"), read::text(service, "name"))
}

fn available(object: &Value) -> String {
    let found = read::list(object, "status.conditions").iter().find(|found| found["type"] == "Available");
    let Some(condition) = found else { return "Unknown".to_string() };
    match (read::text(condition, "status"), read::text(condition, "reason")) {
        ("True", _) => "True".to_string(),
        (status, reason) => format!("{status} ({reason})"),
    }
}
