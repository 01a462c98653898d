//! Schedules of five fields, by name, or `@every` so often: which times they mean. What is a schedule, the API has
//! checked; what is none here means never.

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Span, Timestamp};

/// A time that does not come in so many days does not come: 29 February of a weekday takes 28 years and more.
const DAYS_MAX: usize = 366 * 40;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Times that come again and again.
#[derive(Debug, Clone, PartialEq)]
pub enum Schedule {
    /// By minute, hour and day in a time zone.
    Fields(Box<Fields>, TimeZone),
    /// So long after each other.
    Every(SignedDuration),
}

/// Bits of the values that each field admits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// A day must be among both where one of the two is a star, else among either.
    both_days: bool,
}

impl Schedule {
    /// Reads a schedule; `None` for what is none, or names an unknown time zone.
    pub fn read(text: &str, zone: Option<&str>) -> Option<Self> {
        let zone = match zone {
            Some(name) => TimeZone::get(name).ok()?,
            None => TimeZone::UTC,
        };
        let text = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            text => text,
        };
        if let Some(every) = text.strip_prefix("@every ") {
            let every: SignedDuration = every.parse().ok()?;
            // Less than a second is a second.
            return every.is_positive().then(|| Self::Every(SignedDuration::from_secs(every.as_secs().max(1))));
        }
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = parts.as_slice() else { return None };
        let (days, any_day) = field(day, 1, 31, &[])?;
        let (mut weekdays, any_weekday) = field(weekday, 0, 7, &WEEKDAYS)?;
        // Sunday is 0 and 7.
        weekdays = (weekdays | (weekdays >> 7)) & 0x7f;
        let fields = Fields {
            minutes: field(minute, 0, 59, &[])?.0,
            hours: field(hour, 0, 23, &[])?.0,
            days,
            months: field(month, 1, 12, &MONTHS)?.0,
            weekdays,
            both_days: any_day || any_weekday,
        };
        Some(Self::Fields(Box::new(fields), zone))
    }

    /// The first time after `after`.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(every) => {
                let whole = Timestamp::from_second(after.as_second()).ok()?;
                whole.checked_add(*every).ok()
            }
            Self::Fields(fields, zone) => fields.next(after, zone),
        }
    }

    /// The first time after `now`, where `last` is the last one before, or what the times are counted from.
    pub fn following(&self, last: Timestamp, now: Timestamp) -> Option<Timestamp> {
        match self {
            // Counted from `now` each time would come later than it should by what the work before it took.
            Self::Every(_) => self.next(last),
            Self::Fields(fields, zone) => fields.next(now, zone),
        }
    }

    /// The last time after `from` that is not after `now`.
    pub fn last(&self, from: Timestamp, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(every) => {
                let first = self.next(from).filter(|first| *first <= now)?;
                let times = now.duration_since(first).as_secs() / every.as_secs();
                first.checked_add(SignedDuration::from_secs(times * every.as_secs())).ok()
            }
            Self::Fields(fields, zone) => fields.last(from, now, zone),
        }
    }
}

impl Fields {
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let begun = after.to_zoned(zone.clone()).datetime();
        let mut date = begun.date();
        for _ in 0..DAYS_MAX {
            if self.has_day(date)
                && let Some(found) = self.in_day(date, after, zone)
            {
                return Some(found);
            }
            date = date.checked_add(Span::new().days(1)).ok()?;
        }
        None
    }

    /// The last time after `from` that is not after `now`: day by day backwards, so that years of missed minutes need not
    /// be counted through.
    fn last(&self, from: Timestamp, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let first = from.to_zoned(zone.clone()).date();
        let mut date = now.to_zoned(zone.clone()).date();
        for _ in 0..DAYS_MAX {
            if date < first {
                return None;
            }
            let times = self.has_day(date).then(|| self.times(date, zone)).into_iter().flatten();
            if let Some(last) = times.filter(|time| *time > from && *time <= now).max() {
                return Some(last);
            }
            date = date.checked_sub(Span::new().days(1)).ok()?;
        }
        None
    }

    fn has_day(&self, date: Date) -> bool {
        let bit = |bits: u64, at: i8| bits >> at & 1 == 1;
        let day = bit(self.days, date.day());
        let weekday = bit(self.weekdays, date.weekday().to_sunday_zero_offset());
        bit(self.months, date.month()) && if self.both_days { day && weekday } else { day || weekday }
    }

    /// The first time of a day after `after`.
    fn in_day(&self, date: Date, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut moments = self.times(date, zone).filter(|time| *time > after);
        // Only where the clock is put back does a later time of the clock come earlier.
        if has_change(date, zone) { moments.min() } else { moments.next() }
    }

    /// The times of a day that the fields admit. An hour that the clock leaps over has none; in one that comes twice
    /// every time comes twice, as robfig/cron and so Kubernetes has it.
    fn times(&self, date: Date, zone: &TimeZone) -> impl Iterator<Item = Timestamp> {
        let (hours, minutes) = (self.hours, self.minutes);
        let times = (0..24_i8).filter(move |hour| hours >> hour & 1 == 1).flat_map(move |hour| {
            let minutes = (0..60_i8).filter(move |minute| minutes >> minute & 1 == 1);
            minutes.map(move |minute| date.at(hour, minute, 0, 0))
        });
        times.flat_map(move |time| moments(time, zone))
    }
}

/// Whether the clock is put on or back on that day.
fn has_change(date: Date, zone: &TimeZone) -> bool {
    let offset =
        |date: Date| zone.to_ambiguous_timestamp(date.at(0, 0, 0, 0)).compatible().map(|at| zone.to_offset(at));
    let next = date.checked_add(Span::new().days(1));
    next.is_ok_and(|next| offset(date).ok() != offset(next).ok())
}

