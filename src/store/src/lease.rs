//! How long values live that go by themselves, and which of them go together. Pure: whoever asks says what time it is,
//! on a clock that never goes back and that nobody sets.

use std::num::NonZeroU64;
use std::time::Duration;

/// How long values are given one lease, at most: as Kubernetes' own API server does over etcd.
const SHARED_FOR: Duration = Duration::from_secs(60);
/// What part of their time values are given one lease for, at most.
const SHARED_PART: u32 = 20;
/// Most values of one lease, so that what goes at once stays small.
const SHARED_BY: usize = 1000;

/// What ends values without anybody's deleting them: the embedded store's moment, etcd's number of a lease. Values
/// with the same one go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease(NonZeroU64);

impl Lease {
    /// The lease of a number; 0 is none.
    pub(crate) fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The number of a lease; 0 where there is none.
    pub(crate) fn number(lease: Option<Self>) -> u64 {
        lease.map_or(0, |Self(number)| number.get())
    }
}

/// For how long a lease is asked for that a value is to live with for `ttl`: somewhat longer, so that values that come
/// soon have it too and none goes early.
pub(crate) fn granted(ttl: Duration) -> Duration {
    ttl.saturating_add(SHARED_FOR.min(ttl / SHARED_PART))
}

/// The lease that was granted last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latest {
    pub(crate) lease: Lease,
    ttl: Duration,
    /// When it ends at the earliest.
    ends_ms: u64,
    values: usize,
}

impl Latest {
    /// A lease for values that live for `ttl`, which ends at `ends_ms` or later.
    pub(crate) fn new(lease: Lease, ttl: Duration, ends_ms: u64) -> Self {
        Self { lease, ttl, ends_ms, values: 0 }
    }

    /// The lease for one more value that is to live for `ttl` from now on; `None` where it needs another.
    pub(crate) fn share(&mut self, ttl: Duration, now_ms: u64) -> Option<Lease> {
        let lives = now_ms.saturating_add(millis(ttl)) <= self.ends_ms;
        if self.ttl != ttl || !lives || self.values >= SHARED_BY {
            return None;
        }
        self.values += 1;
        Some(self.lease)
    }
}

/// Milliseconds of a duration, not fewer than it has.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// A lease of an hour that was granted at 1 s.
    fn granted_at_1s() -> Latest {
        let lease = Lease::new(7).expect("a number");
        Latest::new(lease, HOUR, 1000 + millis(granted(HOUR)))
    }

    #[test]
    fn a_lease_is_shared_for_a_minute_by_a_thousand_values_of_one_time_to_live() {
        let cases = [
            ("at once", HOUR, 1000, true),
            ("within the minute", HOUR, 61_000, true),
            ("after the minute it would go early", HOUR, 61_001, false),
            ("one that lives shorter would go late", HOUR / 2, 1000, false),
            ("one that lives longer would go early", HOUR * 2, 1000, false),
        ];
        for (name, ttl, now_ms, shared) in cases {
            assert_eq!(granted_at_1s().share(ttl, now_ms).is_some(), shared, "{name}");
        }
        let mut latest = granted_at_1s();
        let shared = (0..2000).filter(|_| latest.share(HOUR, 2000).is_some()).count();
        assert_eq!(shared, 1000);
    }

    #[test]
    fn what_a_lease_is_granted_for_is_a_twentieth_longer_and_a_minute_at_most() {
        let cases = [
            (Duration::from_secs(15), Duration::from_millis(15_750)),
            (HOUR, HOUR + Duration::from_secs(60)),
            (HOUR * 24, HOUR * 24 + Duration::from_secs(60)),
            (Duration::MAX, Duration::MAX),
        ];
        for (ttl, expected) in cases {
            assert_eq!(granted(ttl), expected);
        }
        assert_eq!((millis(Duration::from_micros(1)), millis(Duration::ZERO)), (1, 0));
    }
}
