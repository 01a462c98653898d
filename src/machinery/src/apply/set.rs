//! Sets of fields, and their form on the wire (`fieldsV1`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A set of paths into an object, as a tree that has the shape of `fieldsV1`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set {
    /// The path that leads here is in the set (`.`, or an object without entries).
    pub(super) member: bool,
    /// Fields and map keys by name (`f:`).
    pub(super) fields: BTreeMap<String, Set>,
    /// List elements by key (`k:{"name":"a"}`), value (`v:"a"`) or position (`i:0`), in their wire form.
    pub(super) items: BTreeMap<String, Set>,
}

impl Set {
    /// Holds no path.
    pub fn is_empty(&self) -> bool {
        !self.member && self.has_no_children()
    }

    pub(super) fn has_no_children(&self) -> bool {
        self.fields.is_empty() && self.items.is_empty()
    }

    /// The set with the path to itself alone.
    pub(super) fn leaf() -> Self {
        Self { member: true, ..Self::default() }
    }

    /// The set with the path of these fields alone.
    pub(super) fn of_path(path: &[&str]) -> Self {
        path.iter().rev().fold(Self::leaf(), |child, name| Self {
            fields: BTreeMap::from([(name.to_string(), child)]),
            ..Self::default()
        })
    }

    /// Whether the path of these fields is in the set.
    pub(super) fn has(&self, path: &[&str]) -> bool {
        path.iter().try_fold(self, |set, name| set.fields.get(*name)).is_some_and(|set| set.member)
    }

    /// Reads `fieldsV1`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(fields: &Value) -> Result<Self, String> {
        let Value::Object(entries) = fields else { return Err(format!("expected an object, got {fields}")) };
        let mut set = Self::default();
        for (element, child) in entries {
            if element == "." {
                set.member = true;
                continue;
            }
            let mut child = Self::decode(child)?;
            if child.has_no_children() {
                child.member = true;
            }
            match element.split_once(':') {
                Some(("f", name)) => set.fields.insert(name.to_string(), child),
                Some((kind @ ("k" | "v"), json)) => {
                    let value: Value = serde_json::from_str(json)
                        .map_err(|error| format!("malformed element {element:?}: {error}"))?;
                    // Written again, so that one element has one form.
                    set.items.insert(format!("{kind}:{value}"), child)
                }
                Some(("i", index)) if index.parse::<u32>().is_ok() => set.items.insert(element.clone(), child),
                _ => return Err(format!("unknown path element {element:?}")),
            };
        }
        Ok(set)
    }

    /// Writes `fieldsV1`.
    pub fn encode(&self) -> Value {
        let mut entries = Map::new();
        for (name, child) in &self.fields {
            entries.insert(format!("f:{name}"), child.encode_child());
        }
        for (element, child) in &self.items {
            entries.insert(element.clone(), child.encode_child());
        }
        Value::Object(entries)
    }

    fn encode_child(&self) -> Value {
        let mut value = self.encode();
        if let Value::Object(entries) = &mut value
            && self.member
            && !entries.is_empty()
        {
            entries.insert(".".to_string(), Value::Object(Map::new()));
        }
        value
    }

    /// Adds all paths of another set.
    pub fn add(&mut self, other: &Self) {
        self.member |= other.member;
        for (name, child) in &other.fields {
            self.fields.entry(name.clone()).or_default().add(child);
        }
        for (element, child) in &other.items {
            self.items.entry(element.clone()).or_default().add(child);
        }
    }

    /// Takes all paths of another set away. A path's children stay where only the path itself is taken.
    pub fn take(&mut self, other: &Self) {
        self.member &= !other.member;
        take_children(&mut self.fields, &other.fields);
        take_children(&mut self.items, &other.items);
    }

    /// The paths that are in both.
    pub fn common(&self, other: &Self) -> Self {
        Self {
            member: self.member && other.member,
            fields: common_children(&self.fields, &other.fields),
            items: common_children(&self.items, &other.items),
        }
    }

    /// The paths as people read them: `.spec.containers[name="a"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, prefix: &str, paths: &mut Vec<String>) {
        let fields = self.fields.iter().map(|(name, child)| (format!("{prefix}.{name}"), child));
        let items = self.items.iter().map(|(element, child)| (format!("{prefix}[{}]", item_text(element)), child));
        let children: Vec<(String, &Self)> = fields.chain(items).collect();
        paths.extend(children.iter().filter(|(_, child)| child.member).map(|(path, _)| path.clone()));
        for (path, child) in children {
            child.collect(&path, paths);
        }
    }
}

fn take_children(from: &mut BTreeMap<String, Set>, other: &BTreeMap<String, Set>) {
    for (key, taken) in other {
        if let Some(child) = from.get_mut(key) {
            child.take(taken);
            if child.is_empty() {
                from.remove(key);
            }
        }
    }
}

fn common_children(a: &BTreeMap<String, Set>, b: &BTreeMap<String, Set>) -> BTreeMap<String, Set> {
    a.iter()
        .filter_map(|(key, child)| Some((key.clone(), child.common(b.get(key)?))))
        .filter(|(_, child)| !child.is_empty())
        .collect()
}

/// `name="a"`, `="a"`, `0`.
fn item_text(element: &str) -> String {
    let (kind, json) = element.split_once(':').unwrap_or(("", element));
    match (kind, serde_json::from_str(json)) {
        ("k", Ok(Value::Object(keys))) => {
            let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
            keys.join(",")
        }
        ("v", Ok(value)) => format!("={value}"),
        _ => json.to_string(),
    }
}
