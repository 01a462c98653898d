//! One line of a container's log as the runtime writes it: time, stream, tag, text.

use jiff::Timestamp;

/// A line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// When it was written, RFC 3339 with nanoseconds.
    pub time: &'a str,
    /// `stdout`, `stderr`.
    pub stream: &'a str,
    /// The line goes on in the next one.
    pub partial: bool,
    /// What was printed, without its newline.
    pub text: &'a [u8],
}

/// Reads a line without its newline; `None` where it is not one.
pub fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(fields.next()?).ok()?;
    let stream = std::str::from_utf8(fields.next()?).ok().filter(|stream| matches!(*stream, "stdout" | "stderr"))?;
    let tag = std::str::from_utf8(fields.next()?).ok()?;
    let partial = tag.split(':').next() == Some("P");
    Some(Line { time, stream, partial, text: fields.next().unwrap_or_default() })
}

/// What a reader wants of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Go on as the log grows.
    pub follow: bool,
    /// The run before the newest.
    pub previous: bool,
    /// Nothing older.
    pub since: Option<Timestamp>,
    /// The time in front of each line.
    pub timestamps: bool,
    /// Only the last lines.
    pub tail_lines: Option<u64>,
    /// No more than this.
    pub limit_bytes: Option<u64>,
    /// Only `stdout` or `stderr`.
    pub stream: Option<String>,
}

impl Wanted {
    /// Reads the query of a request; the error is for the client.
    pub fn parse(query: &[(String, String)], now: Timestamp) -> Result<Self, String> {
        let mut wanted = Self::default();
        for (name, value) in query {
            let number = || value.parse::<u64>().map_err(|_| format!("{name}={value:?} is not a number"));
            let truth = || matches!(value.as_str(), "true" | "1");
            match name.as_str() {
                "follow" => wanted.follow = truth(),
                "previous" => wanted.previous = truth(),
                "timestamps" => wanted.timestamps = truth(),
                "tailLines" => wanted.tail_lines = Some(number()?),
                "limitBytes" => wanted.limit_bytes = Some(number()?),
                "sinceSeconds" => {
                    let seconds = i64::try_from(number()?).unwrap_or(i64::MAX / 4);
                    wanted.since = now.checked_sub(jiff::SignedDuration::from_secs(seconds)).ok();
                }
                "sinceTime" => {
                    wanted.since = Some(value.parse().map_err(|_| format!("sinceTime={value:?} is not a time"))?);
                }
                "stream" => match value.as_str() {
                    "All" | "" => {}
                    "Stdout" | "Stderr" => wanted.stream = Some(value.to_lowercase()),
                    _ => return Err(format!("stream={value:?} is none of All, Stdout and Stderr")),
                },
                _ => {}
            }
        }
        Ok(wanted)
    }

    /// Appends what of a line is wanted; `begins` is true where the line does not go on another one.
    pub fn render(&self, line: &Line<'_>, begins: bool, out: &mut Vec<u8>) {
        if self.stream.as_deref().is_some_and(|stream| stream != line.stream) {
            return;
        }
        if self.since.is_some_and(|since| line.time.parse::<Timestamp>().is_ok_and(|time| time < since)) {
            return;
        }
        if self.timestamps && begins {
            out.extend_from_slice(line.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(line.text);
        if !line.partial {
            out.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_parts_of_lines() {
        let line = parse(b"2026-01-02T03:04:05.000000006Z stdout F hello world").unwrap();
        assert_eq!((line.stream, line.partial, line.text), ("stdout", false, &b"hello world"[..]));
        assert!(parse(b"2026-01-02T03:04:05Z stderr P x").unwrap().partial);
        assert_eq!(parse(b"2026-01-02T03:04:05Z stderr F ").unwrap().text, b"");
        assert!(parse(b"not a line").is_none());
        assert!(parse(b"").is_none());
    }

    #[test]
    fn wishes_are_read_and_kept() {
        let query = |pairs: &[(&str, &str)]| {
            let list: Vec<_> = pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
            Wanted::parse(&list, Timestamp::from_second(100).unwrap())
        };
        let wanted = query(&[("timestamps", "true"), ("sinceSeconds", "50"), ("tailLines", "3")]).unwrap();
        assert_eq!(wanted.tail_lines, Some(3));
        let mut out = Vec::new();
        wanted.render(&parse(b"1970-01-01T00:00:49Z stdout F old").unwrap(), true, &mut out);
        wanted.render(&parse(b"1970-01-01T00:00:51Z stdout P a").unwrap(), true, &mut out);
        wanted.render(&parse(b"1970-01-01T00:00:52Z stdout F b").unwrap(), false, &mut out);
        assert_eq!(out, b"1970-01-01T00:00:51Z ab\n");
        assert!(query(&[("tailLines", "x")]).is_err());
    }
}
