//! Commands and what they answer: plain data, and the line that the host's shell is given.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::quote;

/// Output of one command is kept in memory up to this size unless the command sets its own bound.
pub const OUTPUT_LIMIT_BYTES: usize = 8 << 20;

/// Linux takes arguments of at most 128 KiB each; the login shell and sudo need room for quoting.
pub const COMMAND_LIMIT_BYTES: usize = 96 << 10;

/// A script for the host's `/bin/sh`, its positional parameters and its standard input.
///
/// Secrets go into `stdin`, never into the script or its arguments: those are visible to everyone on the host.
#[derive(Debug, Clone)]
pub struct Command {
    pub(crate) script: String,
    pub(crate) args: Vec<String>,
    pub(crate) stdin: Bytes,
    pub(crate) timeout: Option<Duration>,
    pub(crate) output_limit_bytes: usize,
    pub(crate) as_login_user: bool,
    /// No shell is put around the script.
    plain: bool,
}

impl Command {
    /// A script: one line or many, POSIX shell.
    pub fn new(script: impl Into<String>) -> Self {
        Self {
            script: script.into(),
            args: Vec::new(),
            stdin: Bytes::new(),
            timeout: None,
            output_limit_bytes: OUTPUT_LIMIT_BYTES,
            as_login_user: false,
            plain: false,
        }
    }

    /// A command that the server is given without a shell around it, each parameter in single quotes: for servers
    /// that have no shell but take a command or two of their own, as those of Git repositories do.
    pub fn plain(command: impl Into<String>) -> Self {
        Self { plain: true, ..Self::new(command) }
    }

    /// A program and its arguments, each passed on unchanged.
    pub fn program<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(quote::join(words))
    }

    /// Adds a positional parameter: the first is `$1` in the script.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// What the command reads from standard input; empty otherwise.
    pub fn stdin(mut self, stdin: impl Into<Bytes>) -> Self {
        self.stdin = stdin.into();
        self
    }

    /// How long it may take, instead of the session's bound.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How much it may write to standard output and error each, instead of [`OUTPUT_LIMIT_BYTES`].
    pub fn output_limit_bytes(mut self, limit_bytes: usize) -> Self {
        self.output_limit_bytes = limit_bytes;
        self
    }

    /// Runs as the user that logged in, even where the session's commands become root.
    pub fn as_login_user(mut self) -> Self {
        self.as_login_user = true;
        self
    }

    /// The script, for a fake host to look at.
    pub fn script(&self) -> &str {
        &self.script
    }

    /// The positional parameters.
    pub fn args(&self) -> &[String] {
        &self.args
    }

    /// What it reads from standard input.
    pub fn input(&self) -> &Bytes {
        &self.stdin
    }

    /// `/bin/sh -c SCRIPT sh ARGS…` as one line for any POSIX shell; `SCRIPT ARGS…` where it is plain.
    pub(crate) fn line(&self) -> String {
        if self.plain {
            let args = self.args.iter().map(|arg| quote::single_quoted(arg));
            return std::iter::once(self.script.clone()).chain(args).collect::<Vec<_>>().join(" ");
        }
        let fixed = ["/bin/sh", "-c", &self.script, "sh"];
        quote::join(fixed.into_iter().chain(self.args.iter().map(String::as_str)))
    }

    /// The command's first words: for messages.
    pub fn summary(&self) -> String {
        const LENGTH: usize = 80;
        let first = self.script.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("set -"));
        let first = first.unwrap_or_default();
        match first.char_indices().nth(LENGTH) {
            Some((end, _)) => format!("{}…", &first[..end]),
            None if self.script.trim() == first => first.to_owned(),
            None => format!("{first} …"),
        }
    }
}

impl From<&str> for Command {
    fn from(script: &str) -> Self {
        Self::new(script)
    }
}

impl From<String> for Command {
    fn from(script: String) -> Self {
        Self::new(script)
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It exited with this code.
    Exited(u32),
    /// A signal ended it; the name without `SIG`.
    Signaled(String),
}

impl Status {
    /// Whether it exited with 0.
    pub fn success(&self) -> bool {
        *self == Self::Exited(0)
    }

    /// The exit code, or 128 when a signal ended it.
    pub fn code(&self) -> u32 {
        match self {
            Self::Exited(code) => *code,
            Self::Signaled(_) => 128,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with {code}"),
            Self::Signaled(signal) => write!(f, "was ended by signal {signal}"),
        }
    }
}

/// What a command left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: Status,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Exited with `code`, having written `stdout`: for fakes.
    pub fn exited(code: u32, stdout: impl Into<Vec<u8>>) -> Self {
        Self { status: Status::Exited(code), stdout: stdout.into(), stderr: Vec::new() }
    }

    /// Whether it exited with 0.
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// Standard output as text, without trailing white space.
    pub fn text(&self) -> Cow<'_, str> {
        trimmed(&self.stdout)
    }

    /// Standard error as text, without trailing white space.
    pub fn error_text(&self) -> Cow<'_, str> {
        trimmed(&self.stderr)
    }
}

fn trimmed(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes.trim_ascii_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_passes_script_and_parameters_on_unchanged() {
        let command = Command::new("echo \"$1\"").arg("it's").arg("");
        assert_eq!(command.line(), r#"/bin/sh -c 'echo "$1"' sh 'it'\''s' ''"#);
        assert_eq!(Command::program(["ls", "a b"]).script(), "ls 'a b'");
    }

    #[test]
    fn a_plain_command_has_no_shell_around_it_and_always_quotes() {
        assert_eq!(Command::plain("git-upload-pack").arg("a/b.git").line(), "git-upload-pack 'a/b.git'");
        assert_eq!(Command::plain("git-upload-pack").arg("it's").line(), r"git-upload-pack 'it'\''s'");
    }

    #[test]
    fn a_summary_is_the_first_telling_line_cut_short() {
        assert_eq!(Command::new("ls /").summary(), "ls /");
        assert_eq!(Command::new("set -eu\n  mkdir x\nls").summary(), "mkdir x …");
        assert_eq!(Command::new("x".repeat(200)).summary().chars().count(), 81);
    }
}
