//! Waiting for a condition with a bound, instead of sleeping for luck.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// What a look can find: the thing waited for, or why it is not there yet.
pub trait Probe {
    /// The thing.
    type Found;
    /// The thing, or why not.
    fn outcome(self) -> Result<Self::Found, String>;
}

impl Probe for bool {
    type Found = ();
    fn outcome(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("it is not so".to_owned()) }
    }
}

impl<T> Probe for Option<T> {
    type Found = T;
    fn outcome(self) -> Result<T, String> {
        self.ok_or_else(|| "it is not there".to_owned())
    }
}

impl<T, E: Display> Probe for Result<T, E> {
    type Found = T;
    fn outcome(self) -> Result<T, String> {
        // With its causes, where the error has any.
        self.map_err(|error| format!("{error:#}"))
    }
}

/// Looks again and again until `look` finds what `what` names, and answers it.
///
/// # Panics
/// After `timeout`, with the last reason and the time that was waited.
#[track_caller]
pub fn eventually<P: Probe>(timeout: Duration, what: &str, mut look: impl FnMut() -> P) -> P::Found {
    let begin = Instant::now();
    loop {
        match look().outcome() {
            Ok(found) => return found,
            Err(reason) if begin.elapsed() >= timeout => give_up(begin, what, &reason),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// As [`eventually`], for a look that is asynchronous. One look that hangs is given up with the rest.
///
/// # Panics
/// After `timeout`, with the last reason and the time that was waited.
pub async fn eventually_async<P: Probe, F: Future<Output = P>>(
    timeout: Duration,
    what: &str,
    mut look: impl FnMut() -> F,
) -> P::Found {
    let begin = Instant::now();
    let mut last = "the first look did not end".to_owned();
    loop {
        let left = timeout.saturating_sub(begin.elapsed()).max(PAUSE);
        match tokio::time::timeout(left, look()).await {
            Ok(probe) => match probe.outcome() {
                Ok(found) => return found,
                Err(reason) => last = reason,
            },
            Err(_) => last = format!("a look did not end; before it: {last}"),
        }
        if begin.elapsed() >= timeout {
            give_up(begin, what, &last);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[track_caller]
fn give_up(begin: Instant, what: &str, reason: &str) -> ! {
    panic!("waited {:.1} s for: {what}\nlast: {reason}", begin.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_late_is_found() {
        let mut looks = 0;
        let found = eventually(Duration::from_secs(5), "the third look", || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found, 3);
    }

    #[test]
    #[should_panic(expected = "for: a pod\nlast: no such pod")]
    fn what_never_comes_is_reported_with_the_last_reason() {
        eventually(Duration::from_millis(60), "a pod", || Err::<(), _>("no such pod"));
    }

    #[tokio::test]
    #[should_panic(expected = "a look did not end")]
    async fn a_look_that_hangs_is_given_up() {
        eventually_async(Duration::from_millis(60), "an answer", std::future::pending::<bool>).await;
    }
}
