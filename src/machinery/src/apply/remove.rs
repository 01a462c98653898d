//! Taking a set of fields out of an object.

use serde_json::Value;

use super::set::Set;
use super::walk::{Shape, Walker};
use crate::schema::Schema;

impl Walker<'_> {
    /// Removes every field of the set. What is left empty by that goes too; so does an atomic value of which the set
    /// names a part.
    pub(super) fn remove(&self, object: &mut Value, set: &Set, schema: &Schema) {
        self.keeps(object, set, schema);
    }

    /// Removes within a value; false where nothing of it remains.
    fn keeps(&self, value: &mut Value, set: &Set, schema: &Schema) -> bool {
        match self.shape(schema, value) {
            Shape::Leaf => !super::walk::is_container(value),
            Shape::Fields(resolved) => {
                let Value::Object(fields) = value else { return true };
                fields.retain(|name, value| match set.fields.get(name) {
                    None => true,
                    Some(child) if child.member => false,
                    Some(child) => self.keeps(value, child, Self::field(resolved, name)),
                });
                !fields.is_empty()
            }
            Shape::Items { items, keys } => {
                let Value::Array(list) = value else { return true };
                list.retain_mut(|value| {
                    let element = self.element(items, keys, value).ok();
                    match element.and_then(|element| set.items.get(&element)) {
                        None => true,
                        Some(child) if child.member => false,
                        Some(child) => self.keeps(value, child, items),
                    }
                });
                !list.is_empty()
            }
        }
    }
}
