//! Server-side apply (KEP-555): who owns which field, what a new configuration changes, whom it takes fields from.
//!
//! Pure functions over objects: [`apply`] for apply patches, [`update_managed`] for every other write. Both read and
//! write `metadata.managedFields`. Entries of another apiVersion than the operation's are compared by the same
//! paths; converting them is the business of whoever converts objects.
//!
//! Nothing here defaults or validates: the object that [`apply`] answers with goes through the same steps as the
//! body of any other write.

mod conflict;
mod declared;
mod managers;
mod merge;
mod remove;
mod reset;
mod scale;
mod set;
mod walk;

use jiff::Timestamp;
use serde_json::Value;

use crate::meta;
use crate::schema::{Definitions, Schema};

pub use conflict::{Conflict, Conflicts};
pub use declared::faults;
pub use reset::Reset;
pub use scale::{managers_of_scale, managers_of_workload};
pub use set::Set;

use managers::{Entry, Kind, Managers};
use walk::{Comparison, Walker};

/// The annotation in which `kubectl apply` without `--server-side` keeps what it applied.
pub const LAST_APPLIED_ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// kubectl's own field manager; its applies take over what client-side apply had set.
const KUBECTL: &str = "kubectl";
/// Owner of everything that was there before anything was tracked.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// The most bytes that all annotations together may have.
const MAX_ANNOTATIONS_BYTES: usize = 256 * 1024;

/// A write, as ownership sees it.
#[derive(Debug, Clone, Copy)]
pub struct Operation<'a> {
    /// The field manager: the `fieldManager` parameter, or what stands before the first `/` of the user agent.
    pub manager: &'a str,
    /// The subresource that was written to; empty for the object itself.
    pub subresource: &'a str,
    /// `apps/v1`.
    pub api_version: &'a str,
    /// The time of the write.
    pub now: Timestamp,
    /// What this endpoint does not take from clients.
    pub reset: Reset<'a>,
}

/// Why an apply was not carried out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Others own fields that this would change (409, reason Conflict, with causes).
    #[error(transparent)]
    Conflicts(#[from] Conflicts),
    /// The configuration makes no sense (400).
    #[error("{0}")]
    Invalid(String),
}

/// Applies a configuration: merges it into the live object, removes what this manager applied before and no longer
/// does and no one else owns, and records the ownership. `live` is `None` where the object is to be created.
///
/// `patch` has been pruned; what is null in it counts as absent. With `force`, conflicting fields change owner.
///
/// # Errors
/// [`Error::Conflicts`] where others own fields that would change, [`Error::Invalid`] for a configuration that cannot
/// be applied to any object.
pub fn apply(
    live: Option<&Value>,
    patch: &Value,
    operation: &Operation<'_>,
    force: bool,
    schema: &Schema,
    definitions: &Definitions,
) -> Result<Value, Error> {
    if !patch.is_object() {
        return Err(Error::Invalid("an apply patch must be an object".to_string()));
    }
    if patch["metadata"]["managedFields"].is_array() {
        return Err(Error::Invalid("metadata.managedFields must be nil".to_string()));
    }
    let walker = Walker { definitions };
    if let Some(fault) = declared::first_ambiguity(patch, schema, definitions) {
        return Err(Error::Invalid(fault));
    }
    let applier = Applier { walker, schema, operation };
    let mut object = match applier.run(live, patch, force) {
        Err(Error::Conflicts(conflicts)) if operation.manager == KUBECTL => {
            // What client-side apply set and no one has changed since is kubectl's already.
            let allowed = live.and_then(|live| applier.last_applied_set(live));
            let remaining = conflicts.without(&allowed.unwrap_or_default());
            if !remaining.0.is_empty() {
                return Err(remaining.into());
            }
            applier.run(live, patch, true)?
        }
        result => result?,
    };
    if operation.manager == KUBECTL && meta::annotation(&object, LAST_APPLIED_ANNOTATION).is_some_and(|a| !a.is_empty())
    {
        set_last_applied(&mut object, patch);
    }
    Ok(object)
}

