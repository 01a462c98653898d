//! The JSON Schema of the file, for editors and for `rkctl schema`.

use crate::file::ClusterFile;

/// The JSON Schema (draft 2020-12) of an inventory.
pub fn json_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(ClusterFile).to_value();
    if let Some(properties) = schema.get_mut("properties") {
        properties["apiVersion"]["enum"] = serde_json::json!(["rkctl.dev/v1", null]);
        properties["kind"]["enum"] = serde_json::json!(["Cluster", null]);
    }
    schema
}
