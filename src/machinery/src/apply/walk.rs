//! Walking objects by their schema: which fields an object has, which two objects differ in.
//!
//! A field is as fine as its schema makes it: atomic lists and maps are one field, the elements of keyed lists and
//! sets and the keys of maps are fields of their own. Metadata that the server alone writes is owned by no one and
//! passed over.

use serde_json::{Map, Value};

use super::reset::{Reset, reset};
use super::set::Set;
use crate::schema::{Definitions, ListKind, Schema, Type};

/// Fields of the object that are no one's.
const UNOWNED: [&str; 2] = ["apiVersion", "kind"];
/// Fields of metadata that are no one's.
pub(super) const UNOWNED_METADATA: [&str; 9] = [
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
];

/// What tells two objects apart.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: Set,
    pub(super) modified: Set,
    pub(super) removed: Set,
}

impl Comparison {
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// Passes over what an endpoint resets.
    pub(super) fn without(mut self, fields: Reset<'_>) -> Self {
        [&mut self.added, &mut self.modified, &mut self.removed].into_iter().for_each(|set| reset(set, fields));
        self
    }

    /// What was added or modified.
    pub(super) fn changed(&self) -> Set {
        let mut set = self.added.clone();
        set.add(&self.modified);
        set
    }

    /// Puts a comparison of something within under its place.
    fn place(&mut self, at: impl Fn(&mut Set) -> &mut Set, within: Self) {
        for (set, within) in [
            (&mut self.added, within.added),
            (&mut self.modified, within.modified),
            (&mut self.removed, within.removed),
        ] {
            if !within.is_empty() {
                *at(set) = within;
            }
        }
    }
}

/// How ownership sees a value of some schema.
pub(super) enum Shape<'a> {
    /// One field, whatever is in it.
    Leaf,
    /// Named fields; what has no name in the schema is as a map's value.
    Fields(&'a Schema),
    /// Elements by their keys, or by themselves.
    Items { items: &'a Schema, keys: &'a [String] },
}

/// The schema of what has none.
static ANY: std::sync::LazyLock<Schema> = std::sync::LazyLock::new(Schema::default);
/// An object without fields.
static EMPTY: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| Value::Object(Map::new()));
/// A list without elements.
static EMPTY_LIST: Value = Value::Array(Vec::new());

/// What an object or list is before anything is in it.
fn empty_of(value: &Value) -> &'static Value {
    match value {
        Value::Array(_) => &EMPTY_LIST,
        _ => &EMPTY,
    }
}

#[derive(Clone, Copy)]
pub(super) struct Walker<'a> {
    pub(super) definitions: &'a Definitions,
}

impl<'a> Walker<'a> {
    pub(super) fn shape<'s>(&'s self, schema: &'s Schema, value: &Value) -> Shape<'s> {
        let resolved = self.definitions.resolve(schema);
        match (&resolved.type_, value) {
            (Type::Object { atomic: false, .. } | Type::Map { atomic: false, .. } | Type::Any, Value::Object(_)) => {
                Shape::Fields(resolved)
            }
            (Type::List { items, kind: ListKind::Set }, Value::Array(_)) => Shape::Items { items, keys: &[] },
            (Type::List { items, kind: ListKind::Map(keys) }, Value::Array(_)) => Shape::Items { items, keys },
            _ => Shape::Leaf,
        }
    }