/// An object with what a configuration states, whoever owns it. What is one field whatever is in it, such as a list
/// without keys, cannot be merged.
///
/// # Errors
/// The configuration states such a field or one that its schema does not declare, or has elements without keys or with
/// the same.
pub fn merge(
    object: &Value,
    configuration: &Value,
    schema: &Schema,
    definitions: &Definitions,
) -> Result<Value, String> {
    let walker = Walker { definitions };
    let faults = declared::faults(configuration, schema, definitions);
    if !faults.is_empty() {
        return Err(format!("failed to convert patch object to typed object: {}", faults.join(", ")));
    }
    if let Some(path) = walker.find_atomic(configuration, schema) {
        return Err(format!("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {path}"));
    }
    Ok(walker.merge(Some(object), configuration, schema))
}

/// Records ownership after a create, update or patch: the manager owns what it changed or added, and others lose
/// what was changed or removed. `old` is `None` on create; `new` is the object as the client wants it, with its defaults
/// and before the server sets anything of its own: what the server sets belongs to no one.
///
/// A `managedFields` list in `new` that differs from the old one is taken as the starting point, so that clients can
/// edit it; an empty list stops the tracking of an existing object.
pub fn update_managed(
    old: Option<&Value>,
    new: &mut Value,
    operation: &Operation<'_>,
    schema: &Schema,
    definitions: &Definitions,
) {
    let walker = Walker { definitions };
    let given = meta::managed_fields(new);
    let kept = old.map(meta::managed_fields).unwrap_or_default();
    let has_list = meta::value_at(new, &["metadata", "managedFields"]).is_some();
    let is_reset = has_list && managers::is_reset(given);
    let comparison = walker.compare(old, new, schema).without(operation.reset);
    if comparison.is_empty() && !is_reset && (!has_list || given == kept) {
        // Nothing changed hands: what is there stays, unread.
        let kept = if kept.is_empty() { Value::Null } else { Value::from(kept) };
        meta::set(new, "managedFields", kept);
        return;
    }
    let start = match operation.subresource.is_empty() {
        true if is_reset => Managers::default(),
        true => match Managers::decode(given) {
            Ok(managers) if !managers.0.is_empty() => managers,
            _ => Managers::decode(kept).unwrap_or_default(),
        },
        false => Managers::decode(kept).unwrap_or_default(),
    };
    if old.is_some() && start.0.is_empty() {
        meta::set(new, "managedFields", Value::Null);
        return;
    }
    let mut managers = start;
    record(&mut managers, &comparison, operation);
    managers.cap();
    meta::set(new, "managedFields", managers.encode());
}

/// What a non-apply write does to ownership.
fn record(managers: &mut Managers, comparison: &Comparison, operation: &Operation<'_>) {
    let changed = comparison.changed();
    managers.take_away(&changed, None);
    managers.take_away(&comparison.removed, None);
    if changed.is_empty() {
        return;
    }
    let entry = managers.entry(Kind::Update, operation);
    entry.fields.add(&changed);
    entry.time = Some(meta::format_time(operation.now));
}

struct Applier<'a> {
    walker: Walker<'a>,
    schema: &'a Schema,
    operation: &'a Operation<'a>,
}

