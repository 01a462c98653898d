//! One word for all caches. When the API goes away, every watch of a process breaks for the same reason at the same
//! time: the first one says so, and the others are counted.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The same is said again after this, where it is still so.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Different troubles that are remembered; what comes beyond them is said each time.
const REMEMBERED_MAX: usize = 64;

/// What was said of late, by the informers of a process.
#[derive(Default)]
pub struct Quiet(Mutex<HashMap<String, Said>>);

struct Said {
    at: Instant,
    unsaid: usize,
}

impl Quiet {
    /// Whether a trouble is to be told of now: how often it came since it was told last; `None` where it was a moment
    /// ago.
    pub fn tell(&self, trouble: &str, now: Instant) -> Option<usize> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |said: &Said| now.duration_since(said.at) < AGAIN_AFTER;
        if let Some(before) = said.get_mut(trouble).filter(|before| is_recent(before)) {
            before.unsaid += 1;
            return None;
        }
        let unsaid = said.remove(trouble).map_or(0, |before| before.unsaid);
        said.retain(|_, before| is_recent(before) || before.unsaid > 0);
        if said.len() >= REMEMBERED_MAX {
            said.retain(|_, before| is_recent(before));
        }
        if said.len() < REMEMBERED_MAX {
            said.insert(trouble.to_string(), Said { at: now, unsaid: 0 });
        }
        Some(unsaid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_told_of_once_and_what_goes_on_each_minute() {
        let quiet = Quiet::default();
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(quiet.tell("connection refused", at(0)), Some(0));
        for _ in 0..14 {
            assert_eq!(quiet.tell("connection refused", at(1)), None);
        }
        assert_eq!(quiet.tell("pods is forbidden", at(1)), Some(0), "another trouble");
        assert_eq!(quiet.tell("connection refused", at(59)), None);
        assert_eq!(quiet.tell("connection refused", at(61)), Some(15));
        assert_eq!(quiet.tell("connection refused", at(62)), None);
        assert_eq!(quiet.tell("connection refused", at(600)), Some(1));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let quiet = Quiet::default();
        let now = Instant::now();
        for number in 0..1000 {
            assert_eq!(quiet.tell(&number.to_string(), now), Some(0));
        }
        assert!(quiet.0.lock().unwrap().len() <= REMEMBERED_MAX);
        assert_eq!(quiet.tell("0", now), None);
    }
}
