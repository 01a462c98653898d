//! The schema of one version, with the definitions it refers to.

use std::sync::{Arc, LazyLock};

use machinery::schema::structural::{object_schema, read};
use machinery::schema::{Definitions, OBJECT_META, Schema};
use serde_json::{Value, json};

use crate::definitions::closure;

/// What every object has.
static COMMON: LazyLock<Definitions> = LazyLock::new(|| closure(OBJECT_META));

/// The schema of a whole object, and the definitions with it under `name`.
pub(super) fn of_version(raw: &Value, name: &str) -> (Arc<Schema>, Definitions) {
    let root = Arc::new(object_schema(raw, OBJECT_META));
    let mut definitions = COMMON.clone();
    definitions.0.insert(name.into(), root.clone());
    (root, definitions)
}

/// What the schema asks of names in metadata, where it does.
pub(super) fn of_names(raw: &Value) -> Option<Schema> {
    let metadata = raw.pointer("/properties/metadata")?;
    metadata["properties"].as_object()?;
    Some(read(&json!({"type": "object", "properties": {"metadata": metadata}}), OBJECT_META))
}
