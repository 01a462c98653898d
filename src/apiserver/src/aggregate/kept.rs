//! What the servers behind APIServices last said of their resources. The loop that looks after their availability asks
//! them anyway and keeps it, and discovery tells it: a client that asks what there is makes nobody ask anybody.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use machinery::meta;
use serde_json::Value;

/// The last answers by the names of APIServices.
#[derive(Default)]
pub struct Kept(Mutex<HashMap<String, Entry>>);

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
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(meta::name(service)).filter(|entry| entry.uid == meta::uid(service)).map(|entry| entry.said.clone())
    }

    /// Forgets all others.
    pub fn retain(&self, names: &HashSet<&str>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| names.contains(name.as_str()));
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
        kept.retain(&HashSet::new());
        assert_eq!(kept.of(&service("b")), None);
    }
}
