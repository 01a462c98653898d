//! The stored FlowSchemas and PriorityLevelConfigurations.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::sync::watch;

use super::config::Config;
use crate::bootstrap::flow_control;
use crate::follow::Index;
use crate::live;

/// The objects as they are stored.
#[derive(Debug, Default)]
pub struct Objects {
    schemas: BTreeMap<String, Value>,
    levels: BTreeMap<String, Value>,
    changed: watch::Sender<u64>,
}

fn prefix(plural: &str) -> String {
    live::prefix(flow_control::GROUP, plural, "")
}

impl Index for Objects {
    fn prefixes() -> Vec<String> {
        vec![prefix(flow_control::SCHEMAS), prefix(flow_control::LEVELS)]
    }

    fn set(&mut self, key: &str, object: Option<&Value>) {
        let kept = match key.starts_with(&prefix(flow_control::SCHEMAS)) {
            true => &mut self.schemas,
            false => &mut self.levels,
        };
        match object {
            Some(object) => drop(kept.insert(key.to_string(), object.clone())),
            None => drop(kept.remove(key)),
        }
        self.changed.send_modify(|changes| *changes += 1);
    }
}

impl Objects {
    /// Says when anything changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// What requests are judged by.
    pub fn config(&self) -> Config {
        let (schemas, levels) = flow_control::mandatory();
        Config::read(self.schemas.values(), self.levels.values(), (&schemas, &levels))
    }
}
