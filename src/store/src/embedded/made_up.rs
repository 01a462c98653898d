//! A log of rows that a fuzz target has made up, in memory.

use std::path::Path;

use bytes::Bytes;
use rusqlite::{Connection, params};

use super::disk::failed;
use super::row::{self, Row, unsigned};
use super::{Check, layout, maintain};
use crate::Error;
use crate::fuzz::MadeUp;

pub(crate) fn read(rows: &[MadeUp], floor: i64, removed: i64) -> Result<Check, Error> {
    let path = Path::new("made up");
    let mut connection = Connection::open_in_memory().map_err(|error| failed(path, error))?;
    layout::prepare(&mut connection, path)?;
    fill(&connection, rows, floor, removed).map_err(|error| failed(path, error))?;
    maintain::check_open(Ok(connection), path)
}

fn fill(connection: &Connection, rows: &[MadeUp], floor: i64, removed: i64) -> Result<(), rusqlite::Error> {
    layout::set_meta(connection, "floor", floor)?;
    layout::set_meta(connection, "removed", removed)?;
    let mut insert = connection.prepare(row::INSERT)?;
    let mut sum = removed;
    for made in rows {
        let row = Row {
            revision: unsigned(made.revision),
            key: made.key.as_str().into(),
            value: made.value.clone().map(Bytes::from),
            create_revision: unsigned(made.create_revision),
            lease: unsigned(made.lease),
        };
        let checksum = made.checksum.unwrap_or_else(|| i64::from(row.checksum()));
        sum = sum.wrapping_add(checksum);
        let total = made.total.unwrap_or(sum);
        insert.execute(params![
            made.revision,
            made.key,
            made.value,
            made.create_revision,
            made.lease,
            checksum,
            total
        ])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(revision: i64, key: &str, value: Option<&[u8]>, create_revision: i64) -> MadeUp {
        let (key, value) = (key.to_string(), value.map(<[u8]>::to_vec));
        MadeUp { revision, key, value, create_revision, lease: 0, checksum: None, total: None }
    }

    /// What a store writes that creates two keys, changes one, and deletes and creates the other.
    fn honest() -> Vec<MadeUp> {
        vec![
            row(2, "/a", Some(b""), 2),
            row(3, "/b", Some(b"1"), 3),
            row(4, "/a", Some(b"2"), 2),
            row(5, "/b", None, 0),
            row(6, "/b", Some(b"3"), 6),
        ]
    }

    /// Does something to rows that no store would have written.
    type Damage = fn(&mut Vec<MadeUp>);

    #[test]
    fn rows_as_a_store_writes_them_are_sound_and_others_are_not() {
        let found = read(&honest(), 1, 0).expect("a log");
        assert_eq!((found.wrong.len(), found.keys, found.rows, found.revision), (0, 2, 5, 6), "{found:?}");
        let damage: [(&str, Damage); 8] = [
            ("a revision is missing", |rows| drop(rows.remove(1))),
            ("a revision below all", |rows| rows[0].revision = i64::MIN),
            ("a revision above all", |rows| rows[4].revision = i64::MAX),
            ("a checksum", |rows| rows[3].checksum = Some(-1)),
            ("a sum", |rows| rows[4].total = Some(i64::MIN)),
            ("a deletion of what is not there", |rows| rows[0].value = None),
            ("a creation that never was", |rows| rows[2].create_revision = 3),
            ("a deletion that ends by itself", |rows| rows[3].lease = i64::MAX),
        ];
        for (what, act) in damage {
            let mut rows = honest();
            act(&mut rows);
            let found = read(&rows, 1, 0).expect("a log");
            assert!(!found.wrong.is_empty(), "{what}: {found:?}");
        }
        read(&[row(2, "/a", Some(b""), 2), row(2, "/a", Some(b""), 2)], 1, 0).expect_err("a revision twice");
    }
}
