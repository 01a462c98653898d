//! What the status of a Job may become: what was counted stays counted, and what has ended stays so.

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors};
use serde_json::Value;

use crate::check::At;
use crate::read;
use crate::status::{counts, is_true, time};

/// Everything that is wrong with a change of a Job's status.
pub(super) fn validate(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let status = At::root(object).at("status");
    let before = read::at(old, "status");
    if read::same(status.value, before) {
        return errors;
    }
    counts(&status, &["active", "succeeded", "failed", "ready", "terminating"], &mut errors);
    uncounted(&status, &mut errors);
    indexes(&status, object, &mut errors);
    ending(&status, object, &mut errors);
    if read::int(status.value, "ready") > read::int(status.value, "active") {
        status.at("ready").invalid(&mut errors, "cannot set more ready pods than active");
    }
    changes(&status, object, old, &mut errors);
    errors
}

/// Pods that ended and are not yet in the numbers, each once.
fn uncounted(status: &At<'_>, errors: &mut FieldErrors) {
    let pods = status.at("uncountedTerminatedPods");
    let mut seen = HashSet::new();
    for uid in ["succeeded", "failed"].into_iter().flat_map(|list| pods.items(list).collect::<Vec<_>>()) {
        if uid.text().is_empty() {
            uid.invalid(errors, "must not be empty");
        } else if !seen.insert(uid.text()) {
            uid.duplicate(errors);
        }
    }
}

/// The places of a Job with places, such as `1,3-5`.
fn indexes(status: &At<'_>, object: &Value, errors: &mut FieldErrors) {
    let (completed, failed) = (status.at("completedIndexes"), status.at("failedIndexes"));
    if read::text(object, "spec.completionMode") != "Indexed" {
        if !completed.text().is_empty() {
            completed.invalid(errors, "cannot set non-empty completedIndexes when non-indexed completion mode");
        }
        return;
    }
    let places = read::int(object, "spec.completions");
    let ranges: Vec<Vec<(i64, i64)>> = [&completed, &failed]
        .into_iter()
        .map(|list| match ranges(list.text(), places) {
            Ok(ranges) => ranges,
            Err(wrong) => {
                list.invalid(errors, format!("error parsing {}: {wrong}", list.path));
                Vec::new()
            }
        })
        .collect();
    if failed.is_set() && !read::is_set(object, "spec.backoffLimitPerIndex") {
        failed.invalid(errors, "cannot set failedIndexes when backoffLimitPerIndex is null");
    }
    let overlap = ranges[0].iter().any(|(low, high)| ranges[1].iter().any(|(from, to)| low <= to && from <= high));
    if overlap {
        failed.invalid(errors, "failedIndexes and completedIndexes overlap");
    }
}

/// The ranges of a list of places, in order and below `places`.
pub(super) fn ranges(text: &str, places: i64) -> Result<Vec<(i64, i64)>, String> {
    let mut found: Vec<(i64, i64)> = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            text.parse::<i64>().map_err(|_| format!("cannot convert string to integer for index: {text:?}"))
        };
        let (low, high) = (number(low)?, number(high)?);
        if low < 0 || high >= places || low > high {
            return Err(format!("invalid index range: {part:?}"));
        }
        if found.last().is_some_and(|(_, last)| low <= *last) {
            return Err(format!("non-increasing order, previous: {}, current: {low}", found[found.len() - 1].1));
        }
        found.push((low, high));
    }
    Ok(found)
}

fn ending(status: &At<'_>, object: &Value, errors: &mut FieldErrors) {
    let is = |type_: &str| is_true(status.value, type_);
    let (start, completion) = (status.at("startTime"), status.at("completionTime"));
    let conditions = status.at("conditions");
    let impossible = |errors: &mut FieldErrors, wrong: &str| {
        errors.push(FieldError::invalid(&conditions.path, conditions.value.clone(), wrong));
    };
    if is("Complete") && is("Failed") {
        impossible(errors, "cannot set Complete=True and Failed=true conditions");
    }
    if is("Complete") && is("FailureTarget") {
        impossible(errors, "cannot set Complete=True and FailureTarget=true conditions");
    }
    match (is("Complete"), completion.is_set()) {
        (false, true) => {
            completion.invalid(errors, "cannot set completionTime when there is no Complete=True condition");
        }
        (true, false) => completion.required(errors, "completionTime is required for Complete jobs"),
        _ => {}
    }
    if let (Some(started), Some(completed)) = (time(status.value, "startTime"), time(status.value, "completionTime"))
        && completed < started
    {
        completion.invalid(errors, "completionTime cannot be set before startTime");
    }
    if !is("Complete") && !is("Failed") {
        return;
    }
    for field in ["active", "terminating"] {
        if read::int(status.value, field) > 0 {
            status.at(field).invalid(errors, format!("{field}>0 is invalid for finished job"));
        }
    }
    // One that never began has nothing to do.
    let nothing_to_do = read::flag(object, "spec.suspend") && read::at(object, "spec.completions").as_i64() == Some(0);
    if !start.is_set() && !nothing_to_do {
        start.required(errors, "startTime is required for finished job");
    }
    let pods = status.at("uncountedTerminatedPods");
    if ["failed", "succeeded"].iter().any(|list| !read::list(pods.value, list).is_empty()) {
        pods.invalid(errors, "uncountedTerminatedPods needs to be empty for finished job");
    }
}

fn changes(status: &At<'_>, object: &Value, old: &Value, errors: &mut FieldErrors) {
    let before = read::at(old, "status");
    let is_elastic = read::at(object, "spec.completions") == read::at(object, "spec.parallelism");
    for (field, may_shrink) in [("succeeded", is_elastic), ("failed", false)] {
        if !may_shrink && read::int(status.value, field) < read::int(before, field) {
            status.at(field).invalid(errors, format!("cannot decrease the {field} counter"));
        }
    }
    for type_ in ["Failed", "Complete", "FailureTarget", "SuccessCriteriaMet"] {
        if is_true(before, type_) && !is_true(status.value, type_) {
            let wrong = format!("cannot disable the terminal {type_}=True condition");
            errors.push(FieldError::invalid(&status.at("conditions").path, type_, wrong));
        }
    }
    let (completion, completed) = (status.at("completionTime"), read::at(before, "completionTime"));
    if !completed.is_null() && completion.value != completed {
        completion.invalid(errors, "completionTime cannot be mutated");
    }
    let (start, started) = (status.at("startTime"), read::at(before, "startTime"));
    let resumes = is_true(before, "Suspended") && !is_true(status.value, "Suspended");
    if !started.is_null() && start.value != started && !read::flag(object, "spec.suspend") && !resumes {
        let done = if start.is_set() { "modified" } else { "removed" };
        start.required(errors, &format!("startTime cannot be {done} for unsuspended job"));
    }
}
