//! The parent's side of the pipe: start the worker, ask, and end it when it does not answer in time.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::Error;
use crate::request::{Answer, Auth, Commit, Files, Folder, MAX_TOTAL_BYTES, Request};
use crate::url;

/// An answer is at most all files in base64, with their names.
const MAX_ANSWER_BYTES: u64 = (MAX_TOTAL_BYTES as u64) * 2;
/// What is kept of the worker's standard error.
const MAX_ERROR_BYTES: u64 = 4096;
/// What the worker may know of the machine: where programs and the trusted roots are.
const KEPT_VARIABLES: [&str; 3] = ["PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"];

/// How the worker is started, and where repositories are kept. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Worker {
    /// The program that is the worker: this very binary, or a test's.
    pub program: PathBuf,
    /// Its arguments: `node git-worker`.
    pub arguments: Vec<OsString>,
    /// Holds the bare repositories.
    pub folder: PathBuf,
    /// How long one request may take.
    pub timeout: Duration,
}

impl Worker {
    /// Brings the copy of `url` up to date and answers the commit that `reference` (branch, tag or commit) means.
    /// Dropping the future ends the worker.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::Timeout`], and what the worker says.
    pub async fn fetch(&self, url: &str, reference: &str, auth: &Auth) -> Result<Commit, Error> {
        url::parse(url)?;
        let request = Request::Fetch {
            repository: self.repository(url),
            url: url.to_owned(),
            reference: reference.to_owned(),
            auth: auth.clone(),
        };
        match self.ask(&request).await? {
            Answer::Fetched(commit) => Ok(commit),
            other => Err(unexpected(&request, &other)),
        }
    }

    /// Reads folders of a commit that was fetched from `url`.
    ///
    /// # Errors
    /// As [`Worker::fetch`].
    pub async fn read(&self, url: &str, commit: &str, folders: &[Folder]) -> Result<Files, Error> {
        let request =
            Request::Read { repository: self.repository(url), commit: commit.to_owned(), folders: folders.to_vec() };
        match self.ask(&request).await? {
            Answer::Read { files, missing, too_large } => {
                let decode = |(path, text): (String, String)| Some((path, STANDARD.decode(text).ok()?));
                let files = files.into_iter().map(decode).collect::<Option<_>>();
                let files = files.ok_or_else(|| Error::Failed(format!("{}: bytes are garbled", request.what())))?;
                Ok(Files { files, missing, too_large })
            }
            other => Err(unexpected(&request, &other)),
        }
    }

    /// Where the copy of a URL is: its characters that are safe in a file name, and what tells it from others.
    fn repository(&self, url: &str) -> PathBuf {
        // FNV-1a: a name, not a secret.
        let hash = url
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let safe: String = url.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect();
        self.folder.join(format!("{safe}-{hash:016x}.git"))
    }

    async fn ask(&self, request: &Request) -> Result<Answer, Error> {
        let broken = |source| Error::Worker { program: self.program.display().to_string(), source };
        let mut command = Command::new(&self.program);
        // A home, so that nobody has to look it up among the machine's users; nothing is in it.
        command.args(&self.arguments).env_clear().env("HOME", &self.folder);
        command.envs(KEPT_VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(broken)?;
        let (Some(mut input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(broken(std::io::Error::other("it has no pipes")));
        };
        let what = request.what();
        let text = serde_json::to_vec(request).map_err(|source| Error::Answer { what: what.clone(), source })?;
        let (mut answer, mut complaint) = (Vec::new(), Vec::new());
        let talk = async {
            // A worker that ends early says more by its answer than the broken pipe does.
            let _written = input.write_all(&text).await;
            drop(input);
            let (mut output, mut errors) = (output.take(MAX_ANSWER_BYTES), errors.take(MAX_ERROR_BYTES));
            tokio::try_join!(output.read_to_end(&mut answer), errors.read_to_end(&mut complaint))?;
            child.wait().await
        };
        let ended = tokio::time::timeout(self.timeout, talk).await;
        let status = match ended {
            Ok(ended) => ended.map_err(broken)?,
            Err(_) => {
                // Waits for the end too, so that the repository's lock is free afterwards.
                child.kill().await.map_err(broken)?;
                return Err(Error::Timeout { what, timeout_s: self.timeout.as_secs() });
            }
        };
        if !status.success() || answer.is_empty() {
            let output = String::from_utf8_lossy(&complaint).trim().to_owned();
            return Err(Error::Died { what, status: status.to_string(), output });
        }
        match serde_json::from_slice(&answer) {
            Ok(Answer::Failed(why)) => Err(Error::Failed(why)),
            Ok(answer) => Ok(answer),
            Err(source) => Err(Error::Answer { what, source }),
        }
    }
}

fn unexpected(request: &Request, answer: &Answer) -> Error {
    let kind = match answer {
        Answer::Fetched(_) => "a commit",
        Answer::Read { .. } => "files",
        Answer::Failed(_) => "a failure",
    };
    Error::Failed(format!("{}: the git worker answered {kind} to something else", request.what()))
}
