//! A kind of which nothing is known but its metadata.

use jiff::Timestamp;
use serde_json::Value;

use crate::resource::{Column, Kind};
use crate::table::{age, age_column, name, name_column};

/// Kinds that need no more than a name and an age.
pub struct Plain;

impl Kind for Plain {
    fn columns(&self) -> Vec<Column> {
        vec![name_column(), age_column()]
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(object), age(object, now)]
    }
}
