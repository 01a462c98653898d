//! The log file: lines come through a queue of bounded size to one thread, which writes and rotates. Where the disk
//! is slower than the requests, these wait for a bounded time; what finds no room then is counted and left out. From
//! then on nobody waits any more until the disk has made room.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::error::Error;

/// Lines that wait for the disk, in bytes. One event has at most two bodies and is far smaller.
const QUEUE_BYTES: u32 = 32 * 1024 * 1024;
/// How much is written at once.
const BATCH_BYTES: usize = 256 * 1024;
/// How long a request waits for room in the queue, and the end of the server for what is in it.
const WAIT: Duration = Duration::from_secs(5);
/// Only root reads who did what.
const MODE: u32 = 0o600;
/// In the name of a file that was rotated; the same form as other tools use, so that what reads theirs reads these.
const STAMP: &str = "%Y-%m-%dT%H-%M-%S";

/// Where the log is and when it is rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file: `/var/log/rkctl/audit.log`.
    pub path: PathBuf,
    /// A file that would grow longer is put aside.
    pub max_size_bytes: u64,
    /// Files that were put aside longer ago are deleted; 0 keeps them.
    pub max_age_days: u32,
    /// How many that were put aside are kept; 0 keeps all.
    pub max_backups: u32,
    /// Who waits for the disk.
    pub mode: Mode,
}

/// Who waits for the disk: `--audit-log-mode` of kube-apiserver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nobody; what finds no room is left out.
    Batch,
    /// Requests, for a bounded time.
    #[default]
    Blocking,
    /// The same, and a request whose coming cannot be written is refused.
    BlockingStrict,
}

/// The log.
pub struct Log {
    sender: mpsc::UnboundedSender<Line>,
    room: Arc<Semaphore>,
    mode: Mode,
    wait: Duration,
    /// The disk has not made room in time.
    is_behind: AtomicBool,
    counts: Arc<Counts>,
}

/// A line on its way to the disk.
struct Line {
    bytes: Vec<u8>,
    /// Who waits to hear whether it was written.
    written: Option<oneshot::Sender<bool>>,
}

/// How many lines were added, and how many were left out or could not be written.
#[derive(Debug, Default)]
struct Counts {
    added: AtomicU64,
    lost: AtomicU64,
}

impl Log {
    /// Opens the file and starts the thread that writes it. The thread ends when the log is dropped.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn open(settings: &Settings) -> Result<Self, Error> {
        let failed = |source| Error::AuditLog { path: settings.path.clone(), source };
        let mut output = Output::open(settings.clone()).map_err(failed)?;
        Self::start(settings.mode, move |batch| output.write(batch)).map_err(failed)
    }

    /// A log whose lines go where `write` puts them.
    fn start(mode: Mode, write: impl FnMut(&[u8]) -> std::io::Result<()> + Send + 'static) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(QUEUE_BYTES as usize));
        let counts = Arc::new(Counts::default());
        let (returned, counted) = (room.clone(), counts.clone());
        let thread = std::thread::Builder::new().name("audit".to_string());
        thread.spawn(move || write_all(write, receiver, &returned, &counted))?;
        Ok(Self { sender, room, mode, wait: WAIT, is_behind: AtomicBool::new(false), counts })
    }

    /// A request is refused whose coming cannot be written.
    pub fn is_strict(&self) -> bool {
        self.mode == Mode::BlockingStrict
    }

    /// Adds a line, and waits for room where there is none, as the mode says; says whether it was added. Where nothing
    /// may be done that is not written, it waits until the disk has it, and says whether it has.
    pub async fn add(&self, line: Vec<u8>) -> bool {
        let waits = match self.mode {
            Mode::Batch => false,
            Mode::Blocking => !self.is_behind.load(Ordering::Relaxed),
            Mode::BlockingStrict => true,
        };
        if !waits {
            return self.try_add(line);
        }
        let until = tokio::time::Instant::now() + self.wait;
        let Ok(Ok(permit)) = tokio::time::timeout_at(until, self.room.acquire_many(Self::size(&line))).await else {
            self.lose(true);
            return false;
        };
        permit.forget();
        if !self.is_strict() {
            self.send(line, None);
            return true;
        }
        let (written, outcome) = oneshot::channel();
        self.send(line, Some(written));
        // A disk that takes longer may have it yet: it is not lost, and nobody knows that it is written.
        matches!(tokio::time::timeout_at(until, outcome).await, Ok(Ok(true)))
    }

    /// Adds a line where there is room, for those who cannot wait; says whether there was.
    pub fn try_add(&self, line: Vec<u8>) -> bool {
        match self.room.try_acquire_many(Self::size(&line)) {
            Ok(permit) => {
                permit.forget();
                self.send(line, None);
                true
            }
            Err(_) => {
                // Where requests wait, room may come in a moment.
                self.lose(self.mode == Mode::Batch);
                false
            }
        }
    }

    /// How many lines were added, and how many were left out.
    pub fn counts(&self) -> (u64, u64) {
        (self.counts.added.load(Ordering::Relaxed), self.counts.lost.load(Ordering::Relaxed))
    }

    /// Waits, for a bounded time, until everything that was added is in the file.
    pub async fn flush(&self) {
        // All the room there is comes back when nothing waits any more.
        if tokio::time::timeout(WAIT, self.room.acquire_many(QUEUE_BYTES)).await.is_err() {
            tracing::warn!("the audit log was not written to its end in {} s", WAIT.as_secs());
        }
    }

    fn size(line: &[u8]) -> u32 {
        u32::try_from(line.len()).unwrap_or(QUEUE_BYTES).min(QUEUE_BYTES)
    }

    fn send(&self, bytes: Vec<u8>, written: Option<oneshot::Sender<bool>>) {
        self.counts.added.fetch_add(1, Ordering::Relaxed);
        if self.is_behind.load(Ordering::Relaxed) && self.is_behind.swap(false, Ordering::Relaxed) {
            let lost = self.counts.lost.load(Ordering::Relaxed);
            tracing::warn!(lost, "the disk of the audit log has made room: events are written again");
        }
        // It fails only where the thread has gone, with the process.
        let _ = self.sender.send(Line { bytes, written });
    }

    fn lose(&self, is_behind: bool) {
        let lost = self.counts.lost.fetch_add(1, Ordering::Relaxed) + 1;
        if is_behind && !self.is_behind.swap(true, Ordering::Relaxed) {
            tracing::error!(lost, "audit events are left out until the disk of the audit log has made room");
        }
    }
}

