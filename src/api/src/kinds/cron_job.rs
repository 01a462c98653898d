//! CronJob.

use machinery::field::FieldErrors;
use machinery::meta;
use serde_json::Value;

use super::job;
use super::simple::Simple;
use crate::check::At;
use crate::edit::value_at;
use crate::podspec::defaults;
use crate::read;
use crate::table::{
    CONTAINER_COLUMNS, NONE, age, age_column, column, container_cells, name, name_column, selector, since, text,
    text_or, time_at, wide,
};

/// The behaviour of CronJobs.
pub static CRON_JOB: Simple = Simple {
    columns: &[
        name_column(),
        text("Schedule", "When jobs are made."),
        text("Timezone", "The time zone of the schedule."),
        text("Suspend", "Whether no jobs are made for now."),
        column("Active", "integer", "How many of its jobs run."),
        text("Last Schedule", "The time since a job was last due."),
        age_column(),
        CONTAINER_COLUMNS[0],
        CONTAINER_COLUMNS[1],
        wide("Selector", "The labels of its pods."),
    ],
    cells: |object, now| {
        let [containers, images] = container_cells(object, "spec.jobTemplate.spec.template.spec");
        let last = time_at(object, "status.lastScheduleTime");
        let suspended = if read::flag(object, "spec.suspend") { "True" } else { "False" };
        vec![
            name(object),
            read::text(object, "spec.schedule").into(),
            text_or(object, "spec.timeZone", NONE).into(),
            suspended.into(),
            read::list(object, "status.active").len().into(),
            last.map_or_else(|| NONE.to_string(), |last| since(Some(last), now)).into(),
            age(object, now),
            containers,
            images,
            selector(read::at(object, "spec.jobTemplate.spec.selector")).into(),
        ]
    },
    has_generation: true,
    default,
    validate,
    validate_new,
    warnings: |object| crate::podspec::warnings::of_spec(object, "spec.jobTemplate.spec.template.spec"),
    ..Simple::PLAIN
};

/// Names of its jobs add eleven characters and must stay labels.
const NAME_MAX_BYTES: usize = 52;

/// The fields of a schedule: name, lowest, highest, and names for the values from the lowest on.
const SCHEDULE_FIELDS: [(&str, i64, i64, &[&str]); 5] = [
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day of month", 1, 31, &[]),
    ("month", 1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    ("day of week", 0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];
const SCHEDULE_NAMES: [&str; 7] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

fn default(object: &mut Value) {
    if let Some(pod) = value_at(object, "spec.jobTemplate.spec.template.spec") {
        defaults::default_spec(pod);
    }
}

fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    let schedule = spec.at("schedule");
    if let Some(text) = schedule.require_text(&mut errors) {
        if text.contains("TZ") {
            schedule.invalid(&mut errors, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
        } else if let Err(wrong) = check_schedule(text) {
            schedule.invalid(&mut errors, wrong);
        }
    }
    let zone = spec.at("timeZone");
    if zone.is_set() {
        if zone.text().is_empty() || zone.text().eq_ignore_ascii_case("local") {
            let wrong = match zone.text() {
                "" => "timeZone must be nil or non-empty string",
                _ => "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
            };
            zone.invalid(&mut errors, wrong);
        } else if jiff::tz::TimeZone::get(zone.text()).is_err() {
            zone.invalid(&mut errors, format!("unknown time zone {}", zone.text()));
        }
    }
    for field in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        spec.at(field).non_negative(&mut errors);
    }
    if spec.at("concurrencyPolicy").text().is_empty() {
        spec.at("concurrencyPolicy").required(&mut errors, "");
    }
    let template = spec.at("jobTemplate.spec");
    job::validate_spec(&template, &mut errors);
    if template.at("selector").is_set() {
        template.at("selector").invalid(&mut errors, "`selector` will be auto-generated");
    }
    if template.at("manualSelector").is_true() {
        template.at("manualSelector").not_supported(&mut errors, &["nil", "false"]);
    }
    errors
}

fn validate_new(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if meta::name(object).len() > NAME_MAX_BYTES {
        let wrong = format!("must be no more than {NAME_MAX_BYTES} characters");
        At::root(object).at("metadata.name").invalid(&mut errors, wrong);
    }
    errors
}

/// Whether a text is a schedule of five fields, a name, or `@every` with a duration.
fn check_schedule(text: &str) -> Result<(), String> {
    if text.starts_with('@') {
        let is_known = SCHEDULE_NAMES.contains(&text) || text.strip_prefix("@every ").is_some_and(is_duration);
        return if is_known { Ok(()) } else { Err(format!("unrecognized descriptor: {text}")) };
    }
    let parts: Vec<&str> = text.split_whitespace().collect();
    if parts.len() != SCHEDULE_FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: {parts:?}", parts.len()));
    }
    for (part, field) in parts.iter().zip(SCHEDULE_FIELDS) {
        for range in part.split(',') {
            check_range(range, field).map_err(|wrong| format!("{}: {wrong}: {range}", field.0))?;
        }
    }
    Ok(())
}

fn is_duration(text: &str) -> bool {
    text.parse::<jiff::SignedDuration>().is_ok_and(|duration| duration.is_positive())
}

/// `*`, `5`, `1-5`, `*/10`, `1-30/2`, `mon`.
fn check_range(range: &str, (_, low, high, values): (&str, i64, i64, &[&str])) -> Result<(), String> {
    let (span, step) = range.split_once('/').map_or((range, None), |(span, step)| (span, Some(step)));
    if step.is_some_and(|step| step.parse::<u32>().map_or(true, |step| step == 0)) {
        return Err("step of range should be a positive number".to_string());
    }
    if matches!(span, "*" | "?") {
        return Ok(());
    }
    let number = |text: &str| -> Result<i64, String> {
        let named = values.iter().position(|name| name.eq_ignore_ascii_case(text));
        match (named, text.parse::<u32>()) {
            (Some(at), _) => Ok(low + at as i64),
            (None, Ok(number)) => Ok(i64::from(number)),
            (None, Err(_)) => Err("failed to parse int from".to_string()),
        }
    };
    let (first, last) = span.split_once('-').map_or((span, span), |(first, last)| (first, last));
    let (first, last) = (number(first)?, number(last)?);
    // Sunday is 0 and, for those who count from Monday, 7.
    let highest = if high == 6 { 7 } else { high };
    match () {
        () if first < low => Err(format!("beginning of range ({first}) below minimum ({low})")),
        () if last > highest => Err(format!("end of range ({last}) above maximum ({high})")),
        () if first > last => Err(format!("beginning of range ({first}) beyond end of range ({last})")),
        () => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_told_from_other_texts() {
        let good = ["* * * * *", "*/5 0-6 1,15 jan MON-fri", "@hourly", "@every 1h30m", "0 0 * * 7"];
        for text in good {
            assert_eq!(check_schedule(text), Ok(()), "{text}");
        }
        for text in [
            "* * * *",
            "60 * * * *",
            "* * 0 * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "0--0 * * * *",
            "@often",
            "x * * * *",
            "@every 0s",
        ] {
            assert!(check_schedule(text).is_err(), "{text}");
        }
    }
}
