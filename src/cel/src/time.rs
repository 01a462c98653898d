//! Durations and timestamps: their texts, their bounds, their arithmetic.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use crate::error::EvalError;

const NANOS_PER_SECOND: i128 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// The first second of year 1.
const MIN_SECONDS: i64 = -62_135_596_800;
/// The last second of year 9999 is the one before.
const MAX_SECONDS: i64 = 253_402_300_800;

/// A span of time in nanoseconds, at most about 292 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(pub i64);

impl Duration {
    /// The text as Go writes and reads it: `1h30m`, `-1.5s`, `20ms`.
    pub fn parse(text: &str) -> Result<Self, EvalError> {
        let invalid = || EvalError::new(format!("time: invalid duration {text:?}"));
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut nanos: i128 = 0;
        while !rest.is_empty() {
            let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(invalid)?;
            let (number, after) = rest.split_at(number_end);
            let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
            let unit = unit_nanos(&after[..unit_end]).ok_or_else(invalid)?;
            nanos = nanos.checked_add(scaled(number, unit).ok_or_else(invalid)?).ok_or_else(invalid)?;
            rest = &after[unit_end..];
        }
        i64::try_from(if negative { -nanos } else { nanos }).map(Self).map_err(|_| invalid())
    }

    /// A duration of OpenAPI: Go's form, or words such as `3 days`.
    pub(crate) fn parse_openapi(text: &str) -> Result<Self, EvalError> {
        if let Ok(duration) = Self::parse(text) {
            return Ok(duration);
        }
        let invalid = || EvalError::new(format!("unable to parse {text:?} as duration"));
        let mut nanos: i128 = 0;
        let mut rest = text.trim();
        while !rest.is_empty() {
            let number_end = rest.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0).ok_or_else(invalid)?;
            let number: i64 = rest[..number_end].parse().map_err(|_| invalid())?;
            let after = rest[number_end..].trim_start();
            let unit_end = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
            nanos += i128::from(number) * word_nanos(&after[..unit_end]).ok_or_else(invalid)?;
            rest = after[unit_end..].trim_start();
        }
        i64::try_from(nanos).ok().filter(|_| !text.trim().is_empty()).map(Self).ok_or_else(invalid)
    }

    /// Whole seconds, toward zero.
    pub fn seconds(self) -> i64 {
        self.0 / NANOS_PER_SECOND as i64
    }

    pub(crate) fn of_seconds(seconds: i64) -> Option<Self> {
        seconds.checked_mul(NANOS_PER_SECOND as i64).map(Self)
    }
}

impl std::fmt::Display for Duration {
    /// Seconds with their fraction: `5400s`, `-0.25s`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nanos = self.0.unsigned_abs();
        let fraction = nanos % NANOS_PER_SECOND as u64;
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}", nanos / NANOS_PER_SECOND as u64)?;
        if fraction > 0 {
            write!(f, ".{}", format!("{fraction:09}").trim_end_matches('0'))?;
        }
        f.write_str("s")
    }
}

fn unit_nanos(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => NANOS_PER_SECOND,
        "m" => 60 * NANOS_PER_SECOND,
        "h" => 3600 * NANOS_PER_SECOND,
        _ => return None,
    })
}

fn word_nanos(word: &str) -> Option<i128> {
    let day = 24 * 3600 * NANOS_PER_SECOND;
    Some(match word.to_lowercase().as_str() {
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
        "us" | "\u{b5}s" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
        "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
        "s" | "sec" | "secs" | "second" | "seconds" => NANOS_PER_SECOND,
        "m" | "min" | "mins" | "minute" | "minutes" => 60 * NANOS_PER_SECOND,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600 * NANOS_PER_SECOND,
        "d" | "day" | "days" => day,
        "w" | "wk" | "wks" | "week" | "weeks" => 7 * day,
        _ => return None,
    })
}

/// `1.5` times a unit; digits below a nanosecond are dropped.
fn scaled(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() > 19 {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let kept = &fraction[..fraction.len().min(18)];
    let part: i128 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
    whole.checked_mul(unit)?.checked_add(part.checked_mul(unit)? / 10i128.pow(kept.len() as u32))
}

/// A moment within the years 1 to 9999, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Since 1970, not counting leap seconds.
    seconds: i64,
    nanos: u32,
}

impl Timestamp {
    /// The moment so many nanoseconds after the beginning of 1970, or before it where negative.
    ///
    /// # Errors
    /// Where it is not within the years 1 to 9999.
    pub fn from_nanos(nanos: i128) -> Result<Self, EvalError> {
        let overflow = || EvalError::new("timestamp overflow");
        let seconds = i64::try_from(nanos.div_euclid(NANOS_PER_SECOND)).map_err(|_| overflow())?;
        if !(MIN_SECONDS..MAX_SECONDS).contains(&seconds) {
            return Err(overflow());
        }
        Ok(Self { seconds, nanos: nanos.rem_euclid(NANOS_PER_SECOND) as u32 })
    }

    /// Nanoseconds since the beginning of 1970.
    pub fn nanos(self) -> i128 {
        i128::from(self.seconds) * NANOS_PER_SECOND + i128::from(self.nanos)
    }

