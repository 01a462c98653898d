//! Reading a log: from the wanted line to its end, and on as it grows, across rotations.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::format::{Wanted, parse};

/// How much is read at once.
const CHUNK_BYTES: usize = 32 * 1024;
/// A longer line is passed on in pieces.
const LINE_MAX_BYTES: usize = 256 * 1024;
/// A log that is followed is looked at this often.
const POLL: Duration = Duration::from_millis(200);

/// Reads a log and sends it in pieces, until its end or, where it is followed, until `alive` says that nothing more
/// will come, the limit is reached or nobody listens.
pub async fn read(path: PathBuf, wanted: Wanted, out: mpsc::Sender<Bytes>, alive: impl Fn() -> bool) {
    let Ok(mut file) = File::open(&path) else { return };
    if let Some(lines) = wanted.tail_lines {
        if lines == 0 && !wanted.follow {
            return;
        }
        let start = tail_start(&mut file, lines).unwrap_or(0);
        if file.seek(SeekFrom::Start(start)).is_err() {
            return;
        }
    }
    let mut state = State { wanted, begins: true, left: u64::MAX, held: Vec::new() };
    state.left = state.wanted.limit_bytes.unwrap_or(u64::MAX);
    loop {
        // Asked before the reading: what a container writes last is read after its end.
        let goes_on = state.wanted.follow && alive();
        match drain(&mut file, &mut state, &out).await {
            Progress::Done => return,
            Progress::End => {}
        }
        if replaced(&file, &path) {
            match File::open(&path) {
                Ok(next) => {
                    file = next;
                    continue;
                }
                Err(_) if !goes_on => return,
                Err(_) => {}
            }
        }
        if !goes_on {
            return;
        }
        tokio::select! {
            () = out.closed() => return,
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

struct State {
    wanted: Wanted,
    begins: bool,
    left: u64,
    held: Vec<u8>,
}

enum Progress {
    Done,
    End,
}

async fn drain(file: &mut File, state: &mut State, out: &mpsc::Sender<Bytes>) -> Progress {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let size = match file.read(&mut chunk) {
            Ok(0) => return Progress::End,
            Ok(size) => size,
            Err(error) => {
                tracing::debug!(%error, "read a log");
                return Progress::Done;
            }
        };
        state.held.extend_from_slice(&chunk[..size]);
        let mut piece = state.take_lines();
        if piece.is_empty() {
            continue;
        }
        if piece.len() as u64 >= state.left {
            piece.truncate(usize::try_from(state.left).unwrap_or(0));
            let _ = out.send(piece.into()).await;
            return Progress::Done;
        }
        state.left -= piece.len() as u64;
        if out.send(piece.into()).await.is_err() {
            return Progress::Done;
        }
    }
}

impl State {
    /// What of the whole lines that are held is wanted; the rest stays held.
    fn take_lines(&mut self) -> Vec<u8> {
        let mut piece = Vec::new();
        let mut from = 0;
        while let Some(length) = self.held[from..].iter().position(|byte| *byte == b'\n') {
            if let Some(line) = parse(&self.held[from..from + length]) {
                self.wanted.render(&line, self.begins, &mut piece);
                self.begins = !line.partial;
            }
            from += length + 1;
        }
        self.held.drain(..from);
        if self.held.len() > LINE_MAX_BYTES {
            self.held.clear();
        }
        piece
    }
}

/// True where the file at `path` is another one: it was rotated away.
fn replaced(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => open.ino() != there.ino() || there.len() < open.len(),
        _ => false,
    }
}

/// Where the last `lines` lines begin; lines that are parts of one count once.
fn tail_start(file: &mut File, lines: u64) -> std::io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut found = 0;
    let mut suffix: Vec<u8> = Vec::new();
    let size = end;
    if lines == 0 {
        return Ok(size);
    }
    while end > 0 {
        let start = end.saturating_sub(CHUNK_BYTES as u64);
        let mut chunk = vec![0; usize::try_from(end - start).unwrap_or(0)];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut chunk)?;
        for at in (0..chunk.len()).rev() {
            let position = start + at as u64;
            if chunk[at] != b'\n' || position + 1 == size {
                continue;
            }
            // The line after this newline begins a text unless the line before it is a part.
            let before = line_before(&chunk[..at], &suffix);
            if before.is_some_and(|partial| partial) {
                continue;
            }
            found += 1;
            if found == lines {
                return Ok(position + 1);
            }
        }
        suffix = chunk;
        end = start;
    }
    Ok(0)
}

/// Whether the last line of `head` is a part; `None` where it is not wholly in it.
fn line_before(head: &[u8], _: &[u8]) -> Option<bool> {
    let from = head.iter().rposition(|byte| *byte == b'\n')?;
    Some(parse(&head[from + 1..])?.partial)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn line(text: &str) -> String {
        format!("2026-01-01T00:00:00Z stdout F {text}\n")
    }

    async fn collect(path: &Path, wanted: Wanted) -> String {
        let (sender, mut receiver) = mpsc::channel(4);
        let task = tokio::spawn(read(path.to_path_buf(), wanted, sender, || false));
        let mut all = Vec::new();
        while let Some(piece) = receiver.recv().await {
            all.extend_from_slice(&piece);
        }
        task.await.unwrap();
        String::from_utf8(all).unwrap()
    }

    #[tokio::test]
    async fn tails_and_limits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        let text: String = (0..5000).map(|n| line(&n.to_string())).collect();
        std::fs::write(&path, text).unwrap();
        let tail = |lines| Wanted { tail_lines: Some(lines), ..Default::default() };
        assert_eq!(collect(&path, tail(2)).await, "4998\n4999\n");
        assert_eq!(collect(&path, tail(4000)).await.lines().count(), 4000);
        assert_eq!(collect(&path, tail(9000)).await.lines().count(), 5000);
        assert_eq!(collect(&path, tail(0)).await, "");
        let limit = Wanted { limit_bytes: Some(5), ..Default::default() };
        assert_eq!(collect(&path, limit).await, "0\n1\n2");
    }

    #[tokio::test]
    async fn a_followed_log_goes_on_across_a_rotation_and_ends_with_its_container() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        std::fs::write(&path, line("one")).unwrap();
        let alive = Arc::new(AtomicBool::new(true));
        let (sender, mut receiver) = mpsc::channel(4);
        let wanted = Wanted { follow: true, ..Default::default() };
        let living = alive.clone();
        tokio::spawn(read(path.clone(), wanted, sender, move || living.load(Ordering::Relaxed)));
        assert_eq!(receiver.recv().await.unwrap(), "one\n");
        std::fs::rename(&path, folder.path().join("0.log.old")).unwrap();
        std::fs::write(&path, line("two")).unwrap();
        assert_eq!(receiver.recv().await.unwrap(), "two\n");
        alive.store(false, Ordering::Relaxed);
        assert!(receiver.recv().await.is_none());
    }
}
