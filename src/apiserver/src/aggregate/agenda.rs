//! When which APIService is looked at. Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use machinery::meta;
use serde_json::Value;

use crate::status::Result;

/// How often servers that answer are asked whether they still do.
const RECHECK_EVERY: Duration = Duration::from_secs(30);
/// How often those that do not are asked again.
pub const RETRY_EVERY: Duration = Duration::from_secs(2);

/// What is known of one APIService.
struct Item {
    /// Its uid and spec when it was last seen.
    seen: (String, Value),
    /// The service it leads to, as `namespace/name`; empty for local ones.
    place: String,
    due: Instant,
    is_running: bool,
    /// Something changed while it was looked at.
    again: bool,
}

/// See the module.
#[derive(Default)]
pub struct Agenda(HashMap<String, Item>);

impl Agenda {
    /// Takes in what APIServices there are. New and changed ones are due at once.
    pub fn take(&mut self, objects: &[Value], now: Instant) {
        self.0.retain(|name, _| objects.iter().any(|object| meta::name(object) == name));
        for object in objects {
            let seen = (meta::uid(object).to_string(), object["spec"].clone());
            let place = match object["spec"]["service"].is_object() {
                true => {
                    let text = |field| meta::text_at(object, &["spec", "service", field]);
                    format!("{}/{}", text("namespace"), text("name"))
                }
                false => String::new(),
            };
            let has_condition = object["status"]["conditions"].as_array().is_some_and(|list| !list.is_empty());
            match self.0.get_mut(meta::name(object)) {
                Some(item) if item.seen == seen => {
                    // What somebody else wrote over is put right.
                    if !has_condition && !item.is_running {
                        item.due = now;
                    }
                }
                Some(item) => {
                    (item.seen, item.place, item.due) = (seen, place, now);
                    item.again = item.is_running;
                }
                None => {
                    let item = Item { seen, place, due: now, is_running: false, again: false };
                    self.0.insert(meta::name(object).to_string(), item);
                }
            }
        }
    }

    /// The APIServices that are to be looked at now; they count as being looked at from now on.
    pub fn start<'a>(&mut self, objects: &'a [Value], now: Instant) -> Vec<&'a Value> {
        let mut due = Vec::new();
        for object in objects {
            if let Some(item) = self.0.get_mut(meta::name(object))
                && !item.is_running
                && item.due <= now
            {
                item.is_running = true;
                due.push(object);
            }
        }
        due
    }

    /// One has been looked at.
    pub fn end(&mut self, name: &str, looked: &Result<bool>, now: Instant) {
        let Some(item) = self.0.get_mut(name) else { return };
        item.is_running = false;
        item.due = match looked {
            _ if std::mem::take(&mut item.again) => now,
            Ok(true) => now + RECHECK_EVERY,
            _ => now + RETRY_EVERY,
        };
    }

    /// What is behind some of them has changed: those are due by then.
    pub fn hurry(&mut self, places: &[String], by: Instant) {
        for item in self.0.values_mut().filter(|item| places.contains(&item.place)) {
            item.due = item.due.min(by);
            item.again = item.is_running;
        }
    }

    /// Nobody knows what has changed: all are due.
    pub fn hurry_all(&mut self, now: Instant) {
        for item in self.0.values_mut() {
            item.due = now;
            item.again = item.is_running;
        }
    }

    /// Whether one of them leads to this service.
    pub fn leads_to(&self, place: &str) -> bool {
        self.0.values().any(|item| item.place == place)
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Instant> {
        self.0.values().filter(|item| !item.is_running).map(|item| item.due).min()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::status::Status;

    fn service(name: &str, port: u64) -> Value {
        json!({"metadata": {"name": name, "uid": name}, "spec": {"service": {"namespace": "n", "name": name, "port": port}}})
    }

    fn names(due: &[&Value]) -> Vec<String> {
        due.iter().map(|object| meta::name(object).to_string()).collect()
    }

    #[test]
    fn one_that_hangs_holds_up_no_other() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        let objects = [service("a", 1), service("b", 1)];
        agenda.take(&objects, now);
        assert_eq!(names(&agenda.start(&objects, now)), ["a", "b"]);
        agenda.end("a", &Ok(true), now);
        let later = now + RECHECK_EVERY;
        assert_eq!((agenda.next(), names(&agenda.start(&objects, later))), (Some(later), vec!["a".to_string()]));
        assert_eq!(agenda.next(), None);
        agenda.end("b", &Err(Status::internal("x")), later);
        assert_eq!(agenda.next(), Some(later + RETRY_EVERY));
    }

    #[test]
    fn changes_make_a_look_due() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        let mut objects = [service("a", 1), json!({"metadata": {"name": "local", "uid": "l"}, "spec": {}})];
        agenda.take(&objects, now);
        agenda.start(&objects, now);
        // Its endpoints change while it is looked at: what was found may be old.
        assert!(agenda.leads_to("n/a") && !agenda.leads_to("n/b") && !agenda.leads_to("/"));
        agenda.hurry(&["n/a".to_string()], now);
        agenda.end("a", &Ok(true), now);
        agenda.end("local", &Ok(true), now);
        assert_eq!(names(&agenda.start(&objects, now)), ["a"]);
        agenda.end("a", &Ok(true), now);
        agenda.take(&objects, now);
        objects[0] = service("a", 2);
        objects[0]["status"] = json!({"conditions": [{}]});
        agenda.take(&objects, now);
        assert_eq!(names(&agenda.start(&objects, now))[0], "a");
        agenda.take(&[], now);
        assert_eq!(agenda.next(), None);
    }
}
