//! What a container left as its last words: the file it was given, or the end of its log.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::observed::{Instance, Phase};
use crate::logs::format::{Line, parse};

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
    let raw = tail(path, LOG_MAX_BYTES * 4).unwrap_or_default();
    let lines: Vec<Line<'_>> = raw.lines().filter_map(|line| parse(line.as_bytes())).collect();
    let mut text = String::new();
    for line in &lines[lines.len().saturating_sub(LOG_MAX_LINES)..] {
        text.push_str(&String::from_utf8_lossy(line.text));
        // What did not end with a newline gets none.
        text.push_str(if line.partial { "" } else { "\n" });
    }
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
        std::fs::write(path("log"), "2026-01-01T00:00:00Z stdout F boom\n2026-01-01T00:00:00Z stdout P DONE\n")
            .unwrap();
        let mut without_newline = ended(1);
        read(&mut without_newline);
        assert_eq!(without_newline.message, "boom\nDONE");
        let mut fine = ended(0);
        read(&mut fine);
        assert_eq!(fine.message, "");
        std::fs::write(path("words"), "DONE").unwrap();
        read(&mut fine);
        assert_eq!(fine.message, "DONE");
    }
}
