//! `~/.ssh/config`, `known_hosts` and pins of host keys.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use ssh::{ClientConfig, HostKeyPin, KnownHosts, known_hosts};

fuzz_target!(|data: &[u8]| {
    let Some([text, host]) = fuzz::parts::<2>(data) else { return };
    // Files that are included are on the disk, and no part of this.
    let includes = text.lines().any(|line| line.trim_start().to_lowercase().starts_with("include"));
    if let Some(Ok(config)) =
        (!includes).then(|| ClientConfig::parse(Path::new("/nowhere/config"), text, Path::new("/nowhere")))
        && let Ok(found) = config.host(host)
    {
        assert_eq!(config.host(host).expect("it was found"), found);
        let _ = config.target(host);
    }
    let known = KnownHosts::parse("/nowhere/known_hosts", text);
    for port in [22, 2222] {
        known.algorithms(host, port);
        known.has_authority(host, port);
        assert!(known_hosts::lookup_name(host, port).contains(&host.to_lowercase()));
    }
    let _ = HostKeyPin::parse(text);
});
