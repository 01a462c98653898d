//! The order of a merged list: what the patch names in its order, what only the server has in its own, and the two
//! woven together by the order in which the server had them.

use std::collections::HashMap;

use serde_json::Value;

use crate::patch::Error;

/// The value of an element's merge key.
pub(super) fn key_of<'a>(element: &'a Value, key: &str) -> Result<&'a Value, Error> {
    element
        .get(key)
        .ok_or_else(|| Error::Rejected(format!("map: {element} does not contain declared merge key: {key}")))
}

/// What tells elements apart: the merge key's value, or the element itself.
fn identity<'a>(element: &'a Value, key: Option<&str>) -> &'a Value {
    key.and_then(|key| element.get(key)).unwrap_or(element)
}

/// Where each element of a list stands first. Lists may be as long as a body allows, so they are not searched through
/// for each element of another.
pub(super) struct Places<'k> {
    by_identity: HashMap<String, usize>,
    key: Option<&'k str>,
}

impl<'k> Places<'k> {
    /// Of elements that `key` tells apart, or their values.
    pub(super) fn of(list: &[Value], key: Option<&'k str>) -> Self {
        let mut places = Self { by_identity: HashMap::with_capacity(list.len()), key };
        for (at, element) in list.iter().enumerate() {
            places.add(element, at);
        }
        places
    }

    /// The place of an element like this one.
    pub(super) fn find(&self, element: &Value) -> Option<usize> {
        self.by_identity.get(&identity(element, self.key).to_string()).copied()
    }

    /// Notes the place of an element, and answers whether there was none like it before.
    pub(super) fn add(&mut self, element: &Value, at: usize) -> bool {
        match self.by_identity.entry(identity(element, self.key).to_string()) {
            std::collections::hash_map::Entry::Occupied(_) => false,
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(at);
                true
            }
        }
    }
}

/// A patch may only name elements that its order names, in the same order.
pub(super) fn check(changes: &[Value], wanted: &[Value], key: Option<&str>) -> Result<(), Error> {
    if wanted.is_empty() {
        return Ok(());
    }
    let mut rest = wanted.iter();
    for change in changes.iter().filter(|change| change.get("$patch").is_none()) {
        if !rest.any(|wanted| identity(wanted, key) == identity(change, key)) {
            let (changes, wanted) = (Value::from(changes), Value::from(wanted));
            return Err(Error::Rejected(format!(
                "The order in patch list:\n{changes}\n doesn't match $setElementOrder list:\n{wanted}\n"
            )));
        }
    }
    Ok(())
}

/// Orders `merged`: elements in `wanted` as they stand there, the others as they stood `before`.
pub(super) fn arrange(
    merged: Vec<Value>,
    wanted: &[Value],
    before: &[Value],
    key: Option<&str>,
) -> Result<Vec<Value>, Error> {
    if let Some(key) = key {
        merged.iter().try_for_each(|element| key_of(element, key).map(|_| ()))?;
    }
    let (wanted, before) = (Places::of(wanted, key), Places::of(before, key));
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|element| wanted.find(element).is_some());
    named.sort_by_cached_key(|element| wanted.find(element));
    others.sort_by_cached_key(|element| before.find(element));
    let mut arranged = Vec::with_capacity(named.len() + others.len());
    let mut named = named.into_iter().peekable();
    for other in others {
        let other_at = before.find(&other);
        // Only what the server had after this one comes after it: what is new goes before all that the patch leaves
        // alone.
        while let Some(element) = named.next_if(
            |element| !matches!((before.find(element), other_at), (Some(element), Some(other)) if other < element),
        ) {
            arranged.push(element);
        }
        arranged.push(other);
    }
    arranged.extend(named);
    Ok(arranged)
}
