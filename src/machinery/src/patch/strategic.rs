//! Strategic merge patch: a merge patch that follows the schema into lists, with directives.
//!
//! | directive | meaning |
//! | --- | --- |
//! | `$patch: replace` | this object, or in a list element the whole list, is replaced |
//! | `$patch: delete` | this object, or the list element with this merge key, is removed |
//! | `$retainKeys: [..]` | every other field is removed |
//! | `$setElementOrder/FIELD: [..]` | the order of the list FIELD afterwards |
//! | `$deleteFromPrimitiveList/FIELD: [..]` | values that leave the list FIELD |

mod order;

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::Error;
use crate::schema::{Definitions, PatchStrategy, Schema, Type};
use order::Places;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_FROM_PRIMITIVE_LIST: &str = "$deleteFromPrimitiveList/";

/// Merges a strategic merge patch into an object, or leaves it as it is and says why. Fields that the schema does
/// not know are merged as by a JSON merge patch.
pub fn strategic(object: &mut Value, patch: &Value, schema: &Schema, definitions: &Definitions) -> Result<(), Error> {
    let Value::Object(patch) = patch else {
        return Err(Error::Malformed("a strategic merge patch must be an object".to_string()));
    };
    let mut fields = match object {
        Value::Object(fields) => fields.clone(),
        _ => Map::new(),
    };
    Merger { definitions }.object(&mut fields, patch.clone(), schema)?;
    *object = Value::Object(fields);
    Ok(())
}

fn rejected<T>(message: impl Into<String>) -> Result<T, Error> {
    Err(Error::Rejected(message.into()))
}

enum Directive {
    Replace,
    Delete,
}

fn directive(patch: &Map<String, Value>) -> Result<Option<Directive>, Error> {
    match patch.get(DIRECTIVE) {
        None => Ok(None),
        Some(Value::String(name)) if name == "replace" => Ok(Some(Directive::Replace)),
        Some(Value::String(name)) if name == "delete" => Ok(Some(Directive::Delete)),
        Some(other) => rejected(format!("unknown patch type: {other} in map: {}", Value::Object(patch.clone()))),
    }
}

struct Merger<'a> {
    definitions: &'a Definitions,
}

/// What is known of a field: its schema and how patches treat it.
struct Field<'a> {
    schema: &'a Schema,
    strategy: &'a PatchStrategy,
}

static UNKNOWN: std::sync::LazyLock<Schema> = std::sync::LazyLock::new(Schema::default);

