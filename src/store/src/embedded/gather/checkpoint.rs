//! Whether pages of the log are being put in their place, by the locks that SQLite takes for it (their numbers are part
//! of the file format: "WAL-Mode File Format", 2.3).

use std::ffi::c_int;

use rusqlite::ffi;

/// Held by who puts pages in their place, alone; with others by who reads the whole log anew.
const CHECKPOINT_LOCK: c_int = 1;
/// Held by readers of the log as it was at an earlier time; the one before is that of readers of the file alone.
const FIRST_READER_LOCK: c_int = 4;

/// What one file's locks say.
#[derive(Debug, Default)]
pub(super) struct Checkpoint {
    runs: bool,
}

impl Checkpoint {
    /// Sees a lock taken or given back, with what that was answered; answers what SQLite is to be told. Where somebody
    /// reads what was before the newest pages SQLite would go as far as that reader lets it: it is told to leave it.
    pub(super) fn look(&mut self, offset: c_int, count: c_int, flags: c_int, code: c_int) -> c_int {
        let locks = flags & ffi::SQLITE_SHM_LOCK != 0;
        if offset == CHECKPOINT_LOCK && count == 1 && code == ffi::SQLITE_OK {
            self.runs = locks;
        }
        let reader = self.runs && locks && offset >= FIRST_READER_LOCK && count == 1;
        if reader && code == ffi::SQLITE_BUSY { ffi::SQLITE_LOCKED } else { code }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_puts_pages_in_their_place_is_told_to_leave_it_for_a_reader() {
        const TAKE: c_int = ffi::SQLITE_SHM_LOCK | ffi::SQLITE_SHM_EXCLUSIVE;
        const GIVE: c_int = ffi::SQLITE_SHM_UNLOCK | ffi::SQLITE_SHM_EXCLUSIVE;
        const BUSY: c_int = ffi::SQLITE_BUSY;
        let mut checkpoint = Checkpoint::default();
        let steps = [
            ("a reader looks for a place", 5, 1, TAKE, BUSY, BUSY),
            ("the log is read anew", 1, 2, TAKE, 0, 0),
            ("a reader looks for a place", 5, 1, TAKE, BUSY, BUSY),
            ("it is done", 1, 2, GIVE, 0, 0),
            ("a checkpoint begins", 1, 1, TAKE, 0, 0),
            ("nobody reads an earlier log here", 4, 1, TAKE, 0, 0),
            ("somebody does", 6, 1, TAKE, BUSY, ffi::SQLITE_LOCKED),
            ("somebody reads the file", 3, 1, TAKE, BUSY, BUSY),
            ("the log cannot begin anew", 4, 4, TAKE, BUSY, BUSY),
            ("it is over", 1, 1, GIVE, 0, 0),
            ("a reader looks for a place", 5, 1, TAKE, BUSY, BUSY),
        ];
        for (what, offset, count, flags, code, expected) in steps {
            assert_eq!(checkpoint.look(offset, count, flags, code), expected, "{what}");
        }
    }
}
