//! How long a request may take, how long of that it may wait for its turn, and how large its head may be.

use std::time::Duration;

use http::Request;

use crate::request::Query;
use crate::status::{Result, Status};

/// A request that is not a watch or stream and takes longer gets a 504; no `timeout=` makes it more.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// The part of its time that a request may wait for its seats: what is left is for its answer. Kubernetes' figure.
const WAITING_PART: u32 = 4;
/// The most bytes of target and headers that are understood. Selectors and tokens are the largest that clients send;
/// what is more than four times this is refused by the HTTP library, without words.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// How long a request may take: sixty seconds, or less where the query says so, as `timeout=10s`.
///
/// # Errors
/// 400 where it is no duration as Go writes them.
pub fn of(query: &Query) -> Result<Duration> {
    let Some(text) = query.text("timeout") else { return Ok(ANSWER_WITHIN) };
    let asked = go_duration_s(text).ok_or_else(|| {
        let why = format!("time: invalid duration {text:?}");
        Status::bad_request(format!("invalid timeout specified in the request URL - {why}"))
    })?;
    // None, and one beyond the server's own, mean the server's own.
    Ok(if asked > 0.0 && asked < ANSWER_WITHIN.as_secs_f64() { Duration::from_secs_f64(asked) } else { ANSWER_WITHIN })
}

/// How long a request may wait for its seats.
pub fn of_waiting(deadline: Option<Duration>) -> Duration {
    deadline.unwrap_or(ANSWER_WITHIN) / WAITING_PART
}

/// What a client gets whose request took too long.
pub fn exceeded() -> Status {
    Status::timeout("request did not complete within the allotted timeout", 1)
}

/// Passes where target and headers are not too large.
///
/// # Errors
/// 431.
pub fn check_head<B>(request: &Request<B>) -> Result<()> {
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let bytes = target + fields.sum::<usize>();
    if bytes <= HEAD_BYTES_MAX {
        return Ok(());
    }
    let message = format!("the request's target and headers are {bytes} bytes, more than {HEAD_BYTES_MAX}");
    Err(Status::new(431, "RequestHeaderFieldsTooLarge", message))
}

/// Seconds of `1h2m3.5s`, as Go's `time.ParseDuration` reads them.
fn go_duration_s(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("\u{b5}s", 1e-6),
        ("\u{3bc}s", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0.0);
    }
    let mut sum = 0.0;
    let mut is_any = false;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let (_, factor) = UNITS.iter().find(|(unit, _)| *unit == &rest[..unit_end])?;
        rest = &rest[unit_end..];
        sum += number * factor;
        is_any = true;
    }
    is_any.then_some(sign * sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_durations_up_to_the_servers_own() {
        for (query, expected) in [
            ("", Some(60.0)),
            ("timeout=", Some(60.0)),
            ("timeout=10s", Some(10.0)),
            ("timeout=1.5s", Some(1.5)),
            ("timeout=250ms", Some(0.25)),
            ("timeout=1m", Some(60.0)),
            ("timeout=0s", Some(60.0)),
            ("timeout=0", Some(60.0)),
            ("timeout=-1s", Some(60.0)),
            ("timeout=1h2m", Some(60.0)),
            ("timeout=0m30s", Some(30.0)),
            ("timeout=10", None),
            ("timeout=s", None),
            ("timeout=1x", None),
            ("timeout=ten", None),
        ] {
            let found = of(&Query::parse(query));
            assert_eq!(found.as_ref().ok().map(Duration::as_secs_f64), expected, "{query}");
            if let Err(status) = found {
                assert_eq!(status.code(), 400);
                assert!(status.message().starts_with("invalid timeout specified in the request URL - time: invalid"));
            }
        }
    }

    #[test]
    fn large_heads_are_refused_in_words() {
        let request = |bytes: usize| {
            let request = Request::get("/api/v1/pods?labelSelector=a").header("x-large", "a".repeat(bytes));
            request.body(()).expect("a request")
        };
        assert!(check_head(&request(60_000)).is_ok());
        let status = check_head(&request(70_000)).expect_err("is too large");
        assert_eq!(status.code(), 431);
        assert!(status.message().contains("more than 65536"), "{}", status.message());
    }
}
