//! The disk as SQLite sees it: a file system (`sqlite3_vfs`) of the process' own, made the default, so that the store
//! is tested as it is. One connection at a time; there is one disk.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use rusqlite::ffi;

use crate::disk::{Disk, Failure};

static DISK: Mutex<Option<Disk>> = Mutex::new(None);
static CHANCE: Mutex<Option<StdRng>> = Mutex::new(None);

/// Longest path.
const PATH_BYTES: c_int = 512;

fn lock() -> MutexGuard<'static, Option<Disk>> {
    DISK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something with the disk.
pub fn with<T>(act: impl FnOnce(&mut Disk) -> T) -> T {
    act(lock().get_or_insert_default())
}

/// An empty disk, and chance from the beginning.
pub fn replace(seed: u64) {
    *lock() = Some(Disk::default());
    *CHANCE.lock().unwrap_or_else(PoisonError::into_inner) = Some(StdRng::seed_from_u64(seed));
}

/// A file that SQLite has open; SQLite owns the memory.
#[repr(C)]
struct Handle {
    base: ffi::sqlite3_file,
    state: *mut Opened,
}

struct Opened {
    name: String,
    remove_on_close: bool,
    /// The index of the write-ahead log, which lives in memory alone.
    shared: Vec<Box<[u64]>>,
}

/// # Safety
/// `file` is one that `open` filled in and `close` has not seen yet.
unsafe fn opened<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Opened {
    // SAFETY: by the contract above the memory is a `Handle` whose state is a live `Box<Opened>`.
    unsafe { &mut *(*file.cast::<Handle>()).state }
}

