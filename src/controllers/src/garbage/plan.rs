//! What to do with an object, from its owners' states: pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::PropagationPolicy;

/// The finalizer of an object that goes after its dependents.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an object whose dependents stay.
pub const ORPHAN: &str = "orphan";

/// An owner, read live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerState {
    /// Is there.
    Solid,
    /// Is there until its dependents are gone.
    Waiting,
    /// Is not there.
    Absent,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Keep,
    /// Somebody still owns it: these owners stay, the others are dropped.
    Drop(Vec<OwnerReference>),
    Delete(PropagationPolicy),
}

/// Judges an object that is not being deleted and has owners; `states` are theirs, in their order.
pub fn verdict(object: &ObjectMeta, states: &[OwnerState], has_dependents: bool) -> Verdict {
    let owners = object.owner_references.as_deref().unwrap_or_default();
    let is = |state: OwnerState| states.contains(&state);
    if is(OwnerState::Solid) {
        if states.iter().all(|state| *state == OwnerState::Solid) {
            return Verdict::Keep;
        }
        let kept = owners.iter().zip(states).filter(|(_, state)| **state == OwnerState::Solid);
        return Verdict::Drop(kept.map(|(owner, _)| owner.clone()).collect());
    }
    if is(OwnerState::Waiting) && has_dependents {
        // Its owner wants to go last, and so do its own dependents' owners.
        return Verdict::Delete(PropagationPolicy::Foreground);
    }
    let has = |finalizer: &str| object.finalizers.iter().flatten().any(|f| f == finalizer);
    Verdict::Delete(if has(ORPHAN) {
        PropagationPolicy::Orphan
    } else if has(FOREGROUND) {
        PropagationPolicy::Foreground
    } else {
        PropagationPolicy::Background
    })
}

/// The owners of an object that waits in a circle, none of them held up by it any more; `None` where none is held up.
pub fn unblocking(object: &ObjectMeta) -> Option<Vec<OwnerReference>> {
    let mut owners = object.owner_references.clone().unwrap_or_default();
    let blocks = |owner: &OwnerReference| owner.block_owner_deletion == Some(true);
    if !owners.iter().any(blocks) {
        return None;
    }
    owners.iter_mut().filter(|owner| blocks(owner)).for_each(|owner| owner.block_owner_deletion = Some(false));
    Some(owners)
}
