//! What a container left as its last words: the file it was given, or the end of its log.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::observed::{Instance, Phase};

/// A message in a status is at most this long.
const MESSAGE_MAX_BYTES: u64 = 4096;
/// The end of a log that stands in for a message.
const LOG_MAX_BYTES: u64 = 2048;
/// And at most so many lines of it.
const LOG_MAX_LINES: usize = 80;

/// Adds the last words of an ended container to its message.
pub fn read(instance: &mut Instance) {
    if instance.phase != Phase::Exited {
        return;
    }
    let Some((file, policy)) = instance.termination.clone() else { return };
    let mut message = tail(&file, MESSAGE_MAX_BYTES).unwrap_or_default();
    if message.is_empty() && policy == "FallbackToLogsOnError" && instance.exit_code != 0 {
        message = log_tail(&instance.log_path);
    }
    if !message.is_empty() {
        instance.message = message;
    }
}

fn tail(path: &str, max_bytes: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(max_bytes)))?;
    let mut bytes = Vec::new();
    file.take(max_bytes).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn log_tail(path: &str) -> String {
    // Each line of a log carries a time and a stream in front of what was printed.
    let raw = tail(path, LOG_MAX_BYTES * 4).unwrap_or_default();
    let lines: Vec<&str> = raw.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).collect();
    let from = lines.len().saturating_sub(LOG_MAX_LINES);
    let mut text: String = lines[from..].iter().map(|line| format!("{line}\n")).collect();
    let excess = text.len().saturating_sub(LOG_MAX_BYTES as usize);
    if let Some(cut) = (excess..text.len()).find(|at| text.is_char_boundary(*at)) {
        text.drain(..cut);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_comes_first_and_the_log_only_after_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("words"), "").unwrap();
        std::fs::write(path("log"), "2026-01-01T00:00:00Z stdout F boom\n").unwrap();
        let ended = |code| Instance {
            phase: Phase::Exited,
            exit_code: code,
            log_path: path("log"),
            termination: Some((path("words"), "FallbackToLogsOnError".into())),
            ..Default::default()
        };
        let mut failed = ended(1);
        read(&mut failed);
        assert_eq!(failed.message, "boom\n");
        let mut fine = ended(0);
        read(&mut fine);
        assert_eq!(fine.message, "");
        std::fs::write(path("words"), "DONE").unwrap();
        read(&mut fine);
        assert_eq!(fine.message, "DONE");
    }
}
