//! `/healthz`, `/livez` and `/readyz`: named checks, alone or together, in Kubernetes' wording.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use http::{Response, StatusCode};
use store::Store;

use crate::body::{Body, text};
use crate::request::Query;

/// A store that does not answer in this time fails its check.
const STORE_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// What the store has said holds for so long: whoever may ask for a check does not have it asked each time.
const STORE_SAID_FOR: Duration = Duration::from_secs(1);

/// A key that no object has.
const NO_KEY: &str = "/health";

/// Whether the store answers, reads and writes alike: what is asked of it is a deletion that cannot happen, which goes
/// the way of every write and changes nothing.
///
/// # Errors
/// What is wrong, in words.
pub async fn check_store(store: &dyn Store) -> Result<(), String> {
    match tokio::time::timeout(STORE_ANSWERS_WITHIN, store.delete(NO_KEY, 0)).await {
        Ok(Ok(_) | Err(store::Error::Conflict { .. })) => Ok(()),
        Ok(Err(error)) => Err(stdx::error::chain(&error)),
        Err(_) => Err(format!("no answer within {} s", STORE_ANSWERS_WITHIN.as_secs())),
    }
}

/// What must be done before the server is ready.
#[derive(Debug, Default)]
pub struct Health {
    hooks: Mutex<BTreeMap<String, bool>>,
    announced: std::sync::atomic::AtomicBool,
    stopping: std::sync::atomic::AtomicBool,
    /// When the store was last asked, and whether it answered; held while it is.
    store: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

impl Health {
    /// Announces something that must be done before the server is ready: `poststarthook/NAME`.
    pub fn expect(&self, hook: &str) {
        self.set(hook, false);
    }

    /// Everything that must be done has been announced; the server is not ready before, though nothing is left to do.
    pub fn all_expected(&self) {
        self.announced.store(true, std::sync::atomic::Ordering::Release);
    }

    /// Says that it is done.
    pub fn done(&self, hook: &str) {
        self.set(hook, true);
    }

    /// The server ends: it is not ready from now on, so that balancers leave it alone.
    pub fn stop(&self) {
        self.stopping.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    fn set(&self, hook: &str, done: bool) {
        let mut hooks = self.hooks.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        hooks.insert(format!("poststarthook/{hook}"), done);
    }

    /// Whether the store answers, asked now or a moment ago.
    async fn store_answers(&self, store: &dyn Store) -> bool {
        let mut said = self.store.lock().await;
        match *said {
            Some((at, answers)) if at.elapsed() < STORE_SAID_FOR => answers,
            _ => {
                let answers = check_store(store).await.is_ok();
                *said = Some((Instant::now(), answers));
                answers
            }
        }
    }

    /// The checks of `endpoint` (`healthz`, `livez`, `readyz`) with their outcome: every one, or the one of that name.
    async fn checks(
        &self,
        endpoint: &str,
        wanted: Option<&str>,
        excluded: &[&str],
        store: &dyn Store,
    ) -> Vec<(String, bool)> {
        let mut checks = vec![("ping".to_string(), true), ("log".to_string(), true)];
        // It costs a write, and is nothing for those who ask for something else.
        if wanted.is_none_or(|name| name == "etcd") {
            let is_asked = wanted.is_some() || !excluded.contains(&"etcd");
            checks.push(("etcd".to_string(), !is_asked || self.store_answers(store).await));
        }
        // Looked at first: what is announced in between would be missing.
        let announced = self.announced.load(std::sync::atomic::Ordering::Acquire);
        let hooks = self.hooks.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        checks.extend(hooks.iter().map(|(name, done)| (name.clone(), *done)));
        if !announced {
            checks.push(("poststarthooks".to_string(), false));
        }
        if endpoint == "readyz" {
            checks.push(("shutdown".to_string(), !self.stopping.load(std::sync::atomic::Ordering::Relaxed)));
        }
        checks.retain(|(name, _)| wanted.is_none_or(|wanted| name == wanted));
        checks
    }

    /// Answers `/healthz`, `/livez/etcd`, `/readyz?verbose`; `None` for another path or a check there is not.
    pub async fn answer(&self, path: &str, query: &Query, store: &dyn Store) -> Option<Response<Body>> {
        let mut segments = path.trim_start_matches('/').splitn(2, '/');
        let endpoint = segments.next().filter(|first| matches!(*first, "healthz" | "livez" | "readyz"))?;
        let wanted = segments.next().filter(|name| !name.is_empty());
        let excluded: Vec<&str> = query.all("exclude").collect();
        let checks = self.checks(endpoint, wanted, &excluded, store).await;
        if wanted.is_some() {
            return checks.first().map(|(_, ok)| match ok {
                true => text(StatusCode::OK, "ok"),
                false => text(StatusCode::INTERNAL_SERVER_ERROR, "internal server error: reason withheld\n"),
            });
        }
        let all_ok = checks.iter().all(|(name, ok)| *ok || excluded.contains(&name.as_str()));
        if all_ok && query.get("verbose").is_none() {
            return Some(text(StatusCode::OK, "ok"));
        }
        let mut lines = String::new();
        for (name, ok) in &checks {
            lines.push_str(&match (excluded.contains(&name.as_str()), ok) {
                (true, _) => format!("[+]{name} excluded: ok\n"),
                (false, true) => format!("[+]{name} ok\n"),
                (false, false) => format!("[-]{name} failed: reason withheld\n"),
            });
        }
        lines.push_str(&format!("{endpoint} check {}\n", if all_ok { "passed" } else { "failed" }));
        Some(text(if all_ok { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR }, lines))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_ready_before_it_is_known_what_must_be_done() {
        let folder = tempfile::tempdir().expect("a folder");
        let store =
            store::embedded::Embedded::open(&folder.path().join("state.db"), store::embedded::Options::default());
        let store: std::sync::Arc<dyn Store> = store.expect("a store");
        let health = Health::default();
        let code = async || {
            let answer = health.answer("/readyz", &Query::default(), store.as_ref()).await;
            answer.expect("a check").status().as_u16()
        };
        assert_eq!(code().await, 500);
        health.expect("one");
        health.all_expected();
        assert_eq!(code().await, 500);
        health.done("one");
        assert_eq!(code().await, 200);
        health.stop();
        assert_eq!(code().await, 500);
    }
}