    /// The schema of a field of an object whose schema is resolved.
    pub(super) fn field<'s>(resolved: &'s Schema, name: &str) -> &'s Schema {
        match &resolved.type_ {
            Type::Object { fields, .. } => fields.get(name).map_or(&ANY, |field| field),
            Type::Map { values, .. } => values,
            _ => &ANY,
        }
    }

    fn is_named(resolved: &Schema, name: &str) -> bool {
        matches!(&resolved.type_, Type::Object { fields, .. } if fields.contains_key(name))
    }

    /// The element's place in a set: `k:{"name":"a"}`, `v:"a"`. Missing keys take their default.
    pub(super) fn element(&self, items: &Schema, keys: &[String], value: &Value) -> Result<String, String> {
        if keys.is_empty() {
            return Ok(format!("v:{value}"));
        }
        let Value::Object(fields) = value else {
            return Err("associative list with keys may not have non-map elements".to_string());
        };
        let resolved = self.definitions.resolve(items);
        let mut key = Map::new();
        for name in keys {
            let given = fields.get(name).filter(|value| !value.is_null());
            let default = || {
                let field = Self::field(resolved, name);
                field.default.as_ref().or(self.definitions.resolve(field).default.as_ref())
            };
            if let Some(value) = given.or_else(default) {
                key.insert(name.clone(), value.clone());
            } else if keys.len() == 1 {
                return Err(format!(
                    "associative list with keys has an element that omits key field {name:?} (and doesn't have \
                     default value)"
                ));
            }
        }
        if key.is_empty() {
            return Err("associative list with keys has an element that omits all key fields".to_string());
        }
        Ok(format!("k:{}", Value::Object(key)))
    }

    /// Every field that an object has.
    pub(super) fn field_set(&self, object: &Value, schema: &Schema) -> Set {
        let mut set = self.fields_of(object, schema, Level::Object);
        set.member = false;
        set
    }

    fn fields_of(&self, value: &Value, schema: &Schema, level: Level) -> Set {
        let mut set = Set::default();
        match (self.shape(schema, value), value) {
            (Shape::Leaf, _) => set.member = true,
            (Shape::Fields(resolved), Value::Object(fields)) => {
                for (name, value) in fields.iter().filter(|(name, value)| !level.passes_over(name) && !value.is_null())
                {
                    let mut child = self.fields_of(value, Self::field(resolved, name), level.below(name));
                    let is_empty_map = value.as_object().is_some_and(Map::is_empty);
                    child.member |= is_empty_map || !Self::is_named(resolved, name);
                    if !child.is_empty() {
                        set.fields.insert(name.clone(), child);
                    }
                }
            }
            (Shape::Items { items, keys }, Value::Array(list)) => {
                for value in list {
                    if let Ok(element) = self.element(items, keys, value) {
                        let mut child = self.fields_of(value, items, Level::Within);
                        child.member = true;
                        set.items.insert(element, child);
                    }
                }
            }
            _ => {}
        }
        set
    }

    /// What a new object changes in an old one. Without an old one everything is added, save what every object of a kind
    /// has.
    pub(super) fn compare(&self, old: Option<&Value>, new: &Value, schema: &Schema) -> Comparison {
        self.compare_at(Some(old.unwrap_or(&EMPTY)), Some(new), schema, Level::Object)
    }

    fn compare_at(&self, old: Option<&Value>, new: Option<&Value>, schema: &Schema, level: Level) -> Comparison {
        let mut result = Comparison::default();
        let old = old.filter(|value| !value.is_null());
        let new = new.filter(|value| !value.is_null());
        let Some(present) = new.or(old) else { return result };
        let is_one_shape = old.zip(new).is_none_or(|(old, new)| is_same_type(old, new));
        let is_empty = |value: Option<&Value>| value.is_none_or(is_empty_container);
        match self.shape(schema, present) {
            Shape::Fields(resolved) if is_one_shape && !(is_empty(old) && is_empty(new)) => {
                self.compare_fields(old, new, resolved, level, &mut result);
            }
            Shape::Items { items, keys } if is_one_shape && !(is_empty(old) && is_empty(new)) => {
                self.compare_items(old, new, items, keys, &mut result);
            }
            _ => result.modified.member = old.is_some() && new.is_some() && old != new,
        }
        result.added.member = old.is_none();
        result.removed.member = new.is_none();
        result
    }

    fn compare_fields(
        &self,
        old: Option<&Value>,
        new: Option<&Value>,
        resolved: &Schema,
        level: Level,
        result: &mut Comparison,
    ) {
        let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
        let (has_old, has_new) = (old.is_some(), new.is_some());
        let only_old = old.into_iter().flatten().filter(|(name, _)| !new.is_some_and(|new| new.contains_key(*name)));
        let pairs = only_old.map(|(name, value)| (name, Some(value), None)).chain(
            new.into_iter().flatten().map(|(name, value)| (name, old.and_then(|old| old.get(name)), Some(value))),
        );
        for (name, old, new) in pairs {
            if level.passes_over(name) {
                continue;
            }
            let field = Self::field(resolved, name);
            // What every object of a type has is there, if empty, where the object itself is.
            let is_there = field.always_there || level.is_always_there(name);
            let old = old.or_else(|| new.filter(|_| is_there && has_old).map(empty_of));
            let new = new.or_else(|| old.filter(|_| is_there && has_new).map(empty_of));
            let within = self.compare_at(old, new, field, level.below(name));
            result.place(|set| set.fields.entry(name.clone()).or_default(), within);
        }
    }

    fn compare_items(
        &self,
        old: Option<&Value>,
        new: Option<&Value>,
        items: &Schema,
        keys: &[String],
        result: &mut Comparison,
    ) {
        if old == new {
            return;
        }
        let index = |list: Option<&'_ Value>| -> Vec<(String, usize)> {
            let list = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let elements =
                list.iter().enumerate().filter_map(|(at, value)| Some((self.element(items, keys, value).ok()?, at)));
            elements.collect()
        };
        let (old_index, new_index) = (index(old), index(new));
        let old_places: std::collections::HashMap<&str, usize> =
            old_index.iter().map(|(element, at)| (element.as_str(), *at)).collect();
        let new_places: std::collections::HashMap<&str, usize> =
            new_index.iter().map(|(element, at)| (element.as_str(), *at)).collect();
        for element in old_places.keys().filter(|element| !new_places.contains_key(*element)) {
            let value = old.and_then(|old| old.get(old_places[element]));
            let within = self.compare_at(value, None, items, Level::Within);
            result.place(|set| set.items.entry(element.to_string()).or_default(), within);
        }
        for (element, place) in &new_places {
            let before = old_places.get(element).and_then(|place| old.and_then(|old| old.get(*place)));
            let within = self.compare_at(before, new.and_then(|new| new.get(*place)), items, Level::Within);
            result.place(|set| set.items.entry(element.to_string()).or_default(), within);
        }
    }

    /// Adds the objects that named fields are in: whoever owns a field holds its parents too.
    pub(super) fn with_named_fields(&self, mut set: Set, schema: &Schema) -> Set {
        self.name_fields(&mut set, schema);
        set
    }

    fn name_fields(&self, set: &mut Set, schema: &Schema) {
        let resolved = self.definitions.resolve(schema);
        for (name, child) in &mut set.fields {
            child.member |= Self::is_named(resolved, name);
            self.name_fields(child, Self::field(resolved, name));
        }
        let items = match &resolved.type_ {
            Type::List { items, .. } => items,
            _ => &*ANY,
        };
        set.items.values_mut().for_each(|child| self.name_fields(child, items));
    }
}

pub(super) fn is_empty_container(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

fn is_same_type(a: &Value, b: &Value) -> bool {
    (a.is_object() && b.is_object()) || (a.is_array() && b.is_array()) || (!is_container(a) && !is_container(b))
}

pub(super) fn is_container(value: &Value) -> bool {
    value.is_object() || value.is_array()
}

/// How far into the object a walk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// At the object itself.
    Object,
    /// In its metadata.
    Metadata,
    /// Further in.
    Within,
}

impl Level {
    fn passes_over(self, name: &str) -> bool {
        match self {
            Self::Object => UNOWNED.contains(&name),
            Self::Metadata => UNOWNED_METADATA.contains(&name),
            Self::Within => false,
        }
    }

    /// Metadata are of every object, and no one's.
    fn is_always_there(self, name: &str) -> bool {
        self == Self::Object && name == "metadata"
    }

    fn below(self, name: &str) -> Self {
        match self {
            Self::Object if name == "metadata" => Self::Metadata,
            _ => Self::Within,
        }
    }
}
