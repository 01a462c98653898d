//! `managedFields`: who set which field, recorded with every write from what the client sent, before admission and the
//! server's own rules change it.

use jiff::Timestamp;
use machinery::apply::{Operation, update_managed};
use machinery::meta;
use serde_json::Value;

use super::target::Target;

/// What kind of write it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A create, update or patch: the manager owns what it changed.
    Update,
    /// A write that has recorded its ownership itself: server-side apply, and every change of a Scale.
    Recorded,
}

/// The write as ownership sees it.
pub fn operation<'a>(target: &Target<'_>, manager: &'a str, api_version: &'a str) -> Operation<'a> {
    let subresource = target.subresource_name();
    let reset = target.resource.behaviour.reset_fields(subresource);
    Operation { manager, subresource, api_version, now: Timestamp::now(), reset }
}

/// Records who made the change.
pub fn track(target: &Target<'_>, old: Option<&Value>, object: &mut Value, manager: &str, by: By) {
    if by == By::Recorded {
        return;
    }
    let api_version = target.resource.group_version.to_string();
    let operation = operation(target, manager, &api_version);
    update_managed(old, object, &operation, target.resource.schema(), target.resource.definitions());
}

/// Whether a write changes nothing but the times of its owners: a configuration that is applied again, with fields
/// that are filled in anew where they are replaced as a whole. Such a write is none.
pub fn changes_nothing(object: &Value, old: &Value) -> bool {
    let same = |a: &Value, b: &Value, but: &[&str]| {
        let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return a == b };
        let names = a.keys().chain(b.keys()).filter(|name| !but.contains(&name.as_str()));
        names.into_iter().all(|name| a.get(name) == b.get(name))
    };
    same(object, old, &["metadata"])
        && same(&object["metadata"], &old["metadata"], &["managedFields", "resourceVersion"])
        && timeless(object) == timeless(old)
}

/// The entries without their times, in an order that does not come from these.
fn timeless(object: &Value) -> Vec<String> {
    let mut entries: Vec<String> = meta::managed_fields(object)
        .iter()
        .map(|entry| {
            let mut entry = entry.clone();
            if let Some(fields) = entry.as_object_mut() {
                fields.remove("time");
            }
            entry.to_string()
        })
        .collect();
    entries.sort_unstable();
    entries
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_write_that_only_says_when_is_none() {
        let object = |version: &str, time: &str, value: i64| {
            json!({"metadata": {"resourceVersion": version, "managedFields": [{"manager": "a", "time": time},
                {"manager": "b"}]}, "spec": {"x": value}})
        };
        let old = object("1", "then", 1);
        assert!(changes_nothing(&object("2", "now", 1), &old));
        assert!(!changes_nothing(&object("1", "then", 2), &old));
        let mut other = object("1", "then", 1);
        other["metadata"]["managedFields"][1]["manager"] = json!("c");
        assert!(!changes_nothing(&other, &old));
    }
}
