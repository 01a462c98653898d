//! SQLite writes a transaction to its log in pieces, two for each page, and puts pages in their place one by one. Here
//! pieces that lie one behind the other are gathered, and written together before anybody could miss them: before the
//! file is synced, read, measured or let go. A file system (`sqlite3_vfs`) that leaves all else to SQLite's own.
//!
//! The log is made longer a good piece at a time, with zeros, which SQLite takes for no part of it: a sync that finds the
//! file as long as before has less to write.
//!
//! What is synced, and when, stays as SQLite has it. A write that fails is told when the file is synced, which is
//! before a transaction counts.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

use rusqlite::ffi;

/// What connections name it by.
pub(super) const NAME: &CStr = c"rkctl-gathering";
/// Bytes of one write at most: SQLite takes no more than 128 KiB for one.
const GATHERED_MAX: usize = 120 << 10;
/// What the log is made longer by.
const AHEAD: usize = 1 << 20;
static ZEROS: [u8; GATHERED_MAX] = [0; GATHERED_MAX];

/// An open file; SQLite owns the memory, and that of its own file system's lies behind.
#[repr(C)]
struct Handle {
    base: ffi::sqlite3_file,
    state: *mut Gathered,
}

struct Gathered {
    real: *mut ffi::sqlite3_file,
    /// What is to be written at `at`.
    bytes: Vec<u8>,
    at: i64,
    /// What went wrong where nobody could be told.
    failed: c_int,
    /// How long the file is where it is the log; what is beyond is written ahead.
    log_bytes: Option<i64>,
}

/// The file that was opened.
///
/// # Safety
/// `file` is one that `open` filled in and `close` has not seen yet; SQLite uses a file from one thread at a time.
unsafe fn gathered<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Gathered {
    // SAFETY: by the contract above the memory is a `Handle` whose state is a live `Box<Gathered>`.
    unsafe { &mut *(*file.cast::<Handle>()).state }
}

/// Calls a method of the real file.
macro_rules! real {
    ($state:expr, $method:ident($($argument:expr),*)) => {{
        let real: *mut ffi::sqlite3_file = $state.real;
        // SAFETY: the real file is open as long as ours is, and its methods are SQLite's or a test's own.
        unsafe { (*(*real).pMethods).$method.map_or(ffi::SQLITE_IOERR, |method| method(real, $($argument),*)) }
    }};
}

impl Gathered {
    /// Writes what is gathered.
    fn flush(&mut self) -> c_int {
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
    fn flush_silently(&mut self) {
        self.failed = self.flush();
    }
}

/// Writes what is gathered, then does something with the real file.
macro_rules! flushed {
    ($file:expr, $method:ident($($argument:expr),*)) => {{
        // SAFETY: SQLite gives an open file.
        let state = unsafe { gathered($file) };
        match state.flush() {
            ffi::SQLITE_OK => real!(state, $method($($argument),*)),
            code => code,
        }
    }};
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file that `open` filled in once; its state came from `Box::into_raw`.
    let mut state = unsafe { Box::from_raw((*file.cast::<Handle>()).state) };
    let flushed = state.flush();
    let closed = real!(state, xClose());
    if flushed == ffi::SQLITE_OK { closed } else { flushed }
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, into: *mut c_void, count: c_int, offset: i64) -> c_int {
    flushed!(file, xRead(into, count, offset))
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, count: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite gives an open file and `count` bytes.
    let (state, piece) = unsafe {
        let count = usize::try_from(count).unwrap_or_default();
        (gathered(file), std::slice::from_raw_parts(from.cast::<u8>(), count))
    };
    let behind = usize::try_from(offset - state.at).is_ok_and(|behind| behind == state.bytes.len());
    if !behind || state.bytes.len() + piece.len() > GATHERED_MAX {
        let code = state.flush();
        if code != ffi::SQLITE_OK {
            return code;
        }
        state.at = offset;
    }
    state.bytes.extend_from_slice(piece);
    ffi::SQLITE_OK
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    let code = flushed!(file, xTruncate(size));
    // SAFETY: SQLite gives an open file.
    let state = unsafe { gathered(file) };
    state.log_bytes = state.log_bytes.map(|_| size);
    code
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    flushed!(file, xSync(flags))
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    flushed!(file, xFileSize(size))
}

unsafe extern "C" fn lock_file(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    flushed!(file, xLock(level))
}

unsafe extern "C" fn unlock_file(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    flushed!(file, xUnlock(level))
}

unsafe extern "C" fn is_reserved(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    flushed!(file, xCheckReservedLock(out))
}

unsafe extern "C" fn file_control(file: *mut ffi::sqlite3_file, what: c_int, argument: *mut c_void) -> c_int {
    flushed!(file, xFileControl(what, argument))
}

unsafe extern "C" fn sector_size(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite gives an open file.
    real!(unsafe { gathered(file) }, xSectorSize())
}

unsafe extern "C" fn characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite gives an open file.
    real!(unsafe { gathered(file) }, xDeviceCharacteristics())
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    flushed!(file, xShmMap(region, size, extend, out))
}

unsafe extern "C" fn shm_lock(file: *mut ffi::sqlite3_file, offset: c_int, count: c_int, flags: c_int) -> c_int {
    flushed!(file, xShmLock(offset, count, flags))
}

