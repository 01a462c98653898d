//! Objects on their way to the store: what is filled in for the user and what is refused, one plugin a file, named
//! as in Kubernetes. Plugins read the cluster through [`crate::live`] and write nothing.

pub mod certificates;
pub mod classes;
pub mod limit_ranger;
pub mod mutating_policy;
pub mod namespace_lifecycle;
pub mod node_restriction;
pub mod node_taints;
pub mod owner_references;
pub mod pod_certificates;
pub mod pod_security;
pub mod policies;
pub mod priority;
pub mod quota;
pub mod runtime_class;
pub mod service_account;
pub mod signers;
pub mod storage_in_use;
pub mod tolerations;
pub mod trust_bundles;
pub mod validating_policy;
pub mod webhooks;

use machinery::gvk::GroupResource;
use serde_json::Value;

use crate::live::text;
use crate::plugin::{Admit, Operation};
use crate::status::Status;

/// The refusal of a request; `object` gives the name where the request has none.
fn forbidden(request: &Admit<'_>, object: Option<&Value>, why: impl std::fmt::Display) -> Status {
    Status::forbidden(&group_resource(request), &name_of(request, object), why)
}

fn group_resource(request: &Admit<'_>) -> GroupResource {
    GroupResource { group: request.group_version.group.clone(), resource: request.resource.to_string() }
}

/// The object's name; of an object whose name is still to be generated what it begins with.
fn name_of(request: &Admit<'_>, object: Option<&Value>) -> String {
    let of = |pointer| object.map(|object| text(object, pointer)).unwrap_or_default();
    [request.name, of("/metadata/name"), of("/metadata/generateName")]
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or_default()
        .to_string()
}

/// The request is for the resource itself, of this group.
fn is(request: &Admit<'_>, group: &str, resource: &str) -> bool {
    request.group_version.group == group && request.resource == resource && request.subresource.is_empty()
}

fn writes(operation: Operation) -> bool {
    matches!(operation, Operation::Create | Operation::Update)
}

#[cfg(test)]
pub(crate) mod testing;
