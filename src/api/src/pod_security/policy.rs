//! Which standards a namespace asks for, by its labels.

use std::fmt;

use machinery::field::{FieldError, FieldErrors, Path};
use serde_json::Value;

/// The minor version whose standards are the newest that are known here.
const NEWEST: u32 = 37;
const PREFIX: &str = "pod-security.kubernetes.io/";

/// How much a pod may ask for; later ones allow less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    Privileged,
    /// Nothing that is known to lead out of a pod.
    Baseline,
    /// What a hardened pod needs.
    Restricted,
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "privileged" => Some(Self::Privileged),
            "baseline" => Some(Self::Baseline),
            "restricted" => Some(Self::Restricted),
            _ => None,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        })
    }
}

/// The standards of a release: `latest` or `v1.N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The newest.
    Latest,
    /// Those of this minor release.
    Minor(u32),
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self::Latest);
        }
        let digits = text.strip_prefix("v1.")?;
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
        digits.parse().ok().filter(|_| is_plain).map(Self::Minor)
    }

    /// The minor version to judge by; what comes after the newest that is known is judged by that.
    pub(super) fn minor(self) -> u32 {
        match self {
            Self::Latest => NEWEST,
            Self::Minor(minor) => minor.min(NEWEST),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Minor(minor) => write!(f, "v1.{minor}"),
        }
    }
}

/// `restricted:v1.30`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelVersion {
    /// How much may be asked for.
    pub level: Level,
    /// By which release's rules.
    pub version: Version,
}

impl LevelVersion {
    const DEFAULT: Self = Self { level: Level::Privileged, version: Version::Latest };
}

impl fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.level, self.version)
    }
}

/// What a namespace wants of its pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Others are refused.
    pub enforce: LevelVersion,
    /// Others are written down.
    pub audit: LevelVersion,
    /// Of others the client is warned.
    pub warn: LevelVersion,
}

impl Policy {
    /// Nothing is asked of pods.
    pub fn is_privileged(&self) -> bool {
        [self.enforce, self.audit, self.warn].iter().all(|one| one.level == Level::Privileged)
    }

    /// The policy of a namespace with these labels, and what is wrong with them. What cannot be read enforces the most
    /// and audits and warns of nothing.
    pub fn of(labels: &Value) -> (Self, FieldErrors) {
        let mut errors = FieldErrors::new();
        let mut read = |mode: &str, wrong: Level| {
            let (level, has_level) = match label(labels, mode, "") {
                None => (Level::Privileged, None),
                Some(text) => match Level::parse(text) {
                    Some(level) => (level, Some(true)),
                    None => {
                        errors.push(invalid(mode, "", text, "must be one of privileged, baseline, restricted"));
                        (wrong, Some(false))
                    }
                },
            };
            let version = label(labels, mode, "-version").map(|text| {
                Version::parse(text).unwrap_or_else(|| {
                    errors.push(invalid(mode, "-version", text, "must be \"latest\" or \"v1.x\""));
                    Version::Latest
                })
            });
            (LevelVersion { level, version: version.unwrap_or(Version::Latest) }, has_level, version.is_some())
        };
        let (enforce, has_enforce, _) = read("enforce", Level::Restricted);
        let (audit, ..) = read("audit", Level::Privileged);
        let (mut warn, has_warn, has_warn_version) = read("warn", Level::Privileged);
        // Of workloads whose pods would be refused somebody has to hear.
        if has_warn.is_none() && has_enforce == Some(true) && enforce.level > warn.level {
            warn.level = enforce.level;
            if !has_warn_version {
                warn.version = enforce.version;
            }
        }
        (Self { enforce, audit, warn }, errors)
    }

    /// Whether pods that were allowed under `old` may be refused now.
    pub fn is_tightened(&self, old: &Self) -> bool {
        let (new, old) = (self.enforce, old.enforce);
        new != old && new.level != Level::Privileged && !(new.version == old.version && new.level <= old.level)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self { enforce: LevelVersion::DEFAULT, audit: LevelVersion::DEFAULT, warn: LevelVersion::DEFAULT }
    }
}

fn label<'a>(labels: &'a Value, mode: &str, suffix: &str) -> Option<&'a str> {
    labels.get(format!("{PREFIX}{mode}{suffix}"))?.as_str()
}

fn invalid(mode: &str, suffix: &str, text: &str, wrong: &str) -> FieldError {
    let path = Path::new("metadata").child("labels").key(&format!("{PREFIX}{mode}{suffix}"));
    FieldError::invalid(&path, text, wrong)
}
