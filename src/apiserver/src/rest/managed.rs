//! `managedFields`: who set which field, recorded with every write from what the client sent, before admission and the
//! server's own rules change it.

use jiff::Timestamp;
use machinery::apply::{Operation, update_managed};
use serde_json::Value;

use super::target::Target;

/// What kind of write it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A create, update or patch: the manager owns what it changed.
    Update,
    /// A write that has recorded its ownership itself: server-side apply, and every change of a Scale.
    Recorded,
}

/// The write as ownership sees it.
pub fn operation<'a>(target: &Target<'_>, manager: &'a str, api_version: &'a str) -> Operation<'a> {
    let subresource = target.subresource_name();
    let reset = target.resource.behaviour.reset_fields(subresource);
    Operation { manager, subresource, api_version, now: Timestamp::now(), reset }
}

/// Records who made the change.
pub fn track(target: &Target<'_>, old: Option<&Value>, object: &mut Value, manager: &str, by: By) {
    if by == By::Recorded {
        return;
    }
    let api_version = target.resource.group_version.to_string();
    let operation = operation(target, manager, &api_version);
    update_managed(old, object, &operation, target.resource.schema(), target.resource.definitions());
}
