//! References to secrets. A secret itself never stands in an inventory.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

/// Where a secret is found on the operator's machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SecretRef {
    /// `env:NAME`: an environment variable.
    Env(String),
    /// `file:PATH`: the content of a file; a relative path starts at the inventory's folder.
    File(PathBuf),
    /// `cmd:COMMAND`: what a shell command prints.
    Command(String),
}

impl SecretRef {
    /// Reads `env:`, `file:` and `cmd:` references.
    ///
    /// The error never repeats the text, since a mistaken one may be the secret itself.
    pub(crate) fn parse(text: &str, directory: &Path) -> Result<Self, String> {
        let wrong = || {
            "a secret must be a reference: `env:NAME`, `file:PATH` or `cmd:COMMAND`; the secret itself does not belong \
             in the inventory"
                .to_owned()
        };
        let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
        let rest = rest.trim();
        if rest.is_empty() {
            return Err(wrong());
        }
        match kind {
            "env" => Ok(Self::Env(rest.to_owned())),
            "file" => Ok(Self::File(expand_path(rest, directory))),
            "cmd" => Ok(Self::Command(rest.to_owned())),
            _ => Err(wrong()),
        }
    }
}

/// A path as people write it: `~` is the home folder and a relative path starts at `directory`.
pub(crate) fn expand_path(text: &str, directory: &Path) -> PathBuf {
    if let Some(rest) = text.strip_prefix("~/")
        && let Some(home) = std::env::var_os("HOME")
    {
        return Path::new(&home).join(rest);
    }
    directory.join(text)
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Command(command) => write!(f, "cmd:{command}"),
        }
    }
}

impl Serialize for SecretRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
