//! Which functions there are, with which types: tables of one line an overload.
//!
//! `size_list list(A)::size() int` is a method of lists (`list.size()`), `list_size size(list(A)) int` a function.
//! Letters A to C stand for any type. What a function does is in [`crate::library`], by its name.

mod language;
mod libraries;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use language::{OPERATORS, STANDARD, TIME};
use libraries::{AUTHORIZATION, KUBERNETES, LISTS, MATH, NETWORK, OPTIONAL, STRINGS};

use crate::types::{OPAQUE, Type};

/// One way to call a function.
#[derive(Debug)]
pub(crate) struct Overload {
    pub id: &'static str,
    pub is_member: bool,
    /// With the receiver first; type parameters are `Var(0)` to `Var(2)`.
    pub args: Vec<Type>,
    pub result: Type,
    /// How many type parameters there are.
    pub parameters: usize,
}

/// All functions by name.
pub(crate) static FUNCTIONS: LazyLock<HashMap<&'static str, Vec<Overload>>> = LazyLock::new(|| {
    let mut functions: HashMap<&'static str, Vec<Overload>> = HashMap::new();
    for table in [OPERATORS, STANDARD, TIME, STRINGS, LISTS, KUBERNETES, NETWORK, AUTHORIZATION, OPTIONAL, MATH] {
        for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
            // A line that cannot be read is a fault of the tables, which a test reads whole.
            if let Some((name, overload)) = read(line) {
                functions.entry(name).or_default().push(overload);
            }
        }
    }
    functions
});

fn read(line: &'static str) -> Option<(&'static str, Overload)> {
    let (id, rest) = line.split_once(' ')?;
    let (signature, result) = rest.rsplit_once(") ")?;
    let (receiver, signature) = match signature.split_once("::") {
        Some((receiver, signature)) => (Some(receiver), signature),
        None => (None, signature),
    };
    let (name, args) = signature.split_once('(')?;
    let mut types: Vec<Type> = Vec::new();
    for text in receiver.into_iter().chain(split(args)) {
        types.push(read_type(text)?);
    }
    let result = read_type(result)?;
    let parameters = ["A", "B", "C"]
        .iter()
        .take_while(|letter| {
            line.contains(**letter) && line.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == **letter)
        })
        .count();
    Some((name, Overload { id, is_member: receiver.is_some(), args: types, result, parameters }))
}

/// Parts between the commas that are in no brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if !text[start..].trim().is_empty() {
        parts.push(text[start..].trim());
    }
    parts
}

fn read_type(text: &str) -> Option<Type> {
    let inner = |prefix: &str| text.strip_prefix(prefix)?.strip_suffix(')');
    if let Some(element) = inner("list(") {
        return Some(Type::list(read_type(element)?));
    }
    if let Some(element) = inner("optional(") {
        return Some(Type::optional(read_type(element)?));
    }
    if let Some(element) = inner("type(") {
        return Some(Type::Type(Some(Arc::new(read_type(element)?))));
    }
    if let Some(parts) = inner("map(") {
        let [key, value] = split(parts)[..] else { return None };
        return Some(Type::map(read_type(key)?, read_type(value)?));
    }
    match text {
        "A" => Some(Type::Var(0)),
        "B" => Some(Type::Var(1)),
        "C" => Some(Type::Var(2)),
        "dyn" => Some(Type::Dyn),
        "null" => Some(Type::Null),
        "bool" => Some(Type::Bool),
        "int" => Some(Type::Int),
        "uint" => Some(Type::Uint),
        "double" => Some(Type::Double),
        "string" => Some(Type::String),
        "bytes" => Some(Type::Bytes),
        "duration" => Some(Type::Duration),
        "timestamp" => Some(Type::Timestamp),
        _ => OPAQUE.iter().find(|(name, _)| name.rsplit('.').next() == Some(text)).map(|(name, _)| Type::Opaque(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_tables_is_an_overload() {
        let tables = [OPERATORS, STANDARD, TIME, STRINGS, LISTS, KUBERNETES, NETWORK, AUTHORIZATION, OPTIONAL, MATH];
        for line in tables.iter().flat_map(|table| table.lines()).map(str::trim).filter(|line| !line.is_empty()) {
            assert!(read(line).is_some(), "{line}");
        }
        assert_eq!(FUNCTIONS["_?_:_"][0].parameters, 1);
        assert_eq!(FUNCTIONS["@in"][1].parameters, 2);
        assert_eq!(FUNCTIONS["charAt"][0].parameters, 0);
    }
}
