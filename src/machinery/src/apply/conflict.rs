//! Fields that an apply would take from others, and how Kubernetes words them.

use std::collections::BTreeMap;
use std::fmt;

use super::managers::{Id, Kind, Managers};
use super::set::Set;

/// One field that another manager owns.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// Who, in the words of the message: `"kubectl-client-side-apply" using apps/v1`.
    pub manager: String,
    /// Which: `.spec.replicas`. The `field` of the status cause.
    pub path: String,
    fields: Set,
}

impl Conflict {
    /// The `reason` of the status cause.
    pub const CAUSE: &'static str = "FieldManagerConflict";

    /// The `message` of the status cause.
    pub fn message(&self) -> String {
        format!("conflict with {}", self.manager)
    }
}

/// All of them; Display is the message of the status (409, reason `Conflict`).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Conflicts(pub Vec<Conflict>);

impl std::error::Error for Conflicts {}

impl fmt::Display for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [conflict] = self.0.as_slice() {
            return write!(f, "Apply failed with 1 conflict: {}: {}", conflict.message(), conflict.path);
        }
        let mut by_manager: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for conflict in &self.0 {
            by_manager.entry(&conflict.manager).or_default().push(&conflict.path);
        }
        write!(f, "Apply failed with {} conflicts: ", self.0.len())?;
        for (index, (manager, paths)) in by_manager.into_iter().enumerate() {
            let line_end = if index > 0 { "\n" } else { "" };
            write!(f, "{line_end}conflicts with {manager}:")?;
            paths.into_iter().try_for_each(|path| write!(f, "\n- {path}"))?;
        }
        Ok(())
    }
}

impl Conflicts {
    /// Those that are not about fields of this set.
    pub(super) fn without(self, allowed: &Set) -> Self {
        Self(self.0.into_iter().filter(|conflict| conflict.fields.common(allowed).is_empty()).collect())
    }
}

/// The fields among `changed` that managers other than `applier` own.
pub(super) fn between(managers: &Managers, changed: &Set, applier: &Id) -> Conflicts {
    let mut conflicts = Vec::new();
    for entry in managers.0.iter().filter(|entry| entry.id() != *applier) {
        let mut manager = format!("{:?}", entry.manager);
        if !entry.subresource.is_empty() {
            manager.push_str(&format!(" with subresource {:?}", entry.subresource));
        }
        if entry.kind == Kind::Update {
            manager.push_str(&format!(" using {}", entry.api_version));
        }
        for fields in split(&entry.fields.common(changed)) {
            let path = fields.paths().concat();
            conflicts.push(Conflict { manager: manager.clone(), path, fields });
        }
    }
    Conflicts(conflicts)
}

/// One set a path.
fn split(set: &Set) -> Vec<Set> {
    let mut sets = Vec::new();
    let fields = set.fields.iter().map(|(name, child)| (true, name, child));
    let items = set.items.iter().map(|(element, child)| (false, element, child));
    let children: Vec<(bool, &String, &Set)> = fields.chain(items).collect();
    let wrap = |is_field: bool, name: &String, child: Set| {
        let mut set = Set::default();
        let children = if is_field { &mut set.fields } else { &mut set.items };
        children.insert(name.clone(), child);
        set
    };
    for (is_field, name, _) in children.iter().filter(|(_, _, child)| child.member) {
        sets.push(wrap(*is_field, name, Set::leaf()));
    }
    for (is_field, name, child) in children {
        sets.extend(split(child).into_iter().map(|child| wrap(is_field, name, child)));
    }
    sets
}
