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