fn code(outcome: Result<(), Failure>, failure: c_int) -> c_int {
    match outcome {
        Ok(()) => ffi::SQLITE_OK,
        Err(Failure::Full) => ffi::SQLITE_FULL,
        Err(Failure::Off | Failure::Refused) => failure,
    }
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives `szOsFile` bytes for the file, a name that ends in zero or none, and a place for flags or
    // none.
    unsafe {
        let name = if name.is_null() { "temporary".to_owned() } else { CStr::from_ptr(name).to_string_lossy().into() };
        let handle = file.cast::<Handle>();
        (*handle).base.pMethods = std::ptr::null();
        let made = with(|disk| match disk.exists(&name) || flags & ffi::SQLITE_OPEN_CREATE != 0 {
            true => disk.create(&name),
            false => Err(Failure::Off),
        });
        if made.is_err() {
            return ffi::SQLITE_CANTOPEN;
        }
        let remove_on_close = flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0;
        (*handle).state = Box::into_raw(Box::new(Opened { name, remove_on_close, shared: Vec::new() }));
        (*handle).base.pMethods = &METHODS;
        if !out_flags.is_null() {
            *out_flags = flags;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file that `open` filled in once; its state came from `Box::into_raw`.
    let state = unsafe { Box::from_raw((*file.cast::<Handle>()).state) };
    if state.remove_on_close {
        let _ = with(|disk| disk.remove(&state.name));
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, into: *mut c_void, count: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite gives an open file and room for `count` bytes.
    let (state, into) = unsafe { (opened(file), std::slice::from_raw_parts_mut(into.cast::<u8>(), count as usize)) };
    match with(|disk| disk.read(&state.name, offset as usize, into)) {
        Err(_) => ffi::SQLITE_IOERR_READ,
        Ok(found) if found < into.len() => {
            into[found..].fill(0);
            ffi::SQLITE_IOERR_SHORT_READ
        }
        Ok(_) => ffi::SQLITE_OK,
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, count: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite gives an open file and `count` bytes.
    let (state, from) = unsafe { (opened(file), std::slice::from_raw_parts(from.cast::<u8>(), count as usize)) };
    code(with(|disk| disk.write(&state.name, offset as usize, from)), ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: SQLite gives an open file.
    let state = unsafe { opened(file) };
    code(with(|disk| disk.truncate(&state.name, size as usize)), ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: SQLite gives an open file.
    let state = unsafe { opened(file) };
    code(with(|disk| disk.sync(&state.name)), ffi::SQLITE_IOERR_FSYNC)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    // SAFETY: SQLite gives an open file and a place for the size.
    let (state, size) = unsafe { (opened(file), &mut *size) };
    code(with(|disk| disk.size(&state.name)).map(|found| *size = found as i64), ffi::SQLITE_IOERR_FSTAT)
}

unsafe extern "C" fn lock_file(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn is_reserved(_: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: SQLite gives a place for the answer.
    unsafe { *out = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    4096
}

/// What SQLite's own file system says of Linux' disks.
unsafe extern "C" fn characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: SQLite gives an open file and a place for the address; regions are boxed, so they do not move.
    unsafe {
        let shared = &mut opened(file).shared;
        while shared.len() <= region as usize && extend != 0 {
            shared.push(vec![0u64; size as usize / 8].into_boxed_slice());
        }
        *out = shared.get_mut(region as usize).map_or(std::ptr::null_mut(), |memory| memory.as_mut_ptr().cast());
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn shm_lock(_: *mut ffi::sqlite3_file, _: c_int, _: c_int, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn shm_barrier(_: *mut ffi::sqlite3_file) {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: SQLite gives an open file and uses its regions no more.
    unsafe { opened(file).shared.clear() };
    ffi::SQLITE_OK
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
    xUnlock: Some(lock_file),
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

unsafe extern "C" fn remove(_: *mut ffi::sqlite3_vfs, name: *const c_char, _: c_int) -> c_int {
    // SAFETY: SQLite gives a name that ends in zero.
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
    code(with(|disk| disk.remove(&name)), ffi::SQLITE_IOERR_DELETE)
}

unsafe extern "C" fn access(_: *mut ffi::sqlite3_vfs, name: *const c_char, _: c_int, out: *mut c_int) -> c_int {
    // SAFETY: SQLite gives a name that ends in zero, and a place for the answer.
    unsafe { *out = with(|disk| disk.exists(&CStr::from_ptr(name).to_string_lossy())).into() };
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_path(_: *mut ffi::sqlite3_vfs, name: *const c_char, room: c_int, out: *mut c_char) -> c_int {
    // SAFETY: SQLite gives a name that ends in zero and `room` bytes; the name is copied only where it fits.
    unsafe {
        let bytes = CStr::from_ptr(name).to_bytes_with_nul();
        if bytes.len() > room as usize {
            return ffi::SQLITE_CANTOPEN;
        }
        std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), out, bytes.len());
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn randomness(_: *mut ffi::sqlite3_vfs, count: c_int, out: *mut c_char) -> c_int {
    // SAFETY: SQLite gives room for `count` bytes.
    let out = unsafe { std::slice::from_raw_parts_mut(out.cast::<u8>(), count as usize) };
    let mut chance = CHANCE.lock().unwrap_or_else(PoisonError::into_inner);
    chance.get_or_insert_with(|| StdRng::seed_from_u64(0)).fill_bytes(out);
    count
}

unsafe extern "C" fn sleep(_: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    microseconds
}

unsafe extern "C" fn time(_: *mut ffi::sqlite3_vfs, out: *mut f64) -> c_int {
    // SAFETY: SQLite gives a place for the time, in days; always the same.
    unsafe { *out = 2_460_000.5 };
    ffi::SQLITE_OK
}

/// Makes the disk SQLite's default.
pub fn install() {
    let vfs = Box::leak(Box::new(ffi::sqlite3_vfs {
        iVersion: 1,
        szOsFile: size_of::<Handle>() as c_int,
        mxPathname: PATH_BYTES,
        pNext: std::ptr::null_mut(),
        zName: c"power".as_ptr(),
        pAppData: std::ptr::null_mut(),
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
        xGetLastError: None,
        xCurrentTimeInt64: None,
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    }));
    // SAFETY: the structure lives as long as the process, and every function keeps SQLite's contract.
    let outcome = unsafe { ffi::sqlite3_vfs_register(vfs, 1) };
    assert_eq!(outcome, ffi::SQLITE_OK);
}
