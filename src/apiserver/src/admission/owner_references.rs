//! OwnerReferencesPermissionEnforcement: who sets `blockOwnerDeletion` can hold up the owner's deletion, and must be
//! allowed to set finalizers on it.

use std::sync::Arc;

use async_trait::async_trait;
use machinery::gvk::GroupVersion;
use serde_json::Value;

use super::{forbidden, writes};
use crate::live::{items, text};
use crate::plugin::{Admission, Admit, Authorizer, Decision, Operation};
use crate::request::Attributes;
use crate::served::Served;
use crate::status::Result;

/// The plugin.
pub struct OwnerReferences(pub Arc<dyn Authorizer>);

#[async_trait]
impl Admission for OwnerReferences {
    fn name(&self) -> &'static str {
        "OwnerReferencesPermissionEnforcement"
    }

    fn handles(&self, operation: Operation) -> bool {
        writes(operation)
    }

    async fn validate(&self, request: &Admit<'_>, object: Option<&Value>) -> Result<()> {
        let Some(object) = object.filter(|_| request.subresource.is_empty()) else { return Ok(()) };
        for reference in newly_blocking(object, request.old) {
            let Some(asked) = finalizers_of(request.served, reference, request.namespace) else { continue };
            if matches!(self.0.authorize(request.user, &asked).await, Decision::Allow(_)) {
                continue;
            }
            let kind = text(reference, "/kind");
            let why = format!(
                "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: \
                 user {:?} cannot update {}/finalizers of {kind} {:?}",
                request.user.name, asked.resource, asked.name,
            );
            return Err(forbidden(request, Some(object), why));
        }
        Ok(())
    }
}

fn newly_blocking<'a>(object: &'a Value, old: Option<&'a Value>) -> impl Iterator<Item = &'a Value> {
    let before = old.map(|old| items(old, "/metadata/ownerReferences")).unwrap_or_default();
    let blocks = |reference: &Value| reference["blockOwnerDeletion"] == true;
    items(object, "/metadata/ownerReferences").iter().filter(move |reference| {
        blocks(reference) && !before.iter().any(|other| other["uid"] == reference["uid"] && blocks(other))
    })
}

fn finalizers_of(served: &Served, reference: &Value, namespace: &str) -> Option<Attributes> {
    let version = GroupVersion::parse(text(reference, "/apiVersion"))?;
    // A kind that is not served is no owner that could be held up.
    let resource = served.by_kind(&version.group, &version.version, text(reference, "/kind"))?;
    Some(Attributes {
        verb: "update".to_string(),
        namespace: if resource.namespaced { namespace.to_string() } else { String::new() },
        group: version.group,
        version: version.version,
        resource: resource.plural.to_string(),
        subresource: "finalizers".to_string(),
        name: text(reference, "/name").to_string(),
        is_resource: true,
        ..Attributes::default()
    })
}
