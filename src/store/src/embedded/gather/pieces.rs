//! What is gathered of an open file.
//!
//! The log is made longer a good piece at a time, with zeros, which SQLite takes for no part of it: a sync that finds the
//! file as long as before has less to write.

use std::ffi::{c_int, c_void};

use rusqlite::ffi;

/// Bytes of one write at most: SQLite takes no more than 128 KiB for one.
const GATHERED_MAX: usize = 120 << 10;
/// What the log is made longer by.
const AHEAD: usize = 1 << 20;
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
    /// What went wrong where nobody could be told.
    failed: c_int,
    /// How long the file is where it is the log; what is beyond is written ahead.
    log_bytes: Option<i64>,
}

impl Gathered {
    /// A file that was opened, whose methods `real` has; the log or another.
    pub(super) fn new(real: *mut ffi::sqlite3_file, is_log: bool) -> Self {
        let mut state = Self { real, bytes: Vec::new(), at: 0, failed: ffi::SQLITE_OK, log_bytes: None };
        let mut long = 0;
        if is_log && real!(state, xFileSize(&mut long)) == ffi::SQLITE_OK {
            state.log_bytes = Some(long);
        }
        state
    }

    /// Takes a piece in that is to be written at `offset`.
    pub(super) fn gather(&mut self, piece: &[u8], offset: i64) -> c_int {
        let behind = usize::try_from(offset - self.at).is_ok_and(|behind| behind == self.bytes.len());
        if !behind || self.bytes.len() + piece.len() > GATHERED_MAX {
            let code = self.flush();
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

    /// Writes what is gathered.
    pub(super) fn flush(&mut self) -> c_int {
        let failed = std::mem::replace(&mut self.failed, ffi::SQLITE_OK);
        if failed != ffi::SQLITE_OK || self.bytes.is_empty() {
            self.bytes.clear();
            return failed;
        }
        // Never more than GATHERED_MAX and one piece.
        let count = c_int::try_from(self.bytes.len()).unwrap_or(c_int::MAX);
        let code = real!(self, xWrite(self.bytes.as_ptr().cast::<c_void>(), count, self.at));
        self.bytes.clear();
        if code == ffi::SQLITE_OK {
            self.write_ahead(self.at + i64::from(count));
        }
        code
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

    /// The same where a failure can only be told later.
    pub(super) fn flush_silently(&mut self) {
        self.failed = self.flush();
    }
}
