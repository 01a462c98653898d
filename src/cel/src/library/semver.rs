//! Versions after Semantic Versioning 2.0.0.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Evaluated, Function};
use crate::error::EvalError;
use crate::value::Value;

/// A version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Semver {
    numbers: [u64; 3],
    /// Numbers, or texts that are none.
    pre_release: Vec<Result<u64, String>>,
}

pub(super) fn find(name: &str) -> Option<Function> {
    Some(match name {
        "semver" => |_, args| read(args)?.map(|version| Value::Semver(Arc::new(version))).map_err(EvalError::new),
        "isSemver" => |_, args| Ok(Value::Bool(read(args)?.is_ok())),
        "major" => |_, args| number(args, 0),
        "minor" => |_, args| number(args, 1),
        "patch" => |_, args| number(args, 2),
        _ => return None,
    })
}

/// The version that the arguments tell; why they tell none.
fn read(args: &[Value<'_>]) -> Result<Result<Semver, &'static str>, EvalError> {
    match args {
        [Value::String(text)] | [Value::String(text), Value::Bool(false)] => Ok(Semver::parse(text)),
        [Value::String(text), Value::Bool(true)] => Ok(normalize(text).and_then(|text| Semver::parse(&text))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn number<'a>(args: &[Value<'a>], index: usize) -> Evaluated<'a> {
    match args {
        [Value::Semver(version)] => {
            i64::try_from(version.numbers[index]).map(Value::Int).map_err(|_| EvalError::new("integer overflow"))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

/// Without a leading `v` and leading zeros, and with all three numbers.
fn normalize(text: &str) -> Result<String, &'static str> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts: Vec<String> = text.splitn(3, '.').map(str::to_string).collect();
    for part in &mut parts {
        if part.len() > 1 {
            let trimmed = part.trim_start_matches('0');
            *part =
                if trimmed.starts_with(|c: char| c.is_ascii_digit()) { trimmed.into() } else { format!("0{trimmed}") };
        }
    }
    if parts.len() < 3 {
        if parts.last().is_some_and(|last| last.contains(['+', '-'])) {
            return Err("short version cannot contain PreRelease/Build meta data");
        }
        parts.resize(3, "0".to_string());
    }
    Ok(parts.join("."))
}

impl Semver {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("Version string empty");
        }
        let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
        let (core, pre) = text.split_once('-').map_or((text, None), |(core, pre)| (core, Some(pre)));
        let parts: Vec<&str> = core.split('.').collect();
        let [major, minor, patch] = parts[..] else { return Err("No Major.Minor.Patch elements found") };
        let numbers = [version_number(major)?, version_number(minor)?, version_number(patch)?];
        let pre_release = pre.map_or(Ok(Vec::new()), |pre| pre.split('.').map(pre_release).collect())?;
        if let Some(build) = build
            && build.split('.').any(|part| !is_identifier(part))
        {
            return Err("Invalid character(s) found in build meta data");
        }
        Ok(Self { numbers, pre_release })
    }

    /// Build metadata does not count, and a pre-release comes before its release.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let pre_releases = match (self.pre_release.is_empty(), other.pre_release.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            // Numbers come before texts, as `Ok` does before `Err`; fewer parts before more.
            (false, false) => self.pre_release.cmp(&other.pre_release),
        };
        self.numbers.cmp(&other.numbers).then(pre_releases)
    }
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn version_number(text: &str) -> Result<u64, &'static str> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("Invalid character(s) found in version number");
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err("Version number must not contain leading zeroes");
    }
    text.parse().map_err(|_| "Version number is too large")
}

fn pre_release(text: &str) -> Result<Result<u64, String>, &'static str> {
    if !is_identifier(text) {
        return Err("Invalid character(s) found in prerelease");
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Err(text.to_string()));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err("Numeric PreRelease version must not contain leading zeroes");
    }
    text.parse().map(Ok).map_err(|_| "PreRelease number is too large")
}
