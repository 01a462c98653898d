//! What resources may be called, where: of a container, in a quota.
//!
//! A name without a slash is Kubernetes' own; one of `kubernetes.io` too. Any other is an extended resource.

use machinery::field::{FieldError, FieldErrors};
use machinery::names;

use crate::check::At;

/// The beginning of the names of huge pages: `hugepages-2Mi`.
pub(crate) const HUGE_PAGES: &str = "hugepages-";
const OF_CONTAINERS: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Objects that a quota counts.
const COUNTED: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

/// Any resource.
pub(crate) fn any(name: &str, at: &At<'_>, errors: &mut FieldErrors) {
    let before = errors.len();
    errors.extend(names::qualified_name(name).into_iter().map(|wrong| FieldError::invalid(&at.path, name, wrong)));
    let is_standard = is_of_quotas(name) || name == "storage";
    if errors.len() == before && !name.contains('/') && !is_standard {
        errors.push(FieldError::invalid(&at.path, name, "must be a standard resource type or fully qualified"));
    }
}

/// A resource that containers have.
pub(crate) fn container(name: &str, at: &At<'_>, errors: &mut FieldErrors) {
    any(name, at, errors);
    let wrong = match name.contains('/') {
        false if is_allocatable_of_nodes(name) => return,
        false => "must be a standard resource for containers",
        true if is_native(name) || is_extended(name) => return,
        true => "doesn't follow extended resource name standard",
    };
    errors.push(FieldError::invalid(&at.path, name, wrong));
}

/// A resource that nodes have of their own and pods ask for by its name alone.
pub(crate) fn is_allocatable_of_nodes(name: &str) -> bool {
    OF_CONTAINERS.contains(&name) || name.starts_with(HUGE_PAGES)
}

/// A resource that a quota limits.
pub(crate) fn quota(name: &str, at: &At<'_>, errors: &mut FieldErrors) {
    any(name, at, errors);
    if !name.contains('/') && !is_of_quotas(name) {
        errors.push(FieldError::invalid(&at.path, name, "must be a standard resource for quota"));
    }
}

/// Whether a name without a slash is one that quotas know.
pub(crate) fn is_of_quotas(name: &str) -> bool {
    let plain = name.strip_prefix("requests.").or_else(|| name.strip_prefix("limits.")).unwrap_or(name);
    COUNTED.contains(&name)
        || OF_CONTAINERS.contains(&plain)
        || name == "requests.storage"
        || name.strip_prefix("requests.").unwrap_or(name).starts_with(HUGE_PAGES)
}

/// Whether it comes in whole numbers only.
pub(crate) fn is_counted(name: &str) -> bool {
    COUNTED.contains(&name) || is_extended(name)
}

/// Extended resources and huge pages are handed out once.
pub(crate) fn may_overcommit(name: &str) -> bool {
    !name.starts_with(HUGE_PAGES) && is_native(name)
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether it is somebody else's and handed out by the piece.
pub(crate) fn is_extended(name: &str) -> bool {
    // In quotas `requests.` is put before the name.
    let fits = || names::qualified_name(&format!("requests.{name}")).is_empty();
    !is_native(name) && !name.starts_with("requests.") && fits()
}