    /// Whole seconds since the beginning of 1970.
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// The clock on the wall so many seconds east of Greenwich.
    fn civil(self, offset_seconds: i64) -> Result<DateTime, EvalError> {
        let local = self.seconds + offset_seconds;
        let date = date_of(local.div_euclid(SECONDS_PER_DAY)).ok_or_else(|| EvalError::new("timestamp overflow"))?;
        let second = local.rem_euclid(SECONDS_PER_DAY);
        let (hour, minute, second) = ((second / 3600) as i8, (second / 60 % 60) as i8, (second % 60) as i8);
        let time =
            Time::new(hour, minute, second, self.nanos as i32).map_err(|_| EvalError::new("timestamp overflow"))?;
        Ok(DateTime::from_parts(date, time))
    }
}

/// The days from 1970-01-01 to a date of the Gregorian calendar, counted in eras of 400 years that begin in March.
fn days_of(date: Date) -> i64 {
    let (year, month, day) = (i64::from(date.year()), i64::from(date.month()), i64::from(date.day()));
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The date so many days after 1970-01-01.
fn date_of(days: i64) -> Option<Date> {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    Date::new(i16::try_from(year).ok()?, month as i8, day as i8).ok()
}

pub(crate) fn from_seconds(seconds: i64) -> Result<Timestamp, EvalError> {
    Timestamp::from_nanos(i128::from(seconds) * NANOS_PER_SECOND)
}

/// A moment and a span of time after it (or before, where negative).
pub(crate) fn shift(timestamp: Timestamp, nanos: i128) -> Result<Timestamp, EvalError> {
    Timestamp::from_nanos(timestamp.nanos() + nanos)
}

pub(crate) fn between(later: Timestamp, earlier: Timestamp) -> Result<Duration, EvalError> {
    let nanos = later.nanos() - earlier.nanos();
    i64::try_from(nanos).map(Duration).map_err(|_| EvalError::new("duration overflow"))
}

/// RFC 3339, as strictly as Go reads it.
pub(crate) fn parse_timestamp(text: &str) -> Result<Timestamp, EvalError> {
    read_timestamp(text).ok_or_else(|| EvalError::new(format!("parsing time {text:?} as RFC 3339: cannot parse")))
}

fn read_timestamp(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if bytes.len() < 20 || !text.is_ascii() || bytes[10] != b'T' || bytes[13] != b':' || bytes[16] != b':' {
        return None;
    }
    let date = read_date(&text[..10])?;
    let (hour, minute, second) = (digits(&text[11..13])?, digits(&text[14..16])?, digits(&text[17..19])?);
    let mut rest = &text[19..];
    let mut nanos: i32 = 0;
    if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        let end = fraction.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0)?;
        nanos = format!("{:0<9}", &fraction[..end.min(9)]).parse().ok()?;
        rest = &fraction[end..];
    }
    let offset = if rest == "Z" { 0 } else { read_offset(rest)? };
    let time = Time::new(hour as i8, minute as i8, second as i8, nanos).ok()?;
    let second_of_day = i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    let seconds = days_of(date) * SECONDS_PER_DAY + second_of_day - offset;
    Timestamp::from_nanos(i128::from(seconds) * NANOS_PER_SECOND + i128::from(nanos)).ok()
}

fn digits(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `2006-01-02`
pub(crate) fn read_date(text: &str) -> Option<Date> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || !text.is_ascii() || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let (year, month, day) = (digits(&text[..4])?, digits(&text[5..7])?, digits(&text[8..])?);
    Date::new(year as i16, month as i8, day as i8).ok()
}

/// The first moment of a day in UTC.
pub(crate) fn start_of(date: Date) -> Option<Timestamp> {
    from_seconds(days_of(date) * SECONDS_PER_DAY).ok()
}

/// The seconds of `+02:00`, `-02:00`; `02:00` where a time zone is asked for.
fn read_offset(text: &str) -> Option<i64> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let (hours, minutes) = rest.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    Some(sign * (hours * 3600 + minutes * 60))
}

/// The clock on the wall in a time zone: an offset or a name of the machine's time zone database.
pub(crate) fn in_zone(timestamp: Timestamp, zone: &str) -> Result<DateTime, EvalError> {
    if zone.is_empty() || zone == "UTC" {
        return timestamp.civil(0);
    }
    let unknown = || EvalError::new(format!("unknown time zone {zone}"));
    if zone.contains(':') {
        return timestamp.civil(read_offset(zone).ok_or_else(unknown)?);
    }
    let zone = TimeZone::get(zone).map_err(|_| unknown())?;
    // The last day of 9999 is beyond what the library knows, and its offsets are those of the days before.
    let known = jiff::Timestamp::from_second(timestamp.seconds).unwrap_or(jiff::Timestamp::MAX);
    timestamp.civil(i64::from(zone.to_offset(known).seconds()))
}

/// RFC 3339 in UTC with as many digits of the second as there are.
pub(crate) fn format_timestamp(timestamp: Timestamp) -> String {
    let at = timestamp.civil(0).unwrap_or(DateTime::MAX);
    let mut text = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        at.year(),
        at.month(),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    );
    if at.subsec_nanosecond() > 0 {
        text.push('.');
        text.push_str(format!("{:09}", at.subsec_nanosecond()).trim_end_matches('0'));
    }
    text.push('Z');
    text
}
