//! Which pressures the node is under: a shortage counts for a while after it has ended, so that what was moved away
//! does not come back at once and make it anew.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use machinery::eviction::{Pressure, Shortage};

/// How long a pressure is told after its last shortage; kubelet's `eviction-pressure-transition-period`.
const LASTS: SignedDuration = SignedDuration::from_mins(5);

/// When each pressure was last seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pressures(BTreeMap<Pressure, Timestamp>);

impl Pressures {
    /// Notes what there is too little of.
    pub fn note(&mut self, short: &[Shortage], now: Timestamp) {
        for shortage in short {
            self.0.insert(shortage.signal.pressure(), now);
        }
        self.0.retain(|_, seen| now.duration_since(*seen) < LASTS);
    }

    /// Whether the node is under a pressure.
    pub fn has(&self, pressure: Pressure) -> bool {
        self.0.contains_key(&pressure)
    }

    /// Every pressure that the node is under.
    pub fn all(&self) -> impl Iterator<Item = Pressure> {
        self.0.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use machinery::eviction::{Level, Signal};

    #[test]
    fn a_pressure_lasts_beyond_its_shortage() {
        let at = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
        let level = Level { available: 0, capacity: 1 };
        let short = [Shortage { signal: Signal::ImagefsInodes, wanted: 1, level }];
        let mut pressures = Pressures::default();
        pressures.note(&short, at(0));
        assert!(pressures.has(Pressure::Disk) && !pressures.has(Pressure::Memory));
        pressures.note(&[], at(4));
        assert!(pressures.has(Pressure::Disk));
        pressures.note(&short, at(4));
        pressures.note(&[], at(8));
        assert!(pressures.has(Pressure::Disk));
        pressures.note(&[], at(9));
        assert_eq!(pressures, Pressures::default());
    }
}
