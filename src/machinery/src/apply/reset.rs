//! Which fields an endpoint does not take from clients, and taking them out of a set.

use std::collections::BTreeMap;

use super::set::Set;

/// Fields that an endpoint does not take from clients: no write through it changes or comes to own them. Paths of
/// names, each with everything below; `*` stands for every element of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset<'a> {
    /// These: `["status"]` of the main resource, `["spec"]` of a status.
    Fields(&'a [&'a [&'a str]]),
    /// All others: an endpoint for `["spec", "ephemeralContainers"]` alone.
    AllBut(&'a [&'a [&'a str]]),
}

impl Reset<'_> {
    /// Everything is taken from clients.
    pub const NONE: Reset<'static> = Reset::Fields(&[]);
}

/// Takes away what an endpoint resets.
pub(super) fn reset(set: &mut Set, reset: Reset<'_>) {
    match reset {
        Reset::Fields([]) => {}
        Reset::Fields(paths) => *set = split(set, paths).1,
        Reset::AllBut(paths) => *set = split(set, paths).0,
    }
}

/// What of a set lies at or below these paths, and the rest.
fn split(set: &Set, paths: &[&[&str]]) -> (Set, Set) {
    if paths.iter().any(|path| path.is_empty()) {
        return (set.clone(), Set::default());
    }
    let (mut within, mut rest) = (Set::default(), Set { member: set.member, ..Set::default() });
    let below = |step: &str| -> Vec<&[&str]> {
        paths.iter().filter(|path| path.first() == Some(&step)).map(|path| &path[1..]).collect()
    };
    for (name, child) in &set.fields {
        let (inner, outer) = split(child, &below(name));
        put(&mut within.fields, name, inner);
        put(&mut rest.fields, name, outer);
    }
    for (element, child) in &set.items {
        let (inner, outer) = split(child, &below("*"));
        put(&mut within.items, element, inner);
        put(&mut rest.items, element, outer);
    }
    (within, rest)
}

fn put(into: &mut BTreeMap<String, Set>, key: &str, child: Set) {
    if !child.is_empty() {
        into.insert(key.to_string(), child);
    }
}
