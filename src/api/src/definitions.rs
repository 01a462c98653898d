//! The schemas of the built-in kinds, made on first use from k8s-openapi's generated ones and the table of facts
//! they lack.
//!
//! Each type is converted once in the life of the process and shared by every kind that refers to it. What is done
//! with schemas (pruning, defaults, checks, patches) lives in `machinery`; nothing here knows a single kind.

mod convert;
mod facts;
pub mod openapi;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use machinery::schema::{Definitions, Schema, Type};
use schemars::generate::{SchemaGenerator, SchemaSettings};

/// Where references point: the place of components in an OpenAPI v3 document.
const REFERENCE_PREFIX: &str = "#/components/schemas/";

/// Puts one type and all that it refers to among a generator's definitions.
pub type Generate = fn(&mut SchemaGenerator) -> schemars::Schema;

/// The [`Generate`] function of a type of k8s-openapi.
pub fn generate<T: schemars::JsonSchema>(generator: &mut SchemaGenerator) -> schemars::Schema {
    generator.subschema_for::<T>()
}

/// A converted type.
#[derive(Clone)]
struct Entry {
    schema: Arc<Schema>,
    /// Fields that OpenAPI declares required. They are not in `schema`: the server fills in what it can and leaves
    /// the rest to validation, which answers with the field's path.
    required: Arc<[String]>,
}

struct Catalog {
    generator: SchemaGenerator,
    types: BTreeMap<Arc<str>, Entry>,
}

static CATALOG: LazyLock<Mutex<Catalog>> = LazyLock::new(|| {
    let generator = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.transforms.clear();
        })
        .into_generator();
    Mutex::new(Catalog { generator, types: BTreeMap::new() })
});

fn catalog() -> MutexGuard<'static, Catalog> {
    CATALOG.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The definition `root` and every definition it refers to, directly or not.
pub fn closure(root: &str, generate: Generate) -> Definitions {
    let mut catalog = catalog();
    catalog.convert(generate);
    let mut found = BTreeMap::new();
    let mut queue: Vec<Arc<str>> = vec![Arc::from(root)];
    while let Some(name) = queue.pop() {
        if found.contains_key(&name) {
            continue;
        }
        if let Some(entry) = catalog.types.get(&name) {
            references(&entry.schema, &mut queue);
            found.insert(name, entry.schema.clone());
        }
    }
    Definitions(found)
}

/// One of the definitions; what has none may be anything.
pub(crate) fn schema_in<'a>(definitions: &'a Definitions, name: &str) -> &'a Schema {
    static ANY: LazyLock<Schema> = LazyLock::new(Schema::default);
    definitions.0.get(name).map_or(&ANY, |schema| schema)
}

/// The fields that OpenAPI declares required of a type; empty for a type that no kind asked for yet.
fn required(name: &str) -> Arc<[String]> {
    catalog().types.get(name).map(|entry| entry.required.clone()).unwrap_or_default()
}

impl Catalog {
    /// Runs a generator and converts what it produced, leaving a stub behind so that no type is made twice.
    fn convert(&mut self, generate: Generate) {
        generate(&mut self.generator);
        for (name, made) in self.generator.definitions_mut() {
            if made.is_object() {
                let made = std::mem::replace(made, serde_json::Value::Bool(true));
                let (schema, required) = convert::definition(name, made);
                let entry = Entry { schema: Arc::new(schema), required: required.into() };
                self.types.insert(Arc::from(name.as_str()), entry);
            }
        }
    }
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
