//! Connections as the kernel's tool lists them, beside the elements that services are made of.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy::conntrack::{stale_flow, stale_flows};
use proxy::elements::{Contribution, Map};

/// A line is `MAP key = value`.
fn contribution(text: &str) -> Contribution {
    let mut contribution = Contribution::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(" = ") else { continue };
        let (map, key) = match key.split_at_checked(1) {
            Some(("e", key)) => (Map::Endpoints, key),
            Some(("n", key)) => (Map::NodePortEndpoints, key),
            Some(("r", key)) => (Map::Refused, key),
            Some((_, key)) => (Map::RefusedNodePorts, key),
            None => continue,
        };
        contribution.elements.insert((map, key.to_string()), value.to_string());
    }
    contribution
}

fuzz_target!(|data: &[u8]| {
    let Some([old, new, line]) = fuzz::parts::<3>(data) else { return };
    let (old, new) = (contribution(old), contribution(new));
    assert!(stale_flows(&old, &old).is_empty());
    assert!(stale_flows(&new, &new).is_empty());
    stale_flows(&old, &new);
    if let Some(flow) = stale_flow(line, [&old, &new].into_iter()) {
        assert!(flow.endpoint.is_some());
    }
});
