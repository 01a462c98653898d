//! What hosts answer about themselves, a line each: any answer is understood as far as it goes, and of lines that come
//! twice in a row no more.
#![no_main]

use libfuzzer_sys::fuzz_target;
use provision::HostFacts;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let facts = HostFacts::parse(text);
    facts.clock_ahead_ms();
    facts.may_lower_oom_score();
    facts.unit("containerd.service").is_active();
    facts.modified_s("/etc/fstab");
    let again = HostFacts::parse(&format!("{text}\nend\t1\n"));
    assert!(again.complete);
});
