//! The objects that a watch begins with: kept as the store has them, and made into events one after the other as the
//! client takes them, so that one that does not read holds no copies.

use std::vec::IntoIter;

use api::resource::Resource;
use serde_json::Value;
use store::Entry;

use super::list::Found;
use crate::convert;
use crate::flow::sending::Beginning;
use crate::status::Result;
use crate::storage;
use crate::webhook::Caller;

/// So many objects a conversion webhook is asked for at once.
const CONVERTED_AT_ONCE: usize = 100;

/// What comes next.
pub enum First {
    /// An object as it is stored.
    Stored(Entry),
    /// An object as the resource has it.
    Converted(Value),
    /// That these were all, at this revision.
    Mark(u64),
}

/// The first objects of a watch.
pub struct Initial {
    stored: IntoIter<Entry>,
    converted: IntoIter<Value>,
    mark: Option<u64>,
    beginning: Option<Beginning>,
}

impl Initial {
    /// A watch that begins with changes.
    pub fn none() -> Self {
        Self { stored: Vec::new().into_iter(), converted: Vec::new().into_iter(), mark: None, beginning: None }
    }

    /// What was found, and a mark behind it where one is wanted.
    pub fn new(found: Found, marked: bool) -> Self {
        let mark = marked.then_some(found.revision);
        // Those that had to be converted to be found are not converted again.
        let (stored, converted) = match found.converted {
            Some(converted) => (Vec::new(), converted),
            None => (found.entries, Vec::new()),
        };
        let beginning = Some(Beginning::default());
        Self { stored: stored.into_iter(), converted: converted.into_iter(), mark, beginning }
    }

    /// Whoever keeps the seats of the watch until its objects are told; `None` where they are.
    pub fn beginning(&self) -> Option<Beginning> {
        self.beginning.clone()
    }

    /// The next; `None` behind the last.
    ///
    /// # Errors
    /// 500 where the conversion webhook does not do what it should.
    pub async fn next(&mut self, caller: &Caller, resource: &Resource) -> Result<Option<First>> {
        if self.converted.as_slice().is_empty() && convert::webhook(resource).is_some() {
            let some = self.stored.by_ref().take(CONVERTED_AT_ONCE);
            let some = some.map(|entry| storage::decode(&entry)).collect::<Result<Vec<Value>>>()?;
            if !some.is_empty() {
                self.converted = convert::to_served(caller, resource, some).await?.into_iter();
            }
        }
        if let Some(object) = self.converted.next() {
            return Ok(Some(First::Converted(object)));
        }
        if let Some(entry) = self.stored.next() {
            return Ok(Some(First::Stored(entry)));
        }
        if let Some(revision) = self.mark.take() {
            return Ok(Some(First::Mark(revision)));
        }
        if let Some(beginning) = self.beginning.take() {
            beginning.ended();
        }
        Ok(None)
    }
}
