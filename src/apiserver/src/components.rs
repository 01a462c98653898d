//! The health of what runs in this process beside the API server. Whoever starts a component runs it through
//! [`Components::run`]; `componentstatuses` shows how it stands.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

/// How often a running component shows that it lives.
const BEAT_EVERY: Duration = Duration::from_secs(2);
/// A component that was silent for longer hangs: five beats, so that a busy machine is no fault.
const SILENT_MAX: Duration = Duration::from_secs(10);

/// How a component stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    Expected,
    Running { beat: Instant },
    Ended(String),
}

/// The components of a process and how they stand.
#[derive(Debug, Clone, Default)]
pub struct Components(Arc<Mutex<BTreeMap<String, Standing>>>);

impl Components {
    /// Announces a component that is going to run: `scheduler`.
    pub fn expect(&self, name: &str) {
        self.set(name, Standing::Expected);
    }

    /// Runs a component to its end, with a beat for as long as its tasks get their turns.
    ///
    /// # Errors
    /// The component's own.
    pub async fn run<T, E: std::error::Error>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        // Dropped with the future where the process gives the component up.
        let mut ending = Ending { components: self, name, why: "it was stopped".to_string() };
        let mut beats = tokio::time::interval(BEAT_EVERY);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(work);
        loop {
            tokio::select! {
                outcome = &mut work => {
                    ending.why = match &outcome {
                        Ok(_) => "it has ended".to_string(),
                        Err(error) => format!("it has failed: {}", stdx::error::chain(error)),
                    };
                    return outcome;
                }
                _ = beats.tick() => self.set(name, Standing::Running { beat: Instant::now() }),
            }
        }
    }

    /// Whether a component is healthy, and why not.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn check(&self, name: &str) -> Result<(), String> {
        verdict(self.lock().get(name), Instant::now())
    }

    fn set(&self, name: &str, standing: Standing) {
        self.lock().insert(name.to_string(), standing);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Standing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Ending<'a> {
    components: &'a Components,
    name: &'a str,
    why: String,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.components.set(self.name, Standing::Ended(std::mem::take(&mut self.why)));
    }
}

fn verdict(standing: Option<&Standing>, now: Instant) -> Result<(), String> {
    match standing {
        None => Err("it does not run in this server's process".to_string()),
        Some(Standing::Expected) => Err("it has not started yet".to_string()),
        Some(Standing::Ended(why)) => Err(why.clone()),
        Some(Standing::Running { beat }) => {
            let silent = now.saturating_duration_since(*beat);
            if silent <= SILENT_MAX { Ok(()) } else { Err(format!("it has been silent for {} s", silent.as_secs())) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_healthy_while_it_shows_that_it_lives() {
        let now = Instant::now() + Duration::from_secs(60);
        let beat = |seconds: u64| Standing::Running { beat: now - Duration::from_secs(seconds) };
        assert_eq!(verdict(Some(&beat(9)), now), Ok(()));
        assert_eq!(verdict(Some(&beat(11)), now), Err("it has been silent for 11 s".to_string()));
        assert!(verdict(None, now).is_err() && verdict(Some(&Standing::Expected), now).is_err());
        assert_eq!(verdict(Some(&Standing::Ended("x".to_string())), now), Err("x".to_string()));
    }

    #[tokio::test]
    async fn a_component_is_followed_from_its_announcement_to_its_end() {
        let components = Components::default();
        components.expect("scheduler");
        assert_eq!(components.check("scheduler"), Err("it has not started yet".to_string()));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn({
            let components = components.clone();
            async move { components.run("scheduler", stopped).await.is_err() }
        });
        while components.check("scheduler").is_err() {
            tokio::task::yield_now().await;
        }
        drop(stop);
        assert!(running.await.expect("it ends"));
        assert_eq!(components.check("scheduler"), Err("it has failed: channel closed".to_string()));
    }
}
