//! The spec of a Job: numbers that agree, and the rules by which it fails and succeeds.

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors, Reason};
use machinery::names;
use serde_json::Value;

use super::status::ranges;
use crate::check::At;
use crate::kinds::domain_path;
use crate::metadata::too_long;
use crate::podspec::template;
use crate::read;

const PARALLELISM_MAX: i64 = 100_000;
const FAILED_INDEXES_MAX: i64 = 100_000;
/// Above this many completions, with a limit for each place, less is allowed at once.
const COMPLETIONS_SOFT_MAX: i64 = 100_000;
const HIGH_COMPLETIONS_PARALLELISM_MAX: i64 = 10_000;
const HIGH_COMPLETIONS_FAILED_MAX: i64 = 10_000;
const MANAGED_BY_BYTES_MAX: usize = 63;
const RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const CONDITIONS_MAX: usize = 20;
const INDEXES_BYTES_MAX: usize = 64 << 10;
const NEEDS_INDEXES: &str = "requires indexed completion mode";

/// Everything that is wrong with a job's spec, of a job or in a CronJob.
pub(crate) fn validate(spec: &At<'_>, errors: &mut FieldErrors) {
    let numbers = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    for field in numbers {
        spec.at(field).non_negative(errors);
    }
    if spec.at("maxFailedIndexes").is_set() && !spec.at("backoffLimitPerIndex").is_set() {
        spec.at("backoffLimitPerIndex").required(errors, "when maxFailedIndexes is specified");
    }
    let manager = spec.at("managedBy");
    if manager.is_set() {
        domain_path(&manager, errors);
        if manager.text().len() > MANAGED_BY_BYTES_MAX {
            errors.push(too_long(&manager.path, MANAGED_BY_BYTES_MAX));
        }
    }
    let is_indexed = spec.at("completionMode").text() == "Indexed";
    if is_indexed {
        indexed(spec, errors);
    } else {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"].iter().map(|field| spec.at(field)).filter(At::is_set)
        {
            field.invalid(errors, NEEDS_INDEXES);
        }
    }
    let failure = spec.at("podFailurePolicy");
    if failure.is_set() {
        failure_policy(spec, errors);
    }
    let success = spec.at("successPolicy");
    if success.is_set() && !is_indexed {
        success.invalid(errors, NEEDS_INDEXES);
    } else if success.is_set() {
        success_policy(spec, errors);
    }
    let replacement = spec.at("podReplacementPolicy");
    if failure.is_set() && replacement.is_set() && replacement.text() != "Failed" {
        replacement.not_supported(errors, &["Failed"]);
    }
    let pod = spec.at("template");
    template::validate(&pod, errors);
    let policy = pod.at("spec.restartPolicy");
    match policy.text() {
        "OnFailure" if failure.is_set() => {
            policy.invalid(errors, "only \"Never\" is supported when podFailurePolicy is specified");
        }
        "OnFailure" | "Never" => {}
        // What the schema does not list is said by it.
        "" | "Always" => policy.required(errors, "valid values: \"OnFailure\", \"Never\""),
        _ => policy.not_supported(errors, &["OnFailure", "Never"]),
    }
}

/// A job with places.
fn indexed(spec: &At<'_>, errors: &mut FieldErrors) {
    let (completions, parallelism, failed) =
        (spec.at("completions"), spec.at("parallelism"), spec.at("maxFailedIndexes"));
    if !completions.is_set() {
        completions.required(errors, "when completion mode is Indexed");
    }
    let above = |at: &At<'_>, most: i64| at.int().is_some_and(|number| number > most);
    if above(&parallelism, PARALLELISM_MAX) {
        let wrong = format!("must be less than or equal to {PARALLELISM_MAX} when completion mode is Indexed");
        parallelism.invalid(errors, wrong);
    }
    if completions.int().is_some_and(|count| above(&failed, count)) {
        failed.invalid(errors, "must be less than or equal to completions");
    }
    if above(&failed, FAILED_INDEXES_MAX) {
        failed.invalid(errors, format!("must be less than or equal to {FAILED_INDEXES_MAX}"));
    }
    if !above(&completions, COMPLETIONS_SOFT_MAX) || !spec.at("backoffLimitPerIndex").is_set() {
        return;
    }
    if !failed.is_set() {
        let wrong = format!("must be specified when completions is above {COMPLETIONS_SOFT_MAX}");
        failed.required(errors, &wrong);
    }
    for (field, most) in [(parallelism, HIGH_COMPLETIONS_PARALLELISM_MAX), (failed, HIGH_COMPLETIONS_FAILED_MAX)] {
        if above(&field, most) {
            let wrong = format!(
                "must be less than or equal to {most} when completions are above {COMPLETIONS_SOFT_MAX} and used with \
                 backoff limit per index"
            );
            field.invalid(errors, wrong);
        }
    }
}

