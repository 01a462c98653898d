//! Bounds, patterns and formats of scalars, and the counts of lists and objects.

use std::collections::BTreeMap;

use serde_json::{Number, Value};

use super::super::format;
use crate::field::Reason;
use crate::re2;

/// Why, the value that is shown, and what would be right.
type Wrong = Vec<(Reason, Value, String)>;

/// What of a value lies outside its bounds. `body` is what messages call it.
pub(super) fn exceeded(value: &Value, bounds: &BTreeMap<String, Value>, body: &str) -> Wrong {
    match value {
        Value::Number(number) => of_number(number, bounds, body),
        Value::String(text) => of_text(text, bounds, body),
        Value::Array(list) => of_count(list.len(), bounds, ["minItems", "maxItems", "items"], body),
        Value::Object(object) => of_count(object.len(), bounds, ["minProperties", "maxProperties", "properties"], body),
        _ => Vec::new(),
    }
}

fn of_number(number: &Number, bounds: &BTreeMap<String, Value>, body: &str) -> Wrong {
    let mut wrong = Vec::new();
    let value = number.as_f64().unwrap_or_default();
    let is_set = |name: &str| bounds.get(name).and_then(Value::as_bool) == Some(true);
    if let Some(limit) = bounds.get("maximum") {
        let bound = limit.as_f64().unwrap_or(f64::INFINITY);
        match is_set("exclusiveMaximum") {
            true if value >= bound => wrong.push(format!("should be less than {limit}")),
            false if value > bound => wrong.push(format!("should be less than or equal to {limit}")),
            _ => {}
        }
    }
    if let Some(limit) = bounds.get("minimum") {
        let bound = limit.as_f64().unwrap_or(f64::NEG_INFINITY);
        match is_set("exclusiveMinimum") {
            true if value <= bound => wrong.push(format!("should be greater than {limit}")),
            false if value < bound => wrong.push(format!("should be greater than or equal to {limit}")),
            _ => {}
        }
    }
    if let Some(factor) = bounds.get("multipleOf").filter(|factor| !is_multiple(number, factor)) {
        wrong.push(format!("should be a multiple of {factor}"));
    }
    let shown = |detail| (Reason::Invalid, Value::Number(number.clone()), format!("{body} in body {detail}"));
    wrong.into_iter().map(shown).collect()
}

/// Whole numbers are divided as such. Of others, which are seldom what they were written as, so much is forgiven as
/// the division of two of them is off.
fn is_multiple(number: &Number, factor: &Value) -> bool {
    const ROUNDING: f64 = 8.0 * f64::EPSILON;
    if let (Some(number), Some(factor)) = (number.as_i128(), factor.as_number().and_then(Number::as_i128)) {
        return factor == 0 || number % factor == 0;
    }
    let factor = factor.as_f64().filter(|factor| *factor != 0.0).unwrap_or(1.0);
    let quotient = number.as_f64().unwrap_or_default() / factor;
    (quotient - quotient.round()).abs() <= quotient.abs() * ROUNDING
}

fn of_text(text: &str, bounds: &BTreeMap<String, Value>, body: &str) -> Wrong {
    let mut wrong = Wrong::new();
    let mut invalid = |detail: String| wrong.push((Reason::Invalid, text.into(), format!("{body} in body {detail}")));
    let length = text.chars().count() as u64;
    if let Some(limit) = bounds.get("minLength").and_then(Value::as_u64).filter(|limit| length < *limit) {
        invalid(format!("should be at least {limit} chars long"));
    }
    if let Some(pattern) = bounds.get("pattern").and_then(Value::as_str) {
        // A pattern that is no regular expression is refused where the schema comes in.
        if re2::kept(pattern).is_ok_and(|regex| !regex.is_match(text)) {
            invalid(format!("should match '{pattern}'"));
        }
    }
    if let Some(form) = bounds.get("format").and_then(Value::as_str)
        && !format::matches(text, form)
    {
        invalid(format!("must be of type {form}: {text:?}"));
    }
    if let Some(limit) = bounds.get("maxLength").and_then(Value::as_u64).filter(|limit| length > *limit) {
        wrong.push((Reason::TooLong, Value::Null, format!("may not be more than {limit} bytes")));
    }
    wrong
}

/// `names` are those of the lower and the upper bound, and of what is counted.
fn of_count(count: usize, bounds: &BTreeMap<String, Value>, names: [&str; 3], body: &str) -> Wrong {
    let mut wrong = Wrong::new();
    let [least, most, what] = names;
    let limit = |name: &str| bounds.get(name).and_then(Value::as_u64);
    if let Some(limit) = limit(most).filter(|limit| count as u64 > *limit) {
        wrong.push((Reason::TooMany, Value::Null, format!("{count}: must have at most {limit} items")));
    }
    if let Some(limit) = limit(least).filter(|limit| (count as u64) < *limit) {
        wrong.push((Reason::Invalid, count.into(), format!("{body} in body should have at least {limit} {what}")));
    }
    wrong
}
