//! OwnerReferencesPermissionEnforcement: who sets `blockOwnerDeletion` can hold up the owner's deletion, and must be
//! allowed to set finalizers on it.

use std::sync::Arc;

use async_trait::async_trait;
use machinery::gvk::GroupVersion;
use serde_json::Value;

use super::{forbidden, writes};
use crate::live::{Live, items, text};
use crate::plugin::{Admission, Admit, Authorizer, Decision, Operation};
use crate::request::Attributes;
use crate::served::Served;
use crate::status::Result;

/// The plugin.
pub struct OwnerReferences {
    /// Who decides.
    pub authorizer: Arc<dyn Authorizer>,
    /// Where the APIServices are.
    pub live: Live,
}

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
        let blocking: Vec<&Value> = newly_blocking(object, request.old).collect();
        // Whoever may finalize everything need not be asked about single kinds, nor have them known.
        if blocking.is_empty() || self.may(request, &finalizers_of_everything()).await {
            return Ok(());
        }
        for reference in blocking {
            let Some(asked) = finalizers_of(request.served, reference, request.namespace) else {
                if self.is_elsewhere(reference).await? {
                    continue;
                }
                let (version, kind) = (text(reference, "/apiVersion"), text(reference, "/kind"));
                let why = format!(
                    "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion {version} \
                     Kind {kind}: no matches for kind {kind:?} in version {version:?}"
                );
                return Err(forbidden(request, Some(object), why));
            };
            if self.may(request, &asked).await {
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

impl OwnerReferences {
    async fn may(&self, request: &Admit<'_>, asked: &Attributes) -> bool {
        matches!(self.authorizer.authorize(request.user, asked).await, Decision::Allow(_))
    }

    /// Whether another server has the owner's group and version: which kinds there are it alone knows.
    async fn is_elsewhere(&self, reference: &Value) -> Result<bool> {
        let Some(own) = GroupVersion::parse(text(reference, "/apiVersion")) else { return Ok(false) };
        let name = format!("{}.{}", own.version, own.group);
        let service = self.live.get("apiregistration.k8s.io", "apiservices", "", &name).await?;
        Ok(service.is_some_and(|service| service.pointer("/spec/service").is_some_and(Value::is_object)))
    }
}

fn finalizers_of_everything() -> Attributes {
    let any = || "*".to_string();
    Attributes {
        verb: "update".to_string(),
        group: any(),
        version: any(),
        resource: any(),
        subresource: "finalizers".to_string(),
        name: any(),
        is_resource: true,
        ..Attributes::default()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admission::testing::{Cluster, create, run};
    use crate::request::User;

    /// Lets do what is done to finalizers of one resource, or of all.
    struct Finalizes(&'static str);

    #[async_trait]
    impl Authorizer for Finalizes {
        async fn authorize(&self, _user: &User, asked: &Attributes) -> Decision {
            match asked.subresource == "finalizers" && asked.verb == "update" && asked.resource == self.0 {
                true => Decision::Allow(String::new()),
                false => Decision::NoOpinion(String::new()),
            }
        }
    }

    async fn refusal(resource: &'static str, api_version: &str, kind: &str) -> Option<String> {
        let cluster = Cluster::new();
        let service = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": "v1.elsewhere.example.com"}, "spec": {"service": {"name": "s", "namespace": "n"}}});
        cluster.put("apiservices", service).await;
        let plugin = OwnerReferences { authorizer: Arc::new(Finalizes(resource)), live: cluster.live.clone() };
        let owner =
            json!({"apiVersion": api_version, "kind": kind, "name": "o", "uid": "u", "blockOwnerDeletion": true});
        let object = json!({"metadata": {"name": "x", "ownerReferences": [owner]}});
        let passed = run(&plugin, &create("", "configmaps", "default"), Some(object)).await;
        passed.err().map(|status| status.message().to_string())
    }

    #[tokio::test]
    async fn who_holds_up_an_owner_may_finalize_it() {
        assert_eq!(refusal("pods", "v1", "Pod").await, None);
        let refused = refusal("pods", "apps/v1", "Deployment").await.unwrap_or_default();
        assert!(refused.contains("a resource you can't set finalizers on"), "{refused}");
    }

    #[tokio::test]
    async fn an_owner_of_a_kind_that_nobody_serves_cannot_be_held_up() {
        for (api_version, kind) in [("v1", "Nothing"), ("example.com/v1", "Pod"), ("a/b/c", "Pod")] {
            let refused = refusal("pods", api_version, kind).await.unwrap_or_default();
            let why = format!("no matches for kind \"{kind}\" in version \"{api_version}\"");
            assert!(refused.contains("cannot find RESTMapping") && refused.ends_with(&why), "{refused}");
        }
        // Of what another server has only that one knows; and who may do everything may do this.
        assert_eq!(refusal("pods", "elsewhere.example.com/v1", "Thing").await, None);
        assert_eq!(refusal("*", "example.com/v1", "Thing").await, None);
    }
}
