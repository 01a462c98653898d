//! SQLite writes a transaction to its log in pieces, two for each page, and puts pages in their place one by one. Here
//! pieces that lie one behind the other are gathered, and written together before anybody could miss them: before the
//! file is synced, read, measured or let go. A file system (`sqlite3_vfs`) that leaves all else to SQLite's own; an
//! open file is `file`'s, what is gathered of it `pieces`'.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

use rusqlite::ffi;

mod checkpoint;
mod file;
mod pieces;

use file::Handle;

/// What connections name it by.
pub(super) const NAME: &CStr = c"rkctl-gathering";

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
    let mut code = below!(vfs, xOpen(name, real, flags, out_flags), ffi::SQLITE_CANTOPEN);
    // SAFETY: the real file's memory is as above.
    let is_open = unsafe { !(*real).pMethods.is_null() };
    if code == ffi::SQLITE_OK {
        // SAFETY: the memory is a handle's, as above, and the real file is open.
        code = unsafe { file::begin(handle, real, flags) };
    }
    if code != ffi::SQLITE_OK && is_open {
        // A file that has methods is closed, also one that could not be opened; what that answers is of no use.
        // SAFETY: it is open, and its methods are SQLite's or a test's own.
        let _ = unsafe { (*(*real).pMethods).xClose.map(|close| close(real)) };
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
