//! An open file, by the methods that SQLite calls (`sqlite3_io_methods`).
//!
//! What is synced, and when, stays as SQLite has it. A write that fails is told when the file is synced at the latest,
//! which is before a transaction or a checkpoint counts.
//!
//! All pages of the log are put in their place together, or none: of some alone SQLite would hold, without a sync, that
//! they are where they belong.

use std::ffi::{c_int, c_void};

use rusqlite::ffi;

use super::pieces::{Gathered, real};

/// An open file; SQLite owns the memory, and that of its own file system's lies behind.
#[repr(C)]
pub(super) struct Handle {
    pub(super) base: ffi::sqlite3_file,
    state: *mut Gathered,
}

/// Makes the file behind `handle` one that is opened with `flags`: `real` is that of the file system below. Answers
/// SQLite's code.
///
/// # Safety
/// `handle` is memory that SQLite gives to open a file in, and `real` lies behind it and is open.
pub(super) unsafe fn begin(handle: *mut Handle, real: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    let state = match Gathered::new(real, flags) {
        Ok(state) => Box::new(state),
        Err(code) => return code,
    };
    // SAFETY: by the contract above.
    unsafe {
        (*handle).state = Box::into_raw(state);
        (*handle).base.pMethods = &METHODS;
    }
    ffi::SQLITE_OK
}

/// The file that was opened.
///
/// # Safety
/// `file` is one that `open` filled in and `close` has not seen yet; SQLite uses a file from one thread at a time.
unsafe fn gathered<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Gathered {
    // SAFETY: by the contract above the memory is a `Handle` whose state is a live `Box<Gathered>`.
    unsafe { &mut *(*file.cast::<Handle>()).state }
}

/// Writes what is gathered, then does something with the real file. SQLite may not look at the answer.
macro_rules! flushed {
    ($file:expr, $method:ident($($argument:expr),*)) => {{
        // SAFETY: SQLite gives an open file.
        let state = unsafe { gathered($file) };
        state.flush();
        real!(state, $method($($argument),*))
    }};
}

/// The same where SQLite heeds the answer, and does not go on after a failure.
macro_rules! told {
    ($file:expr, $method:ident($($argument:expr),*)) => {{
        // SAFETY: SQLite gives an open file.
        let state = unsafe { gathered($file) };
        match state.flush_and_tell() {
            ffi::SQLITE_OK => real!(state, $method($($argument),*)),
            code => code,
        }
    }};
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file that `open` filled in once; its state came from `Box::into_raw`.
    let mut state = unsafe { Box::from_raw((*file.cast::<Handle>()).state) };
    let flushed = state.flush_and_tell();
    let closed = real!(state, xClose());
    if flushed == ffi::SQLITE_OK { closed } else { flushed }
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, into: *mut c_void, count: c_int, offset: i64) -> c_int {
    told!(file, xRead(into, count, offset))
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, count: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite gives an open file and `count` bytes.
    let (state, piece) = unsafe {
        let count = usize::try_from(count).unwrap_or_default();
        (gathered(file), std::slice::from_raw_parts(from.cast::<u8>(), count))
    };
    state.gather(piece, offset)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    let code = told!(file, xTruncate(size));
    // SAFETY: SQLite gives an open file.
    unsafe { gathered(file) }.cut(size);
    code
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    told!(file, xSync(flags))
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
    let code = flushed!(file, xShmLock(offset, count, flags));
    // SAFETY: SQLite gives an open file.
    unsafe { gathered(file) }.checkpoint.look(offset, count, flags, code)
}

/// What others see of the log's index after this must be in the log.
unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    // SAFETY: SQLite gives an open file.
    let state = unsafe { gathered(file) };
    state.flush();
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
