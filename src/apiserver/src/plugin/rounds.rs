//! Changing an object in one round or two: where what users have written, policies and webhooks, has changed it, every
//! plugin is asked once more, and of policies and webhooks those that want it and have run before the change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

static ONLY: LazyLock<Rounds> = LazyLock::new(Rounds::default);

/// What plugins tell each other of the changes of one request.
#[derive(Debug, Default)]
pub struct Rounds {
    is_second: AtomicBool,
    is_wanted: AtomicBool,
    plugins: Mutex<BTreeMap<&'static str, Runs>>,
}

/// What a plugin has run of what users wrote, each by a key of the plugin's own.
#[derive(Debug, Default)]
struct Runs {
    /// The object when the plugin was done with it.
    output: Option<Value>,
    /// What has run and wants to run again after a change.
    done: BTreeSet<String>,
    /// What runs again.
    again: BTreeSet<String>,
}

impl Runs {
    fn require(&mut self) {
        self.again.append(&mut self.done);
    }
}

impl Rounds {
    /// Of steps that change nothing.
    pub fn only() -> &'static Self {
        &ONLY
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Runs>> {
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the second round; false where none is wanted or it was the second.
    pub fn begin_second(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed) && !self.is_second.swap(true, Ordering::Relaxed)
    }

    /// A plugin begins with an object. What has changed it since the plugin was done with it is a change to all that the
    /// plugin has run.
    pub fn enter(&self, plugin: &'static str, object: &Value) {
        let mut plugins = self.lock();
        let runs = plugins.entry(plugin).or_default();
        if self.is_second.load(Ordering::Relaxed) && runs.output.as_ref().is_some_and(|output| output != object) {
            runs.require();
        }
    }

    /// Whether a plugin runs this one in this round.
    pub fn is_due(&self, plugin: &'static str, key: &str) -> bool {
        !self.is_second.load(Ordering::Relaxed) || self.lock().get(plugin).is_some_and(|runs| runs.again.contains(key))
    }

    /// A plugin has run one, which has changed the object or not, and wants to run again after others' changes or not.
    pub fn has_run(&self, plugin: &'static str, key: &str, has_changed: bool, wants_again: bool) {
        let mut plugins = self.lock();
        let runs = plugins.entry(plugin).or_default();
        if has_changed {
            self.is_wanted.store(true, Ordering::Relaxed);
            runs.require();
        }
        if wants_again {
            runs.done.insert(key.to_string());
        }
    }

    /// A plugin that has run something is done with the object.
    pub fn leave(&self, plugin: &'static str, object: &Value) {
        self.lock().entry(plugin).or_default().output = Some(object.clone());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_wants_to_runs_again_after_a_change_that_came_after_it() {
        let rounds = Rounds::default();
        let object = json!({});
        rounds.enter("P", &object);
        for (key, has_changed, wants_again) in
            [("a", true, true), ("b", false, false), ("c", true, true), ("d", false, true)]
        {
            assert!(rounds.is_due("P", key));
            rounds.has_run("P", key, has_changed, wants_again);
        }
        rounds.leave("P", &object);
        assert!(rounds.begin_second());
        rounds.enter("P", &object);
        let due: Vec<&str> = ["a", "b", "c", "d"].into_iter().filter(|key| rounds.is_due("P", key)).collect();
        assert_eq!(due, ["a"], "the last change was the third's own");
        assert!(!rounds.begin_second());
    }

    #[test]
    fn what_comes_after_a_plugin_counts_as_a_change_to_it() {
        let rounds = Rounds::default();
        rounds.enter("P", &json!({}));
        rounds.has_run("P", "a", true, true);
        rounds.leave("P", &json!({"a": 1}));
        assert!(rounds.begin_second());
        rounds.enter("P", &json!({"a": 1, "b": 2}));
        assert!(rounds.is_due("P", "a"));
        let calm = Rounds::default();
        calm.enter("P", &json!({}));
        calm.has_run("P", "a", false, true);
        calm.leave("P", &json!({}));
        assert!(!calm.begin_second());
    }
}
