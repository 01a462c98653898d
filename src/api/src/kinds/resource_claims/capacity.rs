//! How much of a device's capacity one request may take where many share the device (KEP-5075).

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors};
use machinery::quantity::Quantity;

use super::names::sized;
use crate::check::At;

const VALUES_MAX: usize = 10;

/// Either the amounts that may be asked for, or a range of them; and the one that is taken where nothing is asked.
pub(super) fn validate_policy(policy: &At<'_>, most: Quantity, errors: &mut FieldErrors) {
    let (values, range) = (policy.at("validValues"), policy.at("validRange"));
    let has_values = policy.items("validValues").next().is_some();
    let way = match (has_values, range.is_set()) {
        (true, true) => {
            let wrong = "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time";
            return policy.forbidden(errors, wrong);
        }
        (true, false) => "validValues",
        (false, true) => "validRange",
        (false, false) => return,
    };
    let Some(default) = policy.at("default").quantity() else {
        return policy.at("default").required(errors, &format!("required when {way} is defined"));
    };
    if has_values { among(policy, &values, default, most, errors) } else { within(&range, default, most, errors) }
}

fn invalid(at: &At<'_>, value: Quantity, wrong: &str, errors: &mut FieldErrors) {
    errors.push(FieldError::invalid(&at.path, value.to_string(), wrong));
}

fn among(policy: &At<'_>, values: &At<'_>, default: Quantity, most: Quantity, errors: &mut FieldErrors) {
    let amounts: Vec<(At<'_>, Quantity)> =
        policy.items("validValues").filter_map(|value| value.quantity().map(|amount| (value, amount))).collect();
    for pair in amounts.windows(2) {
        if let [(_, before), (at, amount)] = pair
            && before > amount
        {
            invalid(at, *amount, "values must be sorted in ascending order", errors);
        }
    }
    if amounts.len() > VALUES_MAX {
        sized(policy, "validValues", VALUES_MAX, errors);
    } else {
        let mut seen = HashSet::new();
        for (at, amount) in &amounts {
            if *amount > most {
                invalid(at, *amount, &format!("option is larger than capacity value: {most}"), errors);
            }
            if !seen.insert(*amount) {
                errors.push(FieldError::duplicate(&at.path, amount.to_string()));
            }
        }
        if amounts.iter().any(|(_, amount)| *amount == default) {
            return;
        }
    }
    invalid(values, default, "default value is not valid according to the requestPolicy", errors);
}

fn within(range: &At<'_>, default: Quantity, most: Quantity, errors: &mut FieldErrors) {
    let Some(least) = range.at("min").quantity() else {
        return range.at("min").required(errors, "required when validRange is defined");
    };
    if least > most {
        invalid(&range.at("min"), least, &format!("min is larger than capacity value: {most}"), errors);
    }
    if default < least {
        invalid(&range.at("default"), default, &format!("default is less than min: {least}"), errors);
    }
    let largest = range.at("max").quantity();
    if let Some(largest) = largest {
        let at = range.at("max");
        if least > largest {
            invalid(&at, least, &format!("min is larger than max: {largest}"), errors);
        }
        if largest > most {
            invalid(&at, largest, &format!("max is larger than capacity value: {most}"), errors);
        }
        if default > largest {
            invalid(&range.at("default"), default, &format!("default is more than max: {largest}"), errors);
        }
    }
    let at = range.at("step");
    match at.quantity() {
        None => {}
        Some(step) if step.is_negative() || step.is_zero() => {
            invalid(&at, step, "must be greater than zero", errors);
        }
        Some(step) => {
            if least + step > most {
                let wrong = format!("one step {} is larger than capacity value: {most}", least + step);
                invalid(&at, step, &wrong, errors);
            }
            for value in [Some(default), largest].into_iter().flatten() {
                if !(value - least).is_multiple_of(step) {
                    let wrong = format!("value is not a multiple of a given step ({step}) from ({least})");
                    invalid(&at, value, &wrong, errors);
                }
            }
        }
    }
}
