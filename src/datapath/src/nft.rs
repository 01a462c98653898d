//! nftables through the `nft` program: a batch is one kernel transaction, applied whole or not at all.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::Error;

mod removals;

pub use removals::Removals;

/// How long `nft` may take. A batch of 100,000 elements takes under two seconds.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Applies a batch of nft commands.
///
/// # Errors
/// [`Error::Nft`] with what nft says; nothing was applied then.
pub async fn apply(batch: &str) -> Result<(), Error> {
    run(&["-f", "-"], Some(batch)).await.map(drop)
}

/// The elements and rules of a table as nft lists them; `None` where there is no such table.
///
/// # Errors
/// Where nft cannot be run.
pub async fn list_table(family: &str, table: &str) -> Result<Option<String>, Error> {
    match run(&["list", "table", family, table], None).await {
        Ok(text) => Ok(Some(text)),
        Err(Error::Nft(message)) if message.contains("No such file or directory") => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a table is there; does not read its elements.
///
/// # Errors
/// Where nft cannot be run.
pub async fn has_table(family: &str, table: &str) -> Result<bool, Error> {
    let listed = run(&["-t", "list", "tables", family], None).await?;
    Ok(listed.lines().any(|line| line.split_whitespace().last() == Some(table)))
}

/// Removes a table.
///
/// # Errors
/// Where nft cannot be run.
pub async fn remove_table(family: &str, table: &str) -> Result<(), Error> {
    // Adding it first makes the removal succeed whether or not it was there.
    apply(&format!("add table {family} {table}\ndelete table {family} {table}\n")).await
}

async fn run(arguments: &[&str], input: Option<&str>) -> Result<String, Error> {
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| Error::io("starting nft (Debian's package nftables)", source))?;
    let stdin = child.stdin.take();
    let feed = async {
        if let (Some(mut pipe), Some(text)) = (stdin, input) {
            // nft closes the pipe early where it refuses the batch; what it says is more useful than EPIPE.
            let _ = pipe.write_all(text.as_bytes()).await;
        }
    };
    let work = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output = tokio::time::timeout(TIMEOUT, work)
        .await
        .map_err(|_| Error::Nft(format!("no answer within {} s", TIMEOUT.as_secs())))?
        .map_err(|source| Error::io("waiting for nft", source))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Error::Nft(first_lines(&String::from_utf8_lossy(&output.stderr))))
    }
}

/// The first lines of what nft says: a refused batch repeats itself for every element.
fn first_lines(text: &str) -> String {
    text.lines().take(3).map(str::trim).collect::<Vec<_>>().join("; ")
}
