//! What the servers behind APIServices last said of their resources. The loop that looks after their availability asks
//! them anyway and keeps it, and discovery tells it: a client that asks what there is makes nobody ask anybody.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use machinery::meta;
use serde_json::Value;

use super::openapi::Published;

/// The last answers by the names of APIServices.
#[derive(Default)]
pub struct Kept {
    entries: Mutex<HashMap<String, Entry>>,
    standings: Mutex<BTreeMap<String, Standing>>,
    /// What they publish of their kinds.
    pub openapi: Published,
}

/// How an APIService stands, for the figures.
#[derive(Default)]
struct Standing {
    is_available: bool,
    /// How often it came to be unavailable, by reasons.
    losses: BTreeMap<&'static str, u64>,
}

struct Entry {
    uid: String,
    said: Said,
}

/// What a server said.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Its APIResourceList; `None` where it never sent one.
    pub list: Option<Arc<Value>>,
    /// It answered when it was last asked.
    pub is_current: bool,
}

impl Kept {
    /// Keeps the list that the server of an APIService sent; where it sent none, the one from before goes stale.
    pub fn keep(&self, service: &Value, list: Option<Value>) {
        let uid = meta::uid(service).to_string();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let said = match list {
            Some(list) => Said { list: Some(Arc::new(list)), is_current: true },
            None => {
                let before = entries.get(meta::name(service)).filter(|entry| entry.uid == uid);
                Said { list: before.and_then(|entry| entry.said.list.clone()), is_current: false }
            }
        };
        entries.insert(meta::name(service).to_string(), Entry { uid, said });
    }

    /// What the server of an APIService last said; `None` where it has not been asked.
    pub fn of(&self, service: &Value) -> Option<Said> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(meta::name(service)).filter(|entry| entry.uid == meta::uid(service)).map(|entry| entry.said.clone())
    }

    /// Forgets all others.
    pub fn retain(&self, names: &HashSet<&str>) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| names.contains(name.as_str()));
        self.standings.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| names.contains(name.as_str()));
        self.openapi.retain(names);
    }

    /// An APIService was found to be available, or not for this reason.
    pub fn judged(&self, service: &Value, is_available: bool, reason: &'static str) {
        let mut standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        let known = standings.contains_key(meta::name(service));
        let standing = standings.entry(meta::name(service).to_string()).or_default();
        if !is_available && (standing.is_available || !known) {
            *standing.losses.entry(reason).or_default() += 1;
        }
        standing.is_available = is_available;
    }

    /// The figures in Prometheus' text format, under kube-aggregator's names.
    pub fn render(&self, out: &mut String) {
        let standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(
            out,
            "# HELP aggregator_unavailable_apiservice APIServices that are unavailable.\n\
             # TYPE aggregator_unavailable_apiservice gauge"
        );
        for (name, standing) in standings.iter() {
            let is_unavailable = u8::from(!standing.is_available);
            let _ = writeln!(out, "aggregator_unavailable_apiservice{{name=\"{name}\"}} {is_unavailable}");
        }
        let _ = writeln!(
            out,
            "# HELP aggregator_unavailable_apiservice_total How often APIServices came to be unavailable.\n\
             # TYPE aggregator_unavailable_apiservice_total counter"
        );
        for (name, standing) in standings.iter() {
            for (reason, count) in &standing.losses {
                let labels = format!("name=\"{name}\",reason=\"{reason}\"");
                let _ = writeln!(out, "aggregator_unavailable_apiservice_total{{{labels}}} {count}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_list_stays_and_goes_stale() {
        let service = |uid: &str| json!({"metadata": {"name": "v1.g", "uid": uid}});
        let (kept, list) = (Kept::default(), json!({"resources": []}));
        let said = |is_current| Some(Said { list: Some(Arc::new(list.clone())), is_current });
        assert_eq!(kept.of(&service("a")), None);
        kept.keep(&service("a"), None);
        assert_eq!(kept.of(&service("a")), Some(Said { list: None, is_current: false }));
        kept.keep(&service("a"), Some(list.clone()));
        assert_eq!(kept.of(&service("a")), said(true));
        kept.keep(&service("a"), None);
        assert_eq!(kept.of(&service("a")), said(false));
        // Another APIService of the same name has said nothing.
        assert_eq!(kept.of(&service("b")), None);
        kept.keep(&service("b"), None);
        assert_eq!(kept.of(&service("b")), Some(Said { list: None, is_current: false }));
        kept.judged(&service("b"), false, "ServiceNotFound");
        kept.judged(&service("b"), false, "ServiceNotFound");
        kept.judged(&service("b"), true, "Passed");
        let mut text = String::new();
        kept.render(&mut text);
        assert!(text.contains("aggregator_unavailable_apiservice{name=\"v1.g\"} 0\n"), "{text}");
        assert!(text.contains("_total{name=\"v1.g\",reason=\"ServiceNotFound\"} 1\n"), "{text}");
        kept.retain(&HashSet::new());
        assert_eq!(kept.of(&service("b")), None);
    }
}
