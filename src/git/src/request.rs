//! What is asked of the worker and what it answers. Plain data, as it goes over the pipe.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A larger file is not read: no manifest is, and the API takes no larger object.
pub const MAX_FILE_BYTES: usize = 3 << 20;
/// More is not read at once: what is applied is held in memory.
pub const MAX_TOTAL_BYTES: usize = 64 << 20;
/// More files are not read at once.
pub const MAX_FILES: usize = 50_000;

/// How the server of a repository knows us, and we it. Secrets stay in their files until the worker reads them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Auth {
    /// An ssh private key without a passphrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_key_file: Option<PathBuf>,
    /// known_hosts lines; an ssh server that is not in them is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_hosts_file: Option<PathBuf>,
    /// The user name for https; `git` where only a password is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password or token for https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Its full hexadecimal id.
    pub id: String,
    /// The first line of its message.
    pub subject: String,
    /// When it was committed: RFC 3339, UTC.
    pub time: String,
}

/// A folder to read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Folder {
    /// From the root of the repository, without a leading `/`; empty for the root.
    pub path: String,
    /// With the folders in it.
    pub recursive: bool,
}

/// Files by path from the root of the repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// Their bytes.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Folders that were asked for and are not there.
    pub missing: Vec<String>,
    /// Files that are larger than [`MAX_FILE_BYTES`], and were left out.
    pub too_large: Vec<String>,
}

/// One request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Request {
    /// Bring a bare repository up to date with a branch, tag or commit of another.
    Fetch { repository: PathBuf, url: String, reference: String, auth: Auth },
    /// Read folders of a commit that is there.
    Read { repository: PathBuf, commit: String, folders: Vec<Folder> },
}

impl Request {
    /// For messages.
    pub(crate) fn what(&self) -> String {
        match self {
            Self::Fetch { url, reference, .. } => format!("fetch {reference} of {url}"),
            Self::Read { commit, .. } => format!("read commit {commit}"),
        }
    }
}

/// One answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Answer {
    /// To [`Request::Fetch`].
    Fetched(Commit),
    /// To [`Request::Read`]; bytes in base64.
    Read { files: BTreeMap<String, String>, missing: Vec<String>, too_large: Vec<String> },
    /// To either: what went wrong.
    Failed(String),
}
