//! How wide a request is: lists by the objects that are read for them, writes by the watchers that hear of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use store::Store;

use super::queues::Width;
use crate::request::{Query, RequestInfo};
use crate::served::Served;
use crate::storage;

/// Objects that one seat reads; Kubernetes' figure.
const OBJECTS_PER_SEAT: u64 = 100;
/// Watchers that hear of a write by one seat.
const WATCHERS_PER_SEAT: u64 = 100;
/// How long that takes: some microseconds each. Kubernetes counts a hundred times as much, by which a thousand watchers
/// would let through some ten writes a second.
const HEARING: Duration = Duration::from_micros(500);
/// How old a count may be: on etcd each asks the members.
const COUNT_FOR: Duration = Duration::from_secs(10);
/// Counts that are kept: a namespace of a resource each.
const COUNTS_MAX: usize = 4096;

/// How wide a request is that reads this many of `stored` objects, at most `limit` of them for its answer.
fn of_list(stored: u64, limit: Option<u64>, has_selector: bool, seats_max: u32) -> Width {
    let read = match limit {
        // Without a selector no more is read than is answered.
        Some(limit) if !has_selector => stored.min(limit),
        _ => stored,
    };
    let seats = u32::try_from(read.div_ceil(OBJECTS_PER_SEAT)).unwrap_or(u32::MAX);
    Width::of(seats.clamp(1, seats_max.max(1)))
}

/// How wide a write is that this many watchers hear of. More than a level gives one request are heard in turns, and
/// that takes longer.
fn of_write(watchers: u64, seats_max: u32) -> Width {
    if watchers < WATCHERS_PER_SEAT {
        return Width::of(1);
    }
    let seats = u32::try_from(watchers.div_ceil(WATCHERS_PER_SEAT)).unwrap_or(u32::MAX);
    let final_seats = seats.clamp(1, seats_max.max(1));
    Width { seats: 1, final_seats, final_for: HEARING * seats / final_seats }
}

/// What a request reads or writes.
#[derive(Debug, PartialEq, Eq)]
enum Work {
    Plain,
    List { limit: Option<u64>, has_selector: bool },
    Write,
}

fn work(info: &RequestInfo, query: &Query) -> Work {
    if !info.is_resource || !info.subresource.is_empty() && info.subresource != "status" {
        return Work::Plain;
    }
    let has_selector = !info.label_selector.is_empty() || !info.field_selector.is_empty();
    match info.verb.as_str() {
        // One object is found by its key.
        "list" | "watch" if !info.name.is_empty() => Work::Plain,
        "list" => {
            let limit = query.text("limit").and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0);
            Work::List { limit, has_selector }
        }
        "watch" if query.text("sendInitialEvents").is_some() && query.flag("sendInitialEvents") => {
            Work::List { limit: None, has_selector }
        }
        "create" | "update" | "patch" | "delete" => Work::Write,
        _ => Work::Plain,
    }
}

/// Keeps a count. Whoever lists namespaces that nobody has pushes out what is too old and nothing else.
fn keep(counts: &mut HashMap<String, (u64, Instant)>, prefix: String, count: u64) {
    if counts.len() >= COUNTS_MAX {
        counts.retain(|_, (_, at)| at.elapsed() < COUNT_FOR);
    }
    if counts.len() < COUNTS_MAX || counts.contains_key(&prefix) {
        counts.insert(prefix, (count, Instant::now()));
    }
}

/// Who watches what, and how many objects there are.
#[derive(Default)]
pub struct Estimator {
    counts: Mutex<HashMap<String, (u64, Instant)>>,
    watchers: Arc<Watchers>,
}

impl Estimator {
    /// How wide a request is, at most `seats_max`.
    pub async fn width(
        &self,
        store: &dyn Store,
        served: &Served,
        (info, query): (&RequestInfo, &Query),
        seats_max: u32,
    ) -> Width {
        match work(info, query) {
            Work::Plain => Width::of(1),
            Work::List { limit, has_selector } => {
                of_list(self.count(store, served, info).await, limit, has_selector, seats_max)
            }
            Work::Write => of_write(self.watchers.count(info), seats_max),
        }
    }

    /// How many objects a list goes through; none of resources that are served elsewhere.
    async fn count(&self, store: &dyn Store, served: &Served, info: &RequestInfo) -> u64 {
        let Some(resource) = served.get(&info.group, &info.version, &info.resource) else { return 0 };
        let prefix = storage::prefix(resource, if resource.namespaced { &info.namespace } else { "" });
        let known = || self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known().get(&prefix).copied();
        if let Some((count, _)) = found.filter(|(_, at)| at.elapsed() < COUNT_FOR) {
            return count;
        }
        // A store that does not answer is told to the client by the list itself.
        let count = store.count(&prefix).await.unwrap_or(0);
        keep(&mut known(), prefix, count);
        count
    }

    /// How many watchers hear of a write.
    pub fn watchers_of(&self, info: &RequestInfo) -> u64 {
        self.watchers.count(info)
    }

    /// Counts a watch until what is answered is dropped.
    pub fn watch(&self, info: &RequestInfo) -> Watching {
        let key = Key::of(info);
        self.watchers.change(&key, 1);
        Watching { watchers: self.watchers.clone(), key }
    }
}

