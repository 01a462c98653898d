//! Reads the table of facts, once.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;

/// What the table says of a field or a type.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Facts {
    pub map_keys: Vec<String>,
    pub set: bool,
    pub atomic: bool,
    pub any: bool,
    pub merge: bool,
    pub merge_key: Option<&'static str>,
    pub retain_keys: bool,
    pub default: Option<Value>,
    pub enum_: Vec<&'static str>,
}

/// By type, then by field.
type Table = HashMap<&'static str, HashMap<&'static str, Facts>>;

static TABLE: LazyLock<Table> = LazyLock::new(|| read(include_str!("facts.txt")));

/// The facts of a field of a type; of the type itself with `-`.
pub(super) fn of(type_name: &str, field: &str) -> Option<&'static Facts> {
    TABLE.get(short(type_name))?.get(field)
}

/// Fields by type.
type Fields = HashMap<&'static str, Vec<&'static str>>;

/// Fields whose zero value is the same as no field.
static UNSET: LazyLock<Fields> = LazyLock::new(|| fields(include_str!("unset.txt")));
/// Objects, lists and maps that are there before anybody sets anything in them.
static ALWAYS: LazyLock<Fields> = LazyLock::new(|| fields(include_str!("always.txt")));

fn fields(text: &'static str) -> Fields {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ')).map(|(name, fields)| (name, fields.split(' ').collect())).collect()
}

/// Whether the zero value of a type's field is the same as no field.
pub(super) fn is_unset_if_empty(type_name: &str, field: &str) -> bool {
    UNSET.get(short(type_name)).is_some_and(|fields| fields.contains(&field))
}

/// Whether a type's field is there before anybody sets anything in it.
pub(super) fn is_always_there(type_name: &str, field: &str) -> bool {
    ALWAYS.get(short(type_name)).is_some_and(|fields| fields.contains(&field))
}

/// The name of a type in the tables.
fn short(type_name: &str) -> &str {
    let name = type_name.strip_prefix("io.k8s.").unwrap_or(type_name);
    name.strip_prefix("api.").unwrap_or(name)
}

fn read(text: &'static str) -> Table {
    let mut table = Table::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        if let (Some(type_name), Some(field)) = (words.next(), words.next()) {
            table.entry(type_name).or_default().insert(field, words.fold(Facts::default(), add));
        }
    }
    table
}

fn add(mut facts: Facts, word: &'static str) -> Facts {
    match word.split_once('=').unwrap_or((word, "")) {
        ("map", keys) => facts.map_keys = keys.split(',').map(str::to_string).collect(),
        ("set", _) => facts.set = true,
        ("atomic", _) => facts.atomic = true,
        ("any", _) => facts.any = true,
        ("merge", key) => {
            facts.merge = true;
            facts.merge_key = Some(key).filter(|key| !key.is_empty());
        }
        ("retain", _) => facts.retain_keys = true,
        ("default", json) => {
            facts.default = Some(serde_json::from_str(json).expect("the table's defaults are JSON"));
        }
        ("enum", values) => facts.enum_ = values.split(',').collect(),
        _ => unreachable!("the table of facts has the unknown word {word:?}"),
    }
    facts
}

#[cfg(test)]
pub(super) fn unset_keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    let all = UNSET.iter().chain(ALWAYS.iter());
    all.flat_map(|(type_name, fields)| fields.iter().map(|field| (*type_name, *field)))
}

#[cfg(test)]
pub(super) fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.iter().flat_map(|(type_name, fields)| fields.keys().map(|field| (*type_name, *field)))
}
