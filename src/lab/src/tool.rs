//! Running the machine's own tools: arguments as they are, no shell, the error text kept.

use std::process::Stdio;

use tokio::process::Command;

use crate::error::Error;

/// Runs `words` and answers its standard output; a status other than 0 is an error with the end of standard error.
pub(crate) async fn run(words: &[&str]) -> Result<String, Error> {
    let command = || words.join(" ");
    let output = Command::new(words[0])
        .args(&words[1..])
        .env("LC_ALL", "C")
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|source| Error::ToolStart { command: command(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Tool { command: command(), stderr: tail(&String::from_utf8_lossy(&output.stderr)) })
}

/// sudo and cron leave `sbin` out.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The last lines of a text, in one line.
pub(crate) fn tail(text: &str) -> String {
    const LINES: usize = 5;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let tail = &lines[lines.len().saturating_sub(LINES)..];
    if tail.is_empty() { "it said nothing".to_owned() } else { tail.join(" | ") }
}
