//! Figures of agents as text: no rate is below zero, and what nobody used is nothing.
#![no_main]

use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;
use metrics::reading::Reading;

fuzz_target!(|data: &[u8]| {
    let Some([before, after]) = fuzz::parts::<2>(data) else { return };
    let began = Timestamp::UNIX_EPOCH;
    let (before, after) = (Reading::parse(before, began), Reading::parse(after, began + SignedDuration::from_secs(15)));
    if let Some(usage) = after.since(&before) {
        assert!(usage.containers.len() <= after.containers.len().min(before.containers.len()));
    }
    assert!(after.since(&after).is_none(), "no time has passed");
    let later = Reading { at: began + SignedDuration::from_secs(30), ..after.clone() };
    if let Some(usage) = later.since(&after) {
        assert!(usage.node.cpu_nanocores == 0 && usage.containers.iter().all(|(_, used)| used.cpu_nanocores == 0));
    }
});