fn write_all(
    mut write: impl FnMut(&[u8]) -> std::io::Result<()>,
    mut receiver: mpsc::UnboundedReceiver<Line>,
    room: &Semaphore,
    counts: &Counts,
) {
    while let Some(first) = receiver.blocking_recv() {
        let mut returned = Log::size(&first.bytes) as usize;
        let (mut batch, mut lines) = (first.bytes, 1);
        let mut waiting: Vec<_> = first.written.into_iter().collect();
        while batch.len() < BATCH_BYTES {
            let Ok(line) = receiver.try_recv() else { break };
            returned += Log::size(&line.bytes) as usize;
            lines += 1;
            batch.extend_from_slice(&line.bytes);
            waiting.extend(line.written);
        }
        let written = write(&batch);
        if let Err(error) = &written {
            // Part of them may be there; none is known to be.
            counts.added.fetch_sub(lines, Ordering::Relaxed);
            let lost = counts.lost.fetch_add(lines, Ordering::Relaxed) + lines;
            tracing::error!(lost, "audit events are lost: the log cannot be written: {error}");
        }
        // Who has gone does not want to know.
        for one in waiting {
            let _ = one.send(written.is_ok());
        }
        room.add_permits(returned);
    }
}

/// The file and how long it is.
struct Output {
    settings: Settings,
    file: File,
    size_bytes: u64,
    /// The last line may have no end.
    is_torn: bool,
}

impl Output {
    fn open(settings: Settings) -> std::io::Result<Self> {
        if let Some(folder) = settings.path.parent().filter(|folder| !folder.exists()) {
            use std::os::unix::fs::DirBuilderExt;
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).mode(MODE).open(&settings.path)?;
        file.set_permissions(std::fs::Permissions::from_mode(MODE))?;
        let size_bytes = file.metadata()?.len();
        Ok(Self { settings, file, size_bytes, is_torn: false })
    }

    fn write(&mut self, batch: &[u8]) -> std::io::Result<()> {
        let added = batch.len() as u64;
        let is_full = self.size_bytes > 0 && self.size_bytes + added > self.settings.max_size_bytes;
        if is_full && let Err(error) = self.rotate(Timestamp::now()) {
            // Events go on where they went, and it is tried again when as many have been written again.
            self.size_bytes = 0;
            let path = self.settings.path.display();
            tracing::error!(%path, "the audit log is full and cannot be put aside: {error}");
        }
        if std::mem::replace(&mut self.is_torn, true) {
            self.file.write_all(b"\n")?;
        }
        self.file.write_all(batch)?;
        self.is_torn = false;
        self.size_bytes += added;
        Ok(())
    }