impl<'a> Merger<'a> {
    fn field(&self, schema: &'a Schema, name: &str) -> Field<'a> {
        let field: &Schema = match &self.definitions.resolve(schema).type_ {
            Type::Object { fields, .. } => fields.get(name).map_or(&UNKNOWN, |field| field),
            Type::Map { values, .. } => values,
            _ => &UNKNOWN,
        };
        Field { schema: field, strategy: &field.patch }
    }

    /// The schema of a list's elements.
    fn items(&self, schema: &'a Schema) -> &'a Schema {
        match &self.definitions.resolve(schema).type_ {
            Type::List { items, .. } => items,
            _ => &UNKNOWN,
        }
    }

    /// A list whose order a patch states.
    fn ordered(&self, schema: &'a Schema, name: &str) -> Result<Field<'a>, Error> {
        let field = self.field(schema, name);
        if let Type::Object { fields, .. } = &self.definitions.resolve(schema).type_ {
            if !fields.contains_key(name) {
                return rejected(format!("unable to find api field for the json field {name:?}"));
            }
            if !matches!(self.definitions.resolve(field.schema).type_, Type::List { .. }) {
                return rejected(format!("expected slice or array type for {name:?}"));
            }
        }
        Ok(field)
    }

    fn object(
        &self,
        original: &mut Map<String, Value>,
        mut patch: Map<String, Value>,
        schema: &'a Schema,
    ) -> Result<(), Error> {
        match directive(&patch)? {
            Some(Directive::Replace) => {
                patch.remove(DIRECTIVE);
                clean_fields(&mut patch);
                *original = patch;
                return Ok(());
            }
            Some(Directive::Delete) => {
                original.clear();
                return Ok(());
            }
            None => {}
        }
        retain_keys(original, &mut patch)?;
        self.ordered_lists(original, &mut patch, schema)?;
        for (name, value) in patch {
            if let Some(name) = name.strip_prefix(DELETE_FROM_PRIMITIVE_LIST) {
                delete_from_list(original, name, &value)?;
            } else {
                self.merge_field(original, name, value, schema)?;
            }
        }
        Ok(())
    }

    fn merge_field(
        &self,
        original: &mut Map<String, Value>,
        name: String,
        patch: Value,
        schema: &'a Schema,
    ) -> Result<(), Error> {
        if patch.is_null() {
            original.remove(&name);
            return Ok(());
        }
        let field = self.field(schema, &name);
        match (original.get_mut(&name), patch) {
            (Some(Value::Object(fields)), Value::Object(patch)) => {
                if matches!(directive(&patch)?, Some(Directive::Delete)) {
                    original.remove(&name);
                    return Ok(());
                }
                self.object(fields, patch, field.schema)
            }
            (Some(Value::Array(list)), Value::Array(patch)) if field.strategy.merge => {
                let merged = self.list(std::mem::take(list), patch, &field, &name)?;
                *list = merged;
                Ok(())
            }
            (_, mut patch) => {
                if clean(&mut patch) {
                    original.insert(name, patch);
                } else {
                    original.remove(&name);
                }
                Ok(())
            }
        }
    }

    /// Lists whose order the patch states: merged, then ordered; both parts leave the patch.
    fn ordered_lists(
        &self,
        original: &mut Map<String, Value>,
        patch: &mut Map<String, Value>,
        schema: &'a Schema,
    ) -> Result<(), Error> {
        let names: Vec<String> =
            patch.keys().filter_map(|key| key.strip_prefix(ELEMENT_ORDER)).map(ToString::to_string).collect();
        for name in names {
            let Some(Value::Array(wanted)) = patch.remove(&format!("{ELEMENT_ORDER}{name}")) else {
                return rejected("invalid patch format of setElementOrder list");
            };
            let field = self.ordered(schema, &name)?;
            let key = field.strategy.merge_key.as_deref();
            if let Some(key) = key {
                wanted.iter().try_for_each(|element| order::key_of(element, key).map(|_| ()))?;
            }
            let changes = match patch.remove(&name) {
                None => None,
                Some(Value::Array(changes)) => Some(changes),
                // Null removes the list whatever its order.
                Some(other) => {
                    patch.insert(name, other);
                    continue;
                }
            };
            order::check(changes.as_deref().unwrap_or_default(), &wanted, key)?;
            let before = match original.remove(&name) {
                None => None,
                Some(Value::Array(list)) => Some(list),
                Some(_) => return rejected("invalid patch format of setElementOrder list"),
            };
            let merged = match (before.clone(), changes) {
                (None, None) => continue,
                (Some(list), None) => list,
                (before, Some(changes)) if field.strategy.merge => {
                    self.list(before.unwrap_or_default(), changes, &field, &name)?
                }
                (_, Some(changes)) => cleaned_list(changes),
            };
            let ordered = order::arrange(merged, &wanted, before.as_deref().unwrap_or_default(), key)?;
            original.insert(name, Value::Array(ordered));
        }
        Ok(())
    }

    fn list(
        &self,
        original: Vec<Value>,
        patch: Vec<Value>,
        field: &Field<'a>,
        name: &str,
    ) -> Result<Vec<Value>, Error> {
        let is_of_objects = original.iter().chain(&patch).any(Value::is_object);
        if !is_of_objects {
            let before = original.clone();
            let mut merged = original;
            let mut places = Places::of(&merged, None);
            for value in &patch {
                if places.add(value, merged.len()) {
                    merged.push(value.clone());
                }
            }
            return order::arrange(merged, &patch, &before, None);
        }
        let Some(key) = field.strategy.merge_key.as_deref() else {
            return rejected(format!("cannot merge lists without merge key for {name}"));
        };
        let (mut merged, patch) = directives_of_elements(original, patch, key)?;
        let before = merged.clone();
        let items = self.items(field.schema);
        let mut places = Places::of(&merged, Some(key));
        let mut wanted = Vec::with_capacity(patch.len());
        for element in patch {
            let value = order::key_of(&element, key)?.clone();
            wanted.push(Value::Object(Map::from_iter([(key.to_string(), value.clone())])));
            let Value::Object(element) = element else { continue };
            let element = Value::Object(element);
            let found = places.find(&element).and_then(|at| merged.get_mut(at)).and_then(Value::as_object_mut);
            match (found, element) {
                (Some(other), Value::Object(element)) => self.object(other, element, items)?,
                (_, mut element) => {
                    if clean(&mut element) {
                        places.add(&element, merged.len());
                        merged.push(element);
                    }
                }
            }
        }
        order::arrange(merged, &wanted, &before, Some(key))
    }
}

/// Carries out `$patch` in elements; answers with the list and the elements that remain to be merged.
fn directives_of_elements(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), Error> {
    let (mut rest, mut deleted) = (Vec::new(), Vec::new());
    let mut replaces = false;
    for element in patch {
        let Value::Object(fields) = &element else {
            return rejected("expected a map in a list of maps");
        };
        match directive(fields)? {
            None => rest.push(element),
            Some(Directive::Replace) => replaces = true,
            Some(Directive::Delete) => {
                order::key_of(&element, key)?;
                deleted.push(element);
            }
        }
    }
    if replaces {
        return Ok((cleaned_list(rest), Vec::new()));
    }
    if !deleted.is_empty() {
        let deleted = Places::of(&deleted, Some(key));
        original.retain(|element| element.get(key).is_none() || deleted.find(element).is_none());
    }
    Ok((original, rest))
}

fn retain_keys(original: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), Error> {
    let Some(kept) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let malformed = || Error::Malformed("invalid patch format of retainKeys".to_string());
    let kept = kept.as_array().ok_or_else(malformed)?;
    let kept: HashSet<&str> = kept.iter().filter_map(Value::as_str).collect();
    let is_kept = |name: &str| kept.contains(name);
    let sets_other = patch.iter().any(|(name, value)| {
        !value.is_null()
            && !name.starts_with(ELEMENT_ORDER)
            && !name.starts_with(DELETE_FROM_PRIMITIVE_LIST)
            && !is_kept(name)
    });
    if sets_other {
        return Err(malformed());
    }
    original.retain(|name, _| is_kept(name));
    Ok(())
}

fn delete_from_list(original: &mut Map<String, Value>, name: &str, leaving: &Value) -> Result<(), Error> {
    let Value::Array(leaving) = leaving else {
        return rejected("invalid patch format of primitive list");
    };
    if let Some(Value::Array(list)) = original.get_mut(name) {
        let leaving = Places::of(leaving, None);
        list.retain(|value| leaving.find(value).is_none());
    }
    Ok(())
}

/// Takes directives and nulls out of a value that is new to the object; false where a directive removes it.
fn clean(value: &mut Value) -> bool {
    match value {
        Value::Object(fields) => {
            if fields.get(DIRECTIVE).is_some_and(|directive| directive == "delete") {
                return false;
            }
            clean_fields(fields);
            true
        }
        Value::Array(list) => {
            list.retain_mut(clean_element);
            true
        }
        _ => true,
    }
}

fn clean_fields(fields: &mut Map<String, Value>) {
    fields.retain(|name, value| {
        let is_directive = name == DIRECTIVE
            || name == RETAIN_KEYS
            || name.starts_with(ELEMENT_ORDER)
            || name.starts_with(DELETE_FROM_PRIMITIVE_LIST);
        !is_directive && !value.is_null() && clean(value)
    });
}

/// In a list `{$patch: replace}` alone says nothing of an element.
fn clean_element(value: &mut Value) -> bool {
    let is_directive_only = value.as_object().is_some_and(|fields| fields.len() == 1 && fields.contains_key(DIRECTIVE));
    !is_directive_only && clean(value)
}

fn cleaned_list(mut list: Vec<Value>) -> Vec<Value> {
    list.retain_mut(clean_element);
    list
}
