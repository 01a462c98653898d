//! What is gathered of an open file.
//!
//! The log is made longer a good piece at a time, with zeros, which SQLite takes for no part of it: a sync that finds the
//! file as long as before has less to write.
//!
//! What goes wrong is kept until it is told to an operation whose answer SQLite heeds; of many it does not, such as the
//! one that says that all pages were put in their place.

use std::ffi::{c_int, c_void};

use rusqlite::ffi;

use super::checkpoint::Checkpoint;

/// Bytes of one write at most: SQLite takes no more than 128 KiB for one.
const GATHERED_MAX: usize = 120 << 10;
/// What the log is made longer by.
const AHEAD: usize = 1 << 20;
/// Bytes of a page at most.
const PAGE_MAX: i64 = 64 << 10;
static ZEROS: [u8; GATHERED_MAX] = [0; GATHERED_MAX];

/// Calls a method of the real file.
macro_rules! real {
    ($state:expr, $method:ident($($argument:expr),*)) => {{
        let real: *mut ffi::sqlite3_file = $state.real;
        // SAFETY: the real file is open as long as ours is, and its methods are SQLite's or a test's own.
        unsafe { (*(*real).pMethods).$method.map_or(ffi::SQLITE_IOERR, |method| method(real, $($argument),*)) }
    }};
}
pub(super) use real;

/// An open file.
pub(super) struct Gathered {
    pub(super) real: *mut ffi::sqlite3_file,
    /// What is to be written at `at`.
    bytes: Vec<u8>,
    at: i64,
    /// What went wrong and nobody was told.
    failed: c_int,
    /// How long the file is where it is the log; what is beyond is written ahead.
    log_bytes: Option<i64>,
    pub(super) checkpoint: Checkpoint,
}

impl Gathered {
    /// A file that was opened, whose methods `real` has, with SQLite's flags of what it is.
    ///
    /// # Errors
    /// SQLite's code, where what is there cannot be made durable.
    pub(super) fn new(real: *mut ffi::sqlite3_file, flags: c_int) -> Result<Self, c_int> {
        let mut state = Self {
            real,
            bytes: Vec::new(),
            at: 0,
            failed: ffi::SQLITE_OK,
            log_bytes: None,
            checkpoint: Checkpoint::default(),
        };
        if flags & (ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_DB) != 0 {
            let mut long = 0;
            told(real!(state, xFileSize(&mut long)))?;
            if flags & ffi::SQLITE_OPEN_WAL != 0 {
                state.write_again(long)?;
                state.log_bytes = Some(long);
            } else if long <= PAGE_MAX {
                // Later pages stay in the log until they are durable. Without the first the log is nobody's.
                state.write_again(long)?;
            }
        }
        Ok(state)
    }

    /// Writes the first `long` bytes over themselves and syncs them. What a process was refused the sync of can be read
    /// after it without being on the disk, and no later sync writes it: whatever is read now must be there for good.
    fn write_again(&self, long: i64) -> Result<(), c_int> {
        let mut bytes = vec![0; GATHERED_MAX];
        let mut at = 0;
        while at < long {
            let count = c_int::try_from((long - at).min(bytes.len() as i64)).unwrap_or_default();
            told(real!(self, xRead(bytes.as_mut_ptr().cast::<c_void>(), count, at)))?;
            told(real!(self, xWrite(bytes.as_ptr().cast::<c_void>(), count, at)))?;
            at += i64::from(count);
        }
        if long == 0 { Ok(()) } else { told(real!(self, xSync(ffi::SQLITE_SYNC_NORMAL))) }
    }

    /// Takes a piece in that is to be written at `offset`.
    pub(super) fn gather(&mut self, piece: &[u8], offset: i64) -> c_int {
        let behind = usize::try_from(offset - self.at).is_ok_and(|behind| behind == self.bytes.len());
        if !behind || self.bytes.len() + piece.len() > GATHERED_MAX {
            let code = self.flush_and_tell();
            if code != ffi::SQLITE_OK {
                return code;
            }
            self.at = offset;
        }
        self.bytes.extend_from_slice(piece);
        ffi::SQLITE_OK
    }

    /// The file was cut.
    pub(super) fn cut(&mut self, size: i64) {
        self.log_bytes = self.log_bytes.map(|_| size);
    }

    /// Writes what is gathered. What goes wrong is kept for who heeds it.
    pub(super) fn flush(&mut self) {
        if self.bytes.is_empty() {
            return;
        }
        // Never more than GATHERED_MAX and one piece.
        let count = c_int::try_from(self.bytes.len()).unwrap_or(c_int::MAX);
        let code = real!(self, xWrite(self.bytes.as_ptr().cast::<c_void>(), count, self.at));
        self.bytes.clear();
        match code {
            ffi::SQLITE_OK => self.write_ahead(self.at + i64::from(count)),
            code => self.failed = code,
        }
    }

    /// The same for an operation whose answer is heeded: says what went wrong since the last one.
    pub(super) fn flush_and_tell(&mut self) -> c_int {
        self.flush();
        std::mem::replace(&mut self.failed, ffi::SQLITE_OK)
    }

    /// Writes zeros behind `end` where the log has grown.
    fn write_ahead(&mut self, end: i64) {
        let Some(long) = self.log_bytes.filter(|long| end > *long) else { return };
        let ahead = i64::try_from(AHEAD).unwrap_or_default();
        let target = (end / ahead + 1) * ahead;
        let mut at = end.max(long);
        while at < target {
            let count = c_int::try_from((target - at).min(ZEROS.len() as i64)).unwrap_or_default();
            if real!(self, xWrite(ZEROS.as_ptr().cast::<c_void>(), count, at)) != ffi::SQLITE_OK {
                // The disk may be full, which is no matter while what SQLite writes has room.
                self.log_bytes = None;
                return;
            }
            at += i64::from(count);
        }
        self.log_bytes = Some(target);
    }
}

fn told(code: c_int) -> Result<(), c_int> {
    if code == ffi::SQLITE_OK { Ok(()) } else { Err(code) }
}
