//! The size of the binary as it ships.

use anyhow::Context as _;

use crate::bench::Bench;
use crate::report::{Measured, Row, Target};

const LIMIT_MB: f64 = 40.0;

pub fn take(bench: &Bench) -> anyhow::Result<Measured> {
    let path = bench.rkctl.program();
    let file = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let stripped = match is_stripped(&file) {
        Some(true) => "stripped",
        Some(false) => "NOT stripped",
        None => "not a 64-bit little-endian program",
    };
    let row = Row::new("binary", file.len() as f64 / 1e6, "MB").target(Target::AtMost(LIMIT_MB));
    let row = row.detail(format!("{} bytes, {stripped}", file.len()));
    Ok(Measured { how: "the size of the file; MB are millions of bytes".to_owned(), rows: vec![row], parts: vec![] })
}

/// Whether no section is a table of symbols; `None` where the file is not a 64-bit little-endian program (elf(5)).
fn is_stripped(file: &[u8]) -> Option<bool> {
    const CLASS_AND_ORDER: std::ops::Range<usize> = 4..6;
    const HEADERS_AT: usize = 0x28;
    const HEADER_SIZE_AT: usize = 0x3a;
    const HEADERS_COUNT_AT: usize = 0x3c;
    const TYPE_AT: usize = 4;
    const SYMBOLS: u32 = 2;
    let short = |at: usize| Some(usize::from(u16::from_le_bytes(file.get(at..at + 2)?.try_into().ok()?)));
    if !file.starts_with(b"\x7fELF") || file.get(CLASS_AND_ORDER)? != [2, 1] {
        return None;
    }
    let headers = u64::from_le_bytes(file.get(HEADERS_AT..HEADERS_AT + 8)?.try_into().ok()?);
    let headers = usize::try_from(headers).ok()?;
    let (size, count) = (short(HEADER_SIZE_AT)?, short(HEADERS_COUNT_AT)?);
    for index in 0..count {
        let at = headers.checked_add(index * size + TYPE_AT)?;
        let kind = u32::from_le_bytes(file.get(at..at.checked_add(4)?)?.try_into().ok()?);
        if kind == SYMBOLS {
            return Some(false);
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_symbols_means_it_is_not_stripped() {
        // These tests are built with symbols.
        let mut own = std::fs::read("/proc/self/exe").unwrap();
        assert_eq!(is_stripped(&own), Some(false));
        // Without any section there is no such table.
        own[0x3c..0x3e].fill(0);
        assert_eq!(is_stripped(&own), Some(true));
        assert_eq!(is_stripped(&own[..0x30]), None);
        assert_eq!(is_stripped(b"#!/bin/sh"), None);
    }
}
