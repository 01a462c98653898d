//! `managedFields`: who set which field, recorded with every write.

use jiff::Timestamp;
use machinery::apply::{Operation, update_managed};
use serde_json::Value;

use super::target::Target;

/// What kind of write it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A create, update or patch: the manager owns what it changed.
    Update,
    /// A server-side apply, which has recorded its ownership itself.
    Apply,
}

/// The write as ownership sees it.
pub fn operation<'a>(target: &Target<'_>, manager: &'a str, api_version: &'a str) -> Operation<'a> {
    let subresource = target.subresource_name();
    let reset_fields: &[&[&str]] = match subresource {
        "" if target.resource.subresource("status").is_some() => &[&["status"]],
        "" => &[],
        _ => &[&["spec"]],
    };
    Operation { manager, subresource, api_version, now: Timestamp::now(), reset_fields }
}

/// Records who made the change.
pub fn track(target: &Target<'_>, old: Option<&Value>, object: &mut Value, manager: &str, by: By) {
    if by == By::Apply {
        return;
    }
    let api_version = target.resource.group_version.to_string();
    let operation = operation(target, manager, &api_version);
    update_managed(old, object, &operation, target.resource.schema(), target.resource.definitions());
}