/// When the clock shows this time: once, twice, or in a gap never.
fn moments(time: DateTime, zone: &TimeZone) -> impl Iterator<Item = Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(time);
    let gap = matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. });
    let fold = matches!(ambiguous.offset(), AmbiguousOffset::Fold { .. });
    let first = (!gap).then(|| ambiguous.earlier().ok()).flatten();
    let second = fold.then(|| ambiguous.later().ok()).flatten();
    first.into_iter().chain(second)
}

/// The values of a field as bits, and whether it is a star.
fn field(text: &str, low: u32, high: u32, names: &[&str]) -> Option<(u64, bool)> {
    let (mut bits, mut star) = (0, false);
    for part in text.split(',') {
        let (span, step) = part.split_once('/').map_or((part, None), |(span, step)| (span, Some(step)));
        let number = |text: &str| {
            let named = names.iter().position(|name| name.eq_ignore_ascii_case(text));
            named.and_then(|at| u32::try_from(at).ok()).map(|at| low + at).or_else(|| text.parse().ok())
        };
        let step_width: usize = step.map_or(Some(1), |step| step.parse().ok()).filter(|step| *step > 0)?;
        let (first, last) = match span {
            "*" | "?" => {
                star |= step_width == 1;
                (low, high)
            }
            _ => match span.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                // From a number with a step to the end.
                None if step.is_some() => (number(span)?, high),
                None => (number(span)?, number(span)?),
            },
        };
        if first < low || last > high || first > last {
            return None;
        }
        (first..=last).step_by(step_width).for_each(|value| bits |= 1 << value);
    }
    Some((bits, star))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_next_time_is_the_first_that_every_field_admits() {
        for (schedule, zone, after, expected) in [
            ("* * * * *", None, "2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z"),
            ("*/15 * * * *", None, "2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z"),
            ("5/20 3 * * *", None, "2026-01-01T03:30:00Z", "2026-01-01T03:45:00Z"),
            ("0 0 29 feb *", None, "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 9 * * mon-fri", None, "2026-01-02T10:00:00Z", "2026-01-05T09:00:00Z"),
            ("0 9 13 * 5", None, "2026-01-03T00:00:00Z", "2026-01-09T09:00:00Z"),
            ("0 0 * * 7", None, "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            ("@hourly", None, "2026-01-01T00:59:59Z", "2026-01-01T01:00:00Z"),
            ("@every 90s", None, "2026-01-01T00:00:00Z", "2026-01-01T00:01:30Z"),
            ("@every 1ms", None, "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"),
            ("30 9 * * *", Some("Asia/Kolkata"), "2026-01-01T00:00:00Z", "2026-01-01T04:00:00Z"),
            // 02:30 is leapt over on 29 March, and 02:30 comes twice on 25 October.
            ("30 2 * * *", Some("Europe/Berlin"), "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z"),
            ("30 2 * * *", Some("Europe/Berlin"), "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"),
            ("30 2 * * *", Some("Europe/Berlin"), "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"),
            ("30 2 * * *", Some("Europe/Berlin"), "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"),
            ("*/20 * * * *", Some("Europe/Berlin"), "2026-10-25T00:30:00Z", "2026-10-25T00:40:00Z"),
            ("*/20 * * * *", Some("Europe/Berlin"), "2026-10-25T00:40:00Z", "2026-10-25T01:00:00Z"),
            ("*/20 * * * *", Some("Europe/Berlin"), "2026-10-25T01:40:00Z", "2026-10-25T02:00:00Z"),
            ("@hourly", Some("Europe/Berlin"), "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"),
        ] {
            let read = Schedule::read(schedule, zone).unwrap_or_else(|| panic!("{schedule} {zone:?}"));
            assert_eq!(read.next(at(after)), Some(at(expected)), "{schedule} after {after}");
        }
        assert_eq!(Schedule::read("0 0 31 2 *", None).unwrap().next(at("2026-01-01T00:00:00Z")), None);
        for wrong in ["", "* * * *", "61 * * * *", "@every x", "a * * * *"] {
            assert_eq!(Schedule::read(wrong, None), None, "{wrong}");
        }
        assert_eq!(Schedule::read("* * * * *", Some("Nowhere/Land")), None);
    }

    #[test]
    fn time_zones_are_known_where_the_host_has_none() {
        let bundled = jiff::tz::TimeZoneDatabase::bundled();
        assert!(bundled.get("Europe/Berlin").is_ok() && bundled.get("Asia/Kolkata").is_ok());
    }

    #[test]
    fn the_last_time_that_was_missed_is_found_however_long_ago_it_began() {
        let now = at("2026-06-15T12:00:30Z");
        for (schedule, from, expected) in [
            ("* * * * *", "2020-01-01T00:00:00Z", Some("2026-06-15T12:00:00Z")),
            ("0 3 * * *", "2026-06-01T00:00:00Z", Some("2026-06-15T03:00:00Z")),
            ("0 0 1 1 *", "2020-06-01T00:00:00Z", Some("2026-01-01T00:00:00Z")),
            ("* * * 1 *", "2020-06-01T00:00:00Z", Some("2026-01-31T23:59:00Z")),
            ("0 0 29 2 *", "1990-01-01T00:00:00Z", Some("2024-02-29T00:00:00Z")),
            ("0 0 31 2 *", "1990-01-01T00:00:00Z", None),
            ("0 3 * * *", "2026-06-15T03:00:00Z", None),
            ("@every 1m", "2026-06-15T11:58:00Z", Some("2026-06-15T12:00:00Z")),
        ] {
            let last = Schedule::read(schedule, None).unwrap().last(at(from), now);
            assert_eq!(last, expected.map(at), "{schedule} from {from}");
        }
    }
}
