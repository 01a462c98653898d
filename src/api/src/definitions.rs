//! The schemas of the built-in kinds, made on first use from k8s-openapi's generated ones, which are built in, and the
//! table of facts they lack.
//!
//! Each type is converted once in the life of the process and shared by every kind that refers to it. What is done
//! with schemas (pruning, defaults, checks, patches) lives in `machinery`; nothing here knows a single kind.

mod built_in;
mod convert;
mod facts;
pub mod openapi;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use machinery::schema::{Definitions, Schema, Type};

pub use built_in::Described;

/// Where references point: the place of components in an OpenAPI v3 document.
const REFERENCE_PREFIX: &str = "#/components/schemas/";

/// A converted type.
#[derive(Clone)]
struct Entry {
    schema: Arc<Schema>,
    /// Fields that OpenAPI declares required. They are not in `schema`: the server fills in what it can and leaves
    /// the rest to validation, which answers with the field's path.
    required: Arc<[String]>,
}

/// What was converted until now.
static CATALOG: Mutex<BTreeMap<Arc<str>, Entry>> = Mutex::new(BTreeMap::new());

fn catalog() -> MutexGuard<'static, BTreeMap<Arc<str>, Entry>> {
    CATALOG.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The definition `root` and every definition it refers to, directly or not.
pub fn closure(root: &str) -> Definitions {
    let mut catalog = catalog();
    let mut found = BTreeMap::new();
    let mut queue: Vec<Arc<str>> = vec![Arc::from(root)];
    while let Some(name) = queue.pop() {
        if found.contains_key(&name) {
            continue;
        }
        if let Some(entry) = catalog.get(&name).cloned().or_else(|| convert(&mut catalog, name.clone())) {
            references(&entry.schema, &mut queue);
            found.insert(name, entry.schema);
        }
    }
    Definitions(found)
}

/// Converts a built-in type and keeps it.
fn convert(catalog: &mut BTreeMap<Arc<str>, Entry>, name: Arc<str>) -> Option<Entry> {
    let (schema, required) = convert::definition(&name, built_in::schema(&name)?);
    let entry = Entry { schema: Arc::new(schema), required: required.into() };
    catalog.insert(name, entry.clone());
    Some(entry)
}

/// One of the definitions; what has none may be anything.
pub(crate) fn schema_in<'a>(definitions: &'a Definitions, name: &str) -> &'a Schema {
    static ANY: LazyLock<Schema> = LazyLock::new(Schema::default);
    definitions.0.get(name).map_or(&ANY, |schema| schema)
}

/// The fields that OpenAPI declares required of a type; empty for a type that no kind asked for yet.
fn required(name: &str) -> Arc<[String]> {
    catalog().get(name).map(|entry| entry.required.clone()).unwrap_or_default()
}

fn references(schema: &Schema, into: &mut Vec<Arc<str>>) {
    match &schema.type_ {
        Type::Reference(name) => into.push(name.clone()),
        Type::Object { fields, .. } => fields.values().for_each(|field| references(field, into)),
        Type::Map { values, .. } => references(values, into),
        Type::List { items, .. } => references(items, into),
        Type::Any
        | Type::String { .. }
        | Type::Integer { .. }
        | Type::Number { .. }
        | Type::Boolean
        | Type::IntOrString => {}
    }
}

#[cfg(test)]
mod tests;