/// What others see of the log's index after this must be in the log.
unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    // SAFETY: SQLite gives an open file.
    let state = unsafe { gathered(file) };
    state.flush_silently();
    let real = state.real;
    // SAFETY: as in `real!`; without the method there is no log's index.
    unsafe {
        if let Some(barrier) = (*(*real).pMethods).xShmBarrier {
            barrier(real);
        }
    }
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, remove: c_int) -> c_int {
    flushed!(file, xShmUnmap(remove))
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock_file),
    xUnlock: Some(unlock_file),
    xCheckReservedLock: Some(is_reserved),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Calls what the file system below has of a name.
macro_rules! below {
    ($vfs:expr, $function:ident($($argument:expr),*), $none:expr) => {{
        // SAFETY: `register` has put the file system below there, which is never taken away.
        unsafe {
            let below = (*$vfs).pAppData.cast::<ffi::sqlite3_vfs>();
            (*below).$function.map_or($none, |function| function(below, $($argument),*))
        }
    }};
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let handle = file.cast::<Handle>();
    // SAFETY: SQLite gives `szOsFile` bytes, which is a handle and behind it what the file system below asks for.
    let real = unsafe {
        (*handle).base.pMethods = std::ptr::null();
        let real = handle.add(1).cast::<ffi::sqlite3_file>();
        (*real).pMethods = std::ptr::null();
        real
    };
    let code = below!(vfs, xOpen(name, real, flags, out_flags), ffi::SQLITE_CANTOPEN);
    // SAFETY: the real file's memory is as above.
    let is_open = unsafe { !(*real).pMethods.is_null() };
    let mut state = Gathered { real, bytes: Vec::new(), at: 0, failed: ffi::SQLITE_OK, log_bytes: None };
    if code == ffi::SQLITE_OK {
        let mut long = 0;
        if flags & ffi::SQLITE_OPEN_WAL != 0 && real!(state, xFileSize(&mut long)) == ffi::SQLITE_OK {
            state.log_bytes = Some(long);
        }
        // SAFETY: the memory is a handle's, as above.
        unsafe {
            (*handle).state = Box::into_raw(Box::new(state));
            (*handle).base.pMethods = &METHODS;
        }
    } else if is_open {
        // A file that has methods is closed, also one that could not be opened; what that answers is of no use.
        let _ = real!(state, xClose());
    }
    code
}

unsafe extern "C" fn remove(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    below!(vfs, xDelete(name, sync_folder), ffi::SQLITE_IOERR)
}

unsafe extern "C" fn access(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, flags: c_int, out: *mut c_int) -> c_int {
    below!(vfs, xAccess(name, flags, out), ffi::SQLITE_IOERR)
}

unsafe extern "C" fn full_path(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    below!(vfs, xFullPathname(name, room, out), ffi::SQLITE_IOERR)
}

unsafe extern "C" fn randomness(vfs: *mut ffi::sqlite3_vfs, count: c_int, out: *mut c_char) -> c_int {
    below!(vfs, xRandomness(count, out), 0)
}

unsafe extern "C" fn sleep(vfs: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    below!(vfs, xSleep(microseconds), 0)
}

unsafe extern "C" fn time(vfs: *mut ffi::sqlite3_vfs, out: *mut f64) -> c_int {
    below!(vfs, xCurrentTime(out), ffi::SQLITE_ERROR)
}

unsafe extern "C" fn time_ms(vfs: *mut ffi::sqlite3_vfs, out: *mut i64) -> c_int {
    below!(vfs, xCurrentTimeInt64(out), ffi::SQLITE_ERROR)
}

unsafe extern "C" fn last_error(vfs: *mut ffi::sqlite3_vfs, count: c_int, out: *mut c_char) -> c_int {
    below!(vfs, xGetLastError(count, out), 0)
}

/// Makes it known to SQLite under [`NAME`]; below it is what SQLite's default is now.
///
/// # Errors
/// SQLite's code.
pub(super) fn register() -> Result<(), rusqlite::Error> {
    static REGISTERED: OnceLock<c_int> = OnceLock::new();
    let code = *REGISTERED.get_or_init(|| {
        // SAFETY: asking for the default file system, which is never taken away.
        let below = unsafe { ffi::sqlite3_vfs_find(std::ptr::null()) };
        if below.is_null() {
            return ffi::SQLITE_ERROR;
        }
        // SAFETY: it is a file system, since it is not null.
        let (room, path_max, knows_ms) = unsafe {
            ((*below).szOsFile, (*below).mxPathname, (*below).iVersion >= 2 && (*below).xCurrentTimeInt64.is_some())
        };
        let vfs = Box::leak(Box::new(ffi::sqlite3_vfs {
            iVersion: 2,
            szOsFile: c_int::try_from(size_of::<Handle>()).unwrap_or_default() + room,
            mxPathname: path_max,
            pNext: std::ptr::null_mut(),
            zName: NAME.as_ptr(),
            pAppData: below.cast::<c_void>(),
            xOpen: Some(open),
            xDelete: Some(remove),
            xAccess: Some(access),
            xFullPathname: Some(full_path),
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(randomness),
            xSleep: Some(sleep),
            xCurrentTime: Some(time),
            xGetLastError: Some(last_error),
            xCurrentTimeInt64: knows_ms.then_some(time_ms as _),
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        }));
        // SAFETY: the structure lives as long as the process, and every function keeps SQLite's contract.
        unsafe { ffi::sqlite3_vfs_register(vfs, 0) }
    });
    match code {
        ffi::SQLITE_OK => Ok(()),
        code => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)),
    }
}
