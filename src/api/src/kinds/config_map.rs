//! ConfigMap.

use serde_json::Value;

use super::simple::Simple;
use crate::read;
use crate::table::{age, age_column, column, name, name_column};

/// The behaviour of ConfigMaps.
pub static CONFIG_MAP: Simple = Simple {
    columns: &[name_column(), column("Data", "integer", "How many keys it has."), age_column()],
    cells: |object, now| vec![name(object), count(object).into(), age(object, now)],
    ..Simple::PLAIN
};

fn count(object: &Value) -> usize {
    read::map(object, "data").len() + read::map(object, "binaryData").len()
}
