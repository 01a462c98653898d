//! Inventories, ranges of hosts and lengths of time: what is wrong is told by line, and what is read and written again
//! is the same.
#![no_main]

use std::path::Path;

use inventory::{duration, hostlist};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let path = Path::new("/nowhere/inventory.yaml");
    match inventory::parse(text, path) {
        Ok(_) => assert!(inventory::parse(text, path).is_ok()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(hosts) = hostlist::expand(text) {
        assert!(!hosts.is_empty() && hosts.iter().map(String::len).sum::<usize>() < 1 << 24);
    }
    if let Ok(length) = duration::parse(text) {
        assert_eq!(duration::parse(&duration::format(length)), Ok(length));
    }
});