/// What is watched: group and resource, namespace and name; empty for all of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    resource: (String, String),
    namespace: String,
    name: String,
}

impl Key {
    fn of(info: &RequestInfo) -> Self {
        Self {
            resource: (info.group.clone(), info.resource.clone()),
            namespace: info.namespace.clone(),
            name: info.name.clone(),
        }
    }
}

/// How many watches there are of everything. As many entries as there are open watches at most.
#[derive(Debug, Default)]
struct Watchers(Mutex<HashMap<Key, u64>>);

impl Watchers {
    fn change(&self, key: &Key, by: i64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key.clone()).or_default();
        *count = count.saturating_add_signed(by);
        if *count == 0 {
            counts.remove(key);
        }
    }

    fn count(&self, info: &RequestInfo) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.is_empty() {
            return 0;
        }
        let mut key = Key::of(info);
        let mut places = vec![(String::new(), String::new())];
        let own = (std::mem::take(&mut key.namespace), std::mem::take(&mut key.name));
        if !own.1.is_empty() {
            places.push((String::new(), own.1.clone()));
        }
        if !own.0.is_empty() {
            places.push((own.0.clone(), String::new()));
            if !own.1.is_empty() {
                places.push(own);
            }
        }
        let mut sum = 0;
        for (namespace, name) in places {
            (key.namespace, key.name) = (namespace, name);
            sum += counts.get(&key).copied().unwrap_or(0);
        }
        sum
    }
}

/// A watch that is counted.
pub struct Watching {
    watchers: Arc<Watchers>,
    key: Key,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.watchers.change(&self.key, -1);
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn info(method: &Method, path: &str) -> (RequestInfo, Query) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query = Query::parse(query);
        (RequestInfo::parse(method, path, &query), query)
    }

    #[test]
    fn lists_are_as_wide_as_what_is_read() {
        for (stored, limit, has_selector, expected) in [
            (0, None, false, 1),
            (100, None, false, 1),
            (101, None, false, 2),
            (100_000, None, false, 10),
            (100_000, Some(500), false, 5),
            (100_000, Some(500), true, 10),
            (300, Some(500), true, 3),
        ] {
            assert_eq!(of_list(stored, limit, has_selector, 10).seats, expected, "{stored} {limit:?} {has_selector}");
        }
        assert_eq!(of_list(100_000, None, false, 2).seats, 2);
    }

    #[test]
    fn writes_are_as_wide_as_they_have_watchers() {
        for (watchers, expected) in [
            (0, Width::of(1)),
            (99, Width::of(1)),
            (100, Width { seats: 1, final_seats: 1, final_for: HEARING }),
            (950, Width { seats: 1, final_seats: 10, final_for: HEARING }),
            (10_000, Width { seats: 1, final_seats: 10, final_for: HEARING * 10 }),
        ] {
            assert_eq!(of_write(watchers, 10), expected, "{watchers}");
        }
    }

    #[test]
    fn what_a_request_does_is_seen_by_verb_and_options() {
        let pods = "/api/v1/namespaces/a/pods";
        let list = |limit, has_selector| Work::List { limit, has_selector };
        for (method, path, expected) in [
            (Method::GET, pods.to_string(), list(None, false)),
            (Method::GET, format!("{pods}?limit=7&labelSelector=a"), list(Some(7), true)),
            (Method::GET, format!("{pods}?fieldSelector=metadata.name%3Dx"), Work::Plain),
            (Method::GET, format!("{pods}/x"), Work::Plain),
            (Method::GET, format!("{pods}?watch=1"), Work::Plain),
            (Method::GET, format!("{pods}?watch=1&sendInitialEvents=true"), list(None, false)),
            (Method::PATCH, format!("{pods}/x/status"), Work::Write),
            (Method::POST, format!("{pods}/x/eviction"), Work::Plain),
            (Method::POST, pods.to_string(), Work::Write),
            (Method::GET, "/healthz".to_string(), Work::Plain),
        ] {
            let (info, query) = info(&method, &path);
            assert_eq!(work(&info, &query), expected, "{method} {path}");
        }
    }

    #[test]
    fn watchers_are_those_of_the_object_its_namespace_and_all() {
        let estimator = Estimator::default();
        let watch = |path: &str| estimator.watch(&info(&Method::GET, path).0);
        let all = watch("/api/v1/pods?watch=1");
        let of_namespace = watch("/api/v1/namespaces/a/pods?watch=1");
        let of_name = watch("/api/v1/namespaces/a/pods?watch=1&fieldSelector=metadata.name%3Dx");
        let _other = watch("/api/v1/namespaces/b/pods?watch=1");
        let _other = watch("/api/v1/namespaces/a/configmaps?watch=1");
        let count = |path: &str| estimator.watchers_of(&info(&Method::PATCH, path).0);
        assert_eq!(count("/api/v1/namespaces/a/pods/x"), 3);
        assert_eq!(count("/api/v1/namespaces/a/pods/y"), 2);
        drop((all, of_name));
        assert_eq!(count("/api/v1/namespaces/a/pods/x"), 1);
        drop(of_namespace);
        assert_eq!(count("/api/v1/namespaces/a/pods/x"), 0);
    }
}