    fn rotate(&mut self, now: Timestamp) -> std::io::Result<()> {
        match std::fs::rename(&self.settings.path, self.aside(now)) {
            // Somebody else has put it aside.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
        *self = Self::open(self.settings.clone())?;
        self.delete_surplus(now);
        Ok(())
    }

    fn delete_surplus(&self, now: Timestamp) {
        let folder = self.settings.path.parent().unwrap_or(Path::new("/"));
        let names = match std::fs::read_dir(folder) {
            Ok(entries) => entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect(),
            Err(error) => {
                tracing::warn!("old audit logs cannot be listed: {error}");
                return;
            }
        };
        for name in surplus(&self.settings, names, now) {
            if let Err(error) = std::fs::remove_file(folder.join(&name)) {
                tracing::warn!(name, "an old audit log cannot be deleted: {error}");
            }
        }
    }

    /// A name that nothing has yet.
    fn aside(&self, now: Timestamp) -> PathBuf {
        let (stem, end) = parts(&self.settings.path);
        let mut at = now;
        loop {
            let millis = at.subsec_millisecond();
            let name = format!("{stem}-{}.{millis:03}{end}", at.to_zoned(TimeZone::UTC).strftime(STAMP));
            let path = self.settings.path.with_file_name(name);
            if !path.exists() {
                return path;
            }
            at += SignedDuration::from_millis(1);
        }
    }
}

/// `audit` and `.log`.
fn parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    (
        text(path.file_stem()).unwrap_or_default(),
        text(path.extension()).map(|end| format!(".{end}")).unwrap_or_default(),
    )
}

