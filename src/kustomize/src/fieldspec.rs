//! Places in objects by kind and path, the way kustomize describes them.

use serde_json::{Map, Value};

use crate::resource::Id;

/// A path in objects of some kinds; what is empty matches all.
#[derive(Debug, Clone, Default)]
pub(crate) struct FieldSpec {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    /// Names joined by `/`, with `\/` for a slash in a name. Lists on the way are walked through.
    pub(crate) path: String,
    /// Objects on the way are made where they are missing.
    pub(crate) create: bool,
}

impl FieldSpec {
    pub(crate) fn new(group: &str, kind: &str, path: &str, create: bool) -> Self {
        Self {
            group: group.to_string(),
            version: String::new(),
            kind: kind.to_string(),
            path: path.to_string(),
            create,
        }
    }

    pub(crate) fn selects(&self, id: &Id) -> bool {
        let fits = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        fits(&self.group, &id.group) && fits(&self.version, &id.version) && fits(&self.kind, &id.kind)
    }

    /// Calls `change` with every value at the path; with null where it was made.
    pub(crate) fn visit<E>(
        &self,
        object: &mut Value,
        change: &mut dyn FnMut(&mut Value) -> Result<(), E>,
    ) -> Result<(), E> {
        visit(object, &split(&self.path), self.create, change)
    }
}

pub(crate) fn split(path: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = path.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek() == Some(&'/') => {
                chars.next();
                parts.last_mut().into_iter().for_each(|part| part.push('/'));
            }
            '/' => parts.push(String::new()),
            c => parts.last_mut().into_iter().for_each(|part| part.push(c)),
        }
    }
    parts
}

fn visit<E>(
    value: &mut Value,
    path: &[String],
    create: bool,
    change: &mut dyn FnMut(&mut Value) -> Result<(), E>,
) -> Result<(), E> {
    let Some((name, rest)) = path.split_first() else { return change(value) };
    match value {
        Value::Array(list) => list.iter_mut().try_for_each(|value| visit(value, path, create, change)),
        Value::Object(fields) => {
            let (name, is_list) = name.strip_suffix("[]").map_or((name.as_str(), false), |name| (name, true));
            if fields.get(name).is_none_or(Value::is_null) {
                if !create || is_list {
                    return Ok(());
                }
                let made = if rest.is_empty() { Value::Null } else { Value::Object(Map::new()) };
                fields.insert(name.to_string(), made);
            }
            match fields.get_mut(name) {
                Some(value) => visit(value, rest, create, change),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Makes the value an object with these fields as well.
pub(crate) fn add_pairs(value: &mut Value, pairs: &std::collections::BTreeMap<String, String>) {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    if let Value::Object(fields) = value {
        fields.extend(pairs.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))));
    }
}
