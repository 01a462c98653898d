//! Whether a configuration is an object of its type at all, which merging and ownership take for granted.

use std::collections::HashSet;

use serde_json::Value;

use super::set::Set;
use super::walk::Walker;
use crate::schema::{Definitions, ListKind, Schema, Type};

/// More faults than this are not listed.
const MAX_FAULTS: usize = 100;
/// Fields of an embedded resource that need no schema.
const EMBEDDED_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Everything that keeps a configuration from being an object of its type, in the words of server-side apply: fields
/// that its schema does not declare (`.spec.containers[name="c"].imagee: field not declared in schema`), and lists in
/// which two elements have one key or one has none. `patch` has not been pruned.
pub fn faults(patch: &Value, schema: &Schema, definitions: &Definitions) -> Vec<String> {
    let mut check = Check { walker: Walker { definitions }, wants_declared: true, found: Vec::new() };
    check.value(patch, schema, "");
    check.found
}

/// The first list in which two elements have one key, or one has none.
pub(super) fn first_ambiguity(patch: &Value, schema: &Schema, definitions: &Definitions) -> Option<String> {
    let mut check = Check { walker: Walker { definitions }, wants_declared: false, found: Vec::new() };
    check.value(patch, schema, "");
    check.found.into_iter().next()
}

struct Check<'a> {
    walker: Walker<'a>,
    wants_declared: bool,
    found: Vec<String>,
}

impl Check<'_> {
    fn report(&mut self, at: &str, what: impl std::fmt::Display) {
        if self.found.len() < MAX_FAULTS {
            self.found.push(format!("{at}: {what}"));
        }
    }

    fn value(&mut self, value: &Value, schema: &Schema, at: &str) {
        let walker = self.walker;
        let resolved = walker.definitions.resolve(schema);
        match (&resolved.type_, value) {
            (_, Value::Object(fields)) => {
                for (name, value) in fields {
                    let at = format!("{at}.{name}");
                    if self.wants_declared && !is_declared(resolved, name) {
                        self.report(&at, "field not declared in schema");
                    } else {
                        self.value(value, Walker::field(resolved, name), &at);
                    }
                }
            }
            (Type::List { items, kind: ListKind::Atomic }, Value::Array(list)) => {
                for (index, value) in list.iter().enumerate() {
                    self.value(value, items, &format!("{at}[{index}]"));
                }
            }
            (Type::List { items, kind: ListKind::Set }, Value::Array(list)) => self.elements(list, items, &[], at),
            (Type::List { items, kind: ListKind::Map(keys) }, Value::Array(list)) => {
                self.elements(list, items, keys, at);
            }
            _ => {}
        }
    }

    /// Elements that are told apart by keys, or by themselves where there are none.
    fn elements(&mut self, list: &[Value], items: &Schema, keys: &[String], at: &str) {
        let mut seen = HashSet::new();
        for (index, value) in list.iter().enumerate() {
            match self.walker.element(items, keys, value) {
                Err(message) => self.report(at, format_args!("element {index}: {message}")),
                Ok(element) => {
                    let shown = shown(&element);
                    if !seen.insert(element) {
                        self.report(at, format_args!("duplicate entries for key {shown}"));
                    }
                    self.value(value, items, &format!("{at}{shown}"));
                }
            }
        }
    }
}

/// An element as people read it: `[name="c"]`.
fn shown(element: &str) -> String {
    let items = std::collections::BTreeMap::from([(element.to_string(), Set::leaf())]);
    Set { items, ..Set::default() }.paths().concat()
}

fn is_declared(resolved: &Schema, name: &str) -> bool {
    match &resolved.type_ {
        Type::Object { fields, .. } => {
            fields.contains_key(name)
                || resolved.preserve_unknown
                || (resolved.embedded_resource && EMBEDDED_FIELDS.contains(&name))
        }
        _ => true,
    }
}