/// Which of the files of a folder were put aside too long ago, or are too many.
fn surplus(settings: &Settings, names: Vec<String>, now: Timestamp) -> Vec<String> {
    let (stem, end) = parts(&settings.path);
    let time_of = |name: &str| {
        let stamp = name.strip_prefix(&format!("{stem}-"))?.strip_suffix(end.as_str())?;
        let (seconds, _) = stamp.split_once('.')?;
        let time = jiff::civil::DateTime::strptime(STAMP, seconds).ok()?;
        Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    let mut aside: Vec<(String, Timestamp)> =
        names.into_iter().filter_map(|name| time_of(&name).map(|time| (name, time))).collect();
    // The newest first; milliseconds are in the names.
    aside.sort_by(|one, other| other.0.cmp(&one.0));
    let kept = if settings.max_backups == 0 { usize::MAX } else { settings.max_backups as usize };
    let age = SignedDuration::from_hours(24 * i64::from(settings.max_age_days));
    let is_old = |time: Timestamp| settings.max_age_days > 0 && now.duration_since(time) > age;
    let surplus = aside.into_iter().enumerate().filter(|(index, (_, time))| *index >= kept || is_old(*time));
    surplus.map(|(_, (name, _))| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &Path, max_size_bytes: u64) -> Settings {
        Settings {
            path: folder.join("audit.log"),
            max_size_bytes,
            max_age_days: 0,
            max_backups: 2,
            mode: Mode::Blocking,
        }
    }

    #[tokio::test]
    async fn the_log_is_roots_and_is_put_aside_when_it_is_full() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Log::open(&settings(folder.path(), 10)).expect("a log");
        for line in ["first 1\n", "second\n", "third 3\n", "fourth\n"] {
            log.add(line.as_bytes().to_vec()).await;
            log.flush().await;
        }
        let path = folder.path().join("audit.log");
        assert_eq!(std::fs::read_to_string(&path).expect("readable"), "fourth\n");
        assert_eq!(std::fs::metadata(&path).expect("is there").permissions().mode() & 0o777, MODE);
        let mut aside: Vec<_> = std::fs::read_dir(folder.path())
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .filter(|entry| *entry != path)
            .collect();
        aside.sort();
        let texts: Vec<_> = aside.iter().map(|path| std::fs::read_to_string(path).expect("readable")).collect();
        assert_eq!(texts, ["second\n", "third 3\n"], "the oldest has gone");
    }

    #[test]
    fn a_log_that_cannot_be_put_aside_goes_on_where_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = folder.path().join("kept");
        std::fs::create_dir(&kept).expect("a folder");
        let path = kept.join("audit.log");
        let mut output = Output::open(Settings { path: path.clone(), ..settings(&kept, 10) }).expect("a log");
        let text = |path: &Path| std::fs::read_to_string(path).expect("readable");
        output.write(b"first 1\n").expect("written");
        // As somebody does who rotates logs in their own way.
        std::fs::rename(&path, kept.join("moved")).expect("moved");
        output.write(b"second\n").expect("written");
        assert_eq!((text(&path), text(&kept.join("moved"))), ("second\n".to_string(), "first 1\n".to_string()));
        // Neither renamed nor made anew, where the folder has gone.
        let away = folder.path().join("away");
        std::fs::rename(&kept, &away).expect("moved");
        std::fs::write(&kept, "").expect("in its place");
        output.write(b"third 3\n").expect("written");
        assert_eq!(text(&away.join("audit.log")), "second\nthird 3\n");
        std::fs::remove_file(&kept).expect("removed");
        std::fs::rename(&away, &kept).expect("back");
        output.is_torn = true;
        output.write(b"fourth\n").expect("written");
        let all = std::fs::read_dir(&kept).expect("a folder").map(|entry| text(&entry.expect("an entry").path()));
        let lines: Vec<String> = all.collect::<String>().lines().map(str::to_string).collect();
        for line in ["first 1", "second", "third 3", "fourth"] {
            assert!(lines.iter().any(|found| found == line), "{line}: {lines:?}");
        }
    }

    #[test]
    fn files_that_were_put_aside_go_by_number_and_age() {
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().expect("a time");
        let names =
            ["audit-2026-01-09T00-00-00.000.log", "audit-2026-01-01T00-00-00.000.log", "audit.log", "other.log"];
        let surplus = |max_age_days, max_backups| {
            let settings = Settings { max_age_days, max_backups, ..settings(Path::new("/x"), 1) };
            surplus(&settings, names.map(str::to_string).to_vec(), now)
        };
        assert_eq!(surplus(0, 0), Vec::<String>::new());
        assert_eq!(surplus(5, 0), [names[1]]);
        assert_eq!(surplus(0, 1), [names[1]]);
    }

    #[tokio::test]
    async fn what_finds_no_room_is_left_out_and_the_caller_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Log::open(&settings(folder.path(), 1000)).expect("a log");
        let room = log.room.acquire_many(QUEUE_BYTES).await.expect("all of it");
        log.try_add(b"lost\n".to_vec());
        assert_eq!(log.counts(), (0, 1));
        drop(room);
        log.try_add(b"kept\n".to_vec());
        log.flush().await;
        assert_eq!(std::fs::read_to_string(folder.path().join("audit.log")).expect("readable"), "kept\n");
    }

    /// As on a disk that is full: what is lost is counted, and where nothing may be done that is not written nothing is.
    #[tokio::test]
    async fn what_the_disk_does_not_take_is_counted_and_refused_where_that_matters() {
        for (mode, is_refused) in [(Mode::Batch, false), (Mode::Blocking, false), (Mode::BlockingStrict, true)] {
            let is_full = Arc::new(AtomicBool::new(true));
            let full = is_full.clone();
            let log = Log::start(mode, move |_| match full.load(Ordering::Relaxed) {
                true => Err(std::io::Error::from(std::io::ErrorKind::StorageFull)),
                false => Ok(()),
            });
            let log = log.expect("a log");
            assert_eq!(!log.add(b"lost\n".to_vec()).await, is_refused, "{mode:?}");
            log.flush().await;
            assert_eq!(log.counts(), (0, 1), "{mode:?}");
            is_full.store(false, Ordering::Relaxed);
            assert!(log.add(b"kept\n".to_vec()).await, "{mode:?}");
            log.flush().await;
            assert_eq!(log.counts(), (1, 1), "{mode:?}");
        }
    }

    #[tokio::test]
    async fn where_the_disk_hangs_one_waits_and_then_nobody_until_there_is_room() {
        const WAIT: Duration = Duration::from_millis(100);
        for (mode, waits) in
            [(Mode::Batch, [false; 3]), (Mode::Blocking, [true, false, false]), (Mode::BlockingStrict, [true; 3])]
        {
            let folder = tempfile::tempdir().expect("a folder");
            let mut log = Log::open(&Settings { mode, ..settings(folder.path(), 1000) }).expect("a log");
            log.wait = WAIT;
            let room = log.room.acquire_many(QUEUE_BYTES).await.expect("all of it");
            for waits in waits {
                let began = std::time::Instant::now();
                assert!(!log.add(b"lost\n".to_vec()).await);
                assert_eq!(began.elapsed() >= WAIT, waits, "{mode:?}");
            }
            drop(room);
            assert!(log.add(b"kept\n".to_vec()).await && !log.is_behind.load(Ordering::Relaxed));
            assert_eq!(log.counts(), (1, 3));
        }
    }
}
