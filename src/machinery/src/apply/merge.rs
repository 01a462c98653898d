//! Merging an applied configuration into the live object: both have their say field by field, the configuration
//! last.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::walk::{Shape, Walker};
use crate::schema::Schema;

impl Walker<'_> {
    /// The path of the first list, map or object of a configuration that is one field.
    pub(super) fn find_atomic(&self, value: &Value, schema: &Schema) -> Option<String> {
        match (self.shape(schema, value), value) {
            (Shape::Fields(resolved), Value::Object(fields)) => fields.iter().find_map(|(name, value)| {
                Some(format!(".{name}{}", self.find_atomic(value, Self::field(resolved, name))?))
            }),
            (Shape::Items { items, .. }, Value::Array(elements)) => elements
                .iter()
                .enumerate()
                .find_map(|(index, value)| Some(format!("[{index}]{}", self.find_atomic(value, items)?))),
            (Shape::Leaf, Value::Object(_) | Value::Array(_)) => Some(String::new()),
            _ => None,
        }
    }

    /// The live object with everything that the configuration states.
    pub(super) fn merge(&self, live: Option<&Value>, applied: &Value, schema: &Schema) -> Value {
        match (self.shape(schema, applied), live, applied) {
            (Shape::Fields(resolved), live, Value::Object(applied)) => {
                let live = live.and_then(Value::as_object);
                let mut merged = live.cloned().unwrap_or_default();
                self.merge_fields(&mut merged, live, applied, resolved);
                Value::Object(merged)
            }
            (Shape::Items { items, keys }, Some(Value::Array(live)), Value::Array(applied)) => {
                Value::Array(self.merge_items(live, applied, items, keys))
            }
            (Shape::Items { items, .. }, _, Value::Array(applied)) => {
                Value::Array(applied.iter().map(|value| self.merge(None, value, items)).collect())
            }
            _ => applied.clone(),
        }
    }

    fn merge_fields(
        &self,
        merged: &mut Map<String, Value>,
        live: Option<&Map<String, Value>>,
        applied: &Map<String, Value>,
        resolved: &Schema,
    ) {
        for (name, value) in applied.iter().filter(|(_, value)| !value.is_null()) {
            let live = live.and_then(|live| live.get(name));
            merged.insert(name.clone(), self.merge(live, value, Self::field(resolved, name)));
        }
    }

    /// Elements in the order of the configuration; those of the live object alone keep their place among their
    /// neighbours.
    fn merge_items(&self, live: &[Value], applied: &[Value], items: &Schema, keys: &[String]) -> Vec<Value> {
        let name = |value: &Value| self.element(items, keys, value).ok();
        let live: Vec<(Option<String>, &Value)> = live.iter().map(|value| (name(value), value)).collect();
        let applied: Vec<(Option<String>, &Value)> = applied.iter().map(|value| (name(value), value)).collect();
        let live_by_name: HashMap<&str, &Value> =
            live.iter().filter_map(|(name, value)| Some((name.as_deref()?, *value))).collect();
        let applied_names: HashSet<&str> = applied.iter().filter_map(|(name, _)| name.as_deref()).collect();
        let is_applied = |name: &Option<String>| name.as_deref().is_some_and(|name| applied_names.contains(name));
        let is_live = |name: &Option<String>| name.as_deref().is_some_and(|name| live_by_name.contains_key(name));

        // For each element the next that both have, which marks how far the live order is followed. Found from the
        // end: a list may be as long as a body allows.
        let mut next_shared = None;
        let mut shared: Vec<Option<&Option<String>>> = Vec::with_capacity(applied.len());
        for (name, _) in applied.iter().rev() {
            next_shared = if is_live(name) { Some(name) } else { next_shared };
            shared.push(next_shared);
        }

        let mut merged = Vec::with_capacity(live.len().max(applied.len()));
        let mut rest = live.iter().peekable();
        for ((name, value), next_shared) in applied.iter().zip(shared.into_iter().rev()) {
            while let Some((other, value)) = rest.next_if(|(other, _)| Some(other) != next_shared) {
                if !is_applied(other) {
                    merged.push((*value).clone());
                }
            }
            if Some(name) == next_shared {
                rest.next();
            }
            let before = name.as_deref().and_then(|name| live_by_name.get(name)).copied();
            merged.push(self.merge(before, value, items));
        }
        merged.extend(rest.filter(|(name, _)| !is_applied(name)).map(|(_, value)| (*value).clone()));
        merged
    }
}
