//! Job.

use jiff::Timestamp;
use machinery::{meta, table::human_duration};
use serde_json::Value;

use super::simple::Simple;
use crate::read;
use crate::table::{
    CONTAINER_COLUMNS, age, age_column, container_cells, has_condition, name, name_column, selector, text, time_at,
    wide,
};

/// The behaviour of Jobs.
pub static JOB: Simple = Simple {
    columns: &[
        name_column(),
        text("Status", "Where the job stands."),
        text("Completions", "How many pods succeeded, of how many wanted."),
        text("Duration", "How long the job ran."),
        age_column(),
        CONTAINER_COLUMNS[0],
        CONTAINER_COLUMNS[1],
        wide("Selector", "The labels of its pods."),
    ],
    cells: |object, now| {
        let [containers, images] = container_cells(object, "spec.template.spec");
        vec![
            name(object),
            status(object).into(),
            completions(object).into(),
            duration(object, now).into(),
            age(object, now),
            containers,
            images,
            selector(read::at(object, "spec.selector")).into(),
        ]
    },
    fields: &["status.successful"],
    has_generation: true,
    ..Simple::PLAIN
};

fn status(object: &Value) -> &'static str {
    if has_condition(object, "Complete") {
        "Complete"
    } else if has_condition(object, "Failed") {
        "Failed"
    } else if meta::is_terminating(object) {
        "Terminating"
    } else if has_condition(object, "Suspended") {
        "Suspended"
    } else if has_condition(object, "FailureTarget") {
        "FailureTarget"
    } else if has_condition(object, "SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn completions(object: &Value) -> String {
    let succeeded = read::int(object, "status.succeeded");
    match (read::at(object, "spec.completions").as_i64(), read::int(object, "spec.parallelism")) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration(object: &Value, now: Timestamp) -> String {
    let Some(start) = time_at(object, "status.startTime") else { return String::new() };
    let end = time_at(object, "status.completionTime").unwrap_or(now);
    human_duration(end.duration_since(start).as_millis())
}