/// A list has more elements than allowed.
fn too_many(list: &At<'_>, most: usize, errors: &mut FieldErrors) {
    let count = list.value.as_array().map_or(0, Vec::len);
    if count > most {
        errors.push(FieldError {
            path: list.path.clone(),
            reason: Reason::TooMany,
            value: count.into(),
            detail: format!("must have at most {most} items"),
        });
    }
}

fn failure_policy(spec: &At<'_>, errors: &mut FieldErrors) {
    let policy = spec.at("podFailurePolicy");
    too_many(&policy.at("rules"), RULES_MAX, errors);
    let pod = spec.at("template.spec");
    let containers: HashSet<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| read::list(pod.value, list))
        .map(|container| read::text(container, "name"))
        .collect();
    for rule in policy.items("rules") {
        let action = rule.at("action");
        if action.text() == "FailIndex" && !spec.at("backoffLimitPerIndex").is_set() {
            action.invalid(errors, "requires the backoffLimitPerIndex to be set");
        } else if action.text().is_empty() {
            action.required(errors, "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]");
        }
        let codes = rule.at("onExitCodes");
        let has_conditions = rule.items("onPodConditions").next().is_some();
        if codes.is_set() {
            exit_codes(&codes, &containers, errors);
        }
        conditions(&rule, errors);
        let wrong = match (codes.is_set(), has_conditions) {
            (true, true) => "specifying both OnExitCodes and OnPodConditions is not supported",
            (false, false) => "specifying one of OnExitCodes and OnPodConditions is required",
            _ => continue,
        };
        rule.invalid(errors, wrong);
    }
}

fn exit_codes(codes: &At<'_>, containers: &HashSet<&str>, errors: &mut FieldErrors) {
    let operator = codes.at("operator");
    if operator.text().is_empty() {
        operator.required(errors, "valid values: [\"In\" \"NotIn\"]");
    }
    let container = codes.at("containerName");
    if container.is_set() && !containers.contains(container.text()) {
        container.invalid(errors, "must be one of the container or initContainer names in the pod template");
    }
    let list = codes.at("values");
    let values: Vec<At<'_>> = codes.items("values").collect();
    if values.is_empty() {
        list.invalid(errors, "at least one value is required");
    }
    too_many(&list, EXIT_CODES_MAX, errors);
    for (index, value) in values.iter().enumerate() {
        if operator.text() == "In" && value.int() == Some(0) {
            value.invalid(errors, "must not be 0 for the In operator");
        }
        if values[..index].iter().any(|earlier| earlier.int() == value.int()) {
            value.duplicate(errors);
        }
    }
    if values.windows(2).any(|pair| pair[0].int() > pair[1].int()) {
        list.invalid(errors, "must be ordered");
    }
}

fn conditions(rule: &At<'_>, errors: &mut FieldErrors) {
    too_many(&rule.at("onPodConditions"), CONDITIONS_MAX, errors);
    for pattern in rule.items("onPodConditions") {
        pattern.at("type").follows(errors, names::qualified_name);
        let status = pattern.at("status");
        match status.text() {
            "True" | "False" | "Unknown" => {}
            "" => status.required(errors, "valid values: [\"False\" \"True\" \"Unknown\"]"),
            _ => status.not_supported(errors, &["False", "True", "Unknown"]),
        }
    }
}

fn success_policy(spec: &At<'_>, errors: &mut FieldErrors) {
    let policy = spec.at("successPolicy");
    if policy.items("rules").next().is_none() {
        let wrong = "at least one rules must be specified when the successPolicy is specified";
        policy.at("rules").required(errors, wrong);
    }
    too_many(&policy.at("rules"), RULES_MAX, errors);
    let completions = read::int(spec.value, "completions");
    for rule in policy.items("rules") {
        let (count, indexes) = (rule.at("succeededCount"), rule.at("succeededIndexes"));
        if !count.is_set() && !indexes.is_set() {
            rule.required(errors, "at least one of succeededCount or succeededIndexes must be specified");
        }
        if indexes.text().len() > INDEXES_BYTES_MAX {
            errors.push(too_long(&indexes.path, INDEXES_BYTES_MAX));
        }
        let mut places = None;
        match ranges(indexes.text(), completions) {
            Ok(found) if indexes.is_set() => places = Some(found.iter().map(|(low, high)| high - low + 1).sum::<i64>()),
            Ok(_) => {}
            Err(wrong) => indexes.invalid(errors, format!("error parsing succeededIndexes: {wrong}")),
        }
        count.non_negative(errors);
        let wanted = count.int().unwrap_or_default();
        if wanted > completions {
            let wrong = format!("must be less than or equal to {completions} (the number of specified completions)");
            count.invalid(errors, wrong);
        }
        if let Some(places) = places.filter(|places| wanted > *places) {
            let wrong = format!(
                "must be less than or equal to {places} (the number of indexes in the specified succeededIndexes field)"
            );
            errors.push(FieldError::invalid(&count.path, Value::from(wanted), wrong));
        }
    }
}