impl Applier<'_> {
    fn run(&self, live: Option<&Value>, patch: &Value, force: bool) -> Result<Value, Error> {
        let mut managers = self.managers_before(live)?;
        let mut applied = self.walker.field_set(patch, self.schema);
        reset::reset(&mut applied, self.operation.reset);

        let merged = self.walker.merge(live, patch, self.schema);
        let (last, last_time) = {
            let entry = managers.entry(Kind::Apply, self.operation);
            let last = std::mem::replace(&mut entry.fields, applied);
            (last, entry.time.clone())
        };
        let mut object = self.prune(merged, patch, &managers, &last);

        let comparison = self.walker.compare(live, &object, self.schema).without(self.operation.reset);
        let changed = comparison.changed();
        let id = managers::id(Kind::Apply, self.operation);
        let conflicts = conflict::between(&managers, &changed, &id);
        if !force && !conflicts.0.is_empty() {
            return Err(conflicts.into());
        }
        managers.take_away(&changed, Some(&id));
        managers.take_away(&comparison.removed, Some(&id));

        let entry = managers.entry(Kind::Apply, self.operation);
        let is_same = live.is_some() && comparison.is_empty() && entry.fields == last;
        entry.time = if is_same { last_time } else { Some(meta::format_time(self.operation.now)) };
        managers.drop_empty();
        meta::set(&mut object, "managedFields", managers.encode());
        Ok(object)
    }

    /// The managers of the live object; an owner of everything where none was tracked.
    fn managers_before(&self, live: Option<&Value>) -> Result<Managers, Error> {
        let Some(live) = live else { return Ok(Managers::default()) };
        let mut managers = Managers::decode(meta::managed_fields(live))
            .map_err(|error| Error::Invalid(format!("failed to decode managed fields: {error}")))?;
        if managers.0.is_empty() {
            let fields = self.walker.compare(None, live, self.schema).changed();
            managers.0.push(Entry {
                manager: BEFORE_FIRST_APPLY.to_string(),
                kind: Kind::Update,
                subresource: String::new(),
                api_version: self.operation.api_version.to_string(),
                time: Some(meta::format_time(self.operation.now)),
                fields,
            });
        }
        Ok(managers)
    }

    /// Removes fields, map keys and list elements that this manager applied last time, does not now, and no one
    /// else owns. What no one ever owned stays.
    fn prune(&self, merged: Value, patch: &Value, managers: &Managers, last: &Set) -> Value {
        if last.is_empty() {
            return merged;
        }
        let (walker, schema) = (&self.walker, self.schema);
        let named = |set: Set| walker.with_named_fields(set, schema);
        let merged_set = named(walker.field_set(&merged, schema));
        let owned_now = named(managers.union());
        let mut unowned = merged_set.clone();
        unowned.take(&owned_now);
        if unowned.is_empty() {
            // Whatever is taken away below comes back.
            return merged;
        }
        let last = named(last.clone());

        // Without anything of last time, then with everything back that anyone owns now, then with everything back
        // that was not ours to remove.
        let mut bare = merged.clone();
        walker.remove(&mut bare, &last, schema);
        let mut gone = merged_set.clone();
        gone.take(&named(walker.field_set(&bare, schema)));
        gone.take(&owned_now);
        let mut owned = merged.clone();
        walker.remove(&mut owned, &gone, schema);
        let mut gone = merged_set;
        gone.take(&named(walker.field_set(&owned, schema)));
        let gone = gone.common(&last);
        if gone.is_empty() {
            return merged;
        }
        let mut object = merged.clone();
        walker.remove(&mut object, &gone, schema);
        // What this emptied is there all the same where the configuration states it empty.
        let mut object = walker.merge(Some(&object), patch, schema);
        keep_unowned(&mut object, &merged);
        object
    }

    /// The fields that client-side apply set and that still have the value it gave them.
    fn last_applied_set(&self, live: &Value) -> Option<Set> {
        let text = meta::annotation(live, LAST_APPLIED_ANNOTATION).filter(|text| !text.is_empty())?;
        let applied: Value = serde_json::from_str(text).ok()?;
        if meta::api_version(&applied) != self.operation.api_version {
            return None;
        }
        let mut set = self.walker.field_set(&applied, self.schema);
        let comparison = self.walker.compare(Some(&applied), live, self.schema);
        set.take(&comparison.changed());
        set.take(&comparison.removed);
        Some(set)
    }
}

/// Metadata that are no one's stay, though everything else of them has gone that anybody had applied.
fn keep_unowned(object: &mut Value, merged: &Value) {
    for name in walk::UNOWNED_METADATA {
        if let Some(value) = meta::value_at(merged, &["metadata", name])
            && meta::value_at(object, &["metadata", name]).is_none()
        {
            meta::set(object, name, value.clone());
        }
    }
}

/// Keeps client-side apply's annotation equal to what was applied, so that its users can go back.
fn set_last_applied(object: &mut Value, patch: &Value) {
    let mut applied = patch.clone();
    if let Some(annotations) = applied.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED_ANNOTATION);
    }
    let text = format!("{applied}\n");
    let others: usize = meta::annotations(object)
        .into_iter()
        .flatten()
        .filter(|(key, _)| *key != LAST_APPLIED_ANNOTATION)
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum();
    // Too large to keep: empty, as Kubernetes leaves it.
    let fits = others + LAST_APPLIED_ANNOTATION.len() + text.len() <= MAX_ANNOTATIONS_BYTES;
    meta::set_annotation(object, LAST_APPLIED_ANNOTATION, if fits { &text } else { "" });
}

#[cfg(test)]
mod tests;
