//! Running programs: to their end within a bound, with what they said when they fail.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Lines of a failed program's words that are told.
const LINES_TOLD: usize = 12;

/// Runs a program with `input` to its end and answers its standard output; it must succeed.
pub async fn run(command: &mut Command, input: &str, limit: Duration) -> anyhow::Result<String> {
    let output = finish(command, input, limit).await?;
    if !output.status.success() {
        bail!("`{}` {}: {}", line(command), output.status, last_lines(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn finish(command: &mut Command, input: &str, limit: Duration) -> anyhow::Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start `{}`", line(command)))?;
    if let Some(mut stdin) = child.stdin.take() {
        // It may end without reading; what it says then is what counts.
        let _unread = stdin.write_all(input.as_bytes()).await;
    }
    let ended = tokio::time::timeout(limit, child.wait_with_output()).await;
    Ok(ended.with_context(|| format!("`{}` did not end within {} s", line(command), limit.as_secs()))??)
}

/// The command for messages.
pub fn line(command: &Command) -> String {
    let command = command.as_std();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The end of what a program said.
pub fn last_lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LINES_TOLD)..].join("\n    ")
}

/// A program of PATH.
pub fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// A TCP port of loopback that nobody listens on.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    Ok(listener.local_addr().context("find a free port")?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn failures_are_told_in_the_programs_last_words() {
        let mut command = Command::new("sh");
        command.args(["-c", "cat; echo one >&2; echo >&2; echo two >&2; exit 3"]);
        let error = run(&mut command, "x", Duration::from_secs(5)).await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("one\n    two"), "{error}");
        let said = run(Command::new("cat").arg("-"), "hello", Duration::from_secs(5)).await.unwrap();
        assert_eq!(said, "hello");
    }

    #[tokio::test]
    async fn programs_that_do_not_end_are_given_up() {
        let error = run(Command::new("sleep").arg("60"), "", Duration::from_millis(50)).await.unwrap_err();
        assert!(error.to_string().contains("`sleep 60` did not end"), "{error}");
    }

    #[test]
    fn programs_are_found_in_the_path() {
        assert!(which("sh").is_some());
        assert_eq!(which("no-such-program-anywhere"), None);
    }
}
