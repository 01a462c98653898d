//! `getHours` and its like, of timestamps (in UTC or a named zone) and durations.

use jiff::civil::DateTime;

use super::{Evaluated, Function};
use crate::error::EvalError;
use crate::time::in_zone;
use crate::value::Value;

const NANOS_PER_MILLI: i64 = 1_000_000;
const NANOS_PER_MINUTE: i64 = 60_000_000_000;
const NANOS_PER_HOUR: i64 = 3_600_000_000_000;

pub(super) fn find(name: &str) -> Option<Function> {
    Some(match name {
        "getFullYear" => |_, args| part(args, |at| i64::from(at.year()), None),
        "getMonth" => |_, args| part(args, |at| i64::from(at.month()) - 1, None),
        "getDayOfYear" => |_, args| part(args, |at| i64::from(at.date().day_of_year()) - 1, None),
        "getDayOfMonth" => |_, args| part(args, |at| i64::from(at.day()) - 1, None),
        "getDate" => |_, args| part(args, |at| i64::from(at.day()), None),
        "getDayOfWeek" => |_, args| part(args, |at| i64::from(at.date().weekday().to_sunday_zero_offset()), None),
        "getHours" => |_, args| part(args, |at| i64::from(at.hour()), Some(|nanos| nanos / NANOS_PER_HOUR)),
        "getMinutes" => |_, args| part(args, |at| i64::from(at.minute()), Some(|nanos| nanos / NANOS_PER_MINUTE)),
        "getSeconds" => |_, args| part(args, |at| i64::from(at.second()), Some(|nanos| nanos / 1_000_000_000)),
        "getMilliseconds" => |_, args| {
            part(args, |at| i64::from(at.subsec_nanosecond()) / NANOS_PER_MILLI, Some(|nanos| nanos / NANOS_PER_MILLI))
        },
        _ => return None,
    })
}

fn part<'a>(args: &[Value<'a>], of_time: fn(DateTime) -> i64, of_span: Option<fn(i64) -> i64>) -> Evaluated<'a> {
    match (args, of_span) {
        ([Value::Timestamp(at)], _) => in_zone(*at, "").map(|at| Value::Int(of_time(at))),
        ([Value::Timestamp(at), Value::String(zone)], _) => in_zone(*at, zone).map(|at| Value::Int(of_time(at))),
        ([Value::Duration(span)], Some(of_span)) => Ok(Value::Int(of_span(span.0))),
        _ => Err(EvalError::no_such_overload()),
    }
}
