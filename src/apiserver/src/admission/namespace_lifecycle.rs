//! NamespaceLifecycle: nothing is made in a namespace that is not there or is going, and the namespaces that a
//! cluster cannot do without stay.

use std::borrow::Cow;

use async_trait::async_trait;
use machinery::gvk::GroupResource;
use serde::Deserialize;
use serde_json::Value;

use super::{forbidden, is, name_of};
use crate::live::Live;
use crate::plugin::{Admission, Admit, Operation};
use crate::status::{Result, Status};

const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// The plugin.
pub struct NamespaceLifecycle(pub Live);

#[async_trait]
impl Admission for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update | Operation::Delete)
    }

    async fn admit(&self, request: &Admit<'_>, object: &mut Value) -> Result<()> {
        // Looked at before anything is filled in, so that whoever creates in vain is told why.
        self.check(request, Some(object)).await
    }

    async fn validate(&self, request: &Admit<'_>, object: Option<&Value>) -> Result<()> {
        if request.operation == Operation::Delete && is(request, "", "namespaces") && IMMORTAL.contains(&request.name) {
            return Err(forbidden(request, None, "this namespace may not be deleted"));
        }
        self.check(request, object).await
    }
}

impl NamespaceLifecycle {
    async fn check(&self, request: &Admit<'_>, object: Option<&Value>) -> Result<()> {
        let within = !request.namespace.is_empty() && request.resource != "namespaces";
        if request.operation != Operation::Create || !within || is_review(request) {
            return Ok(());
        }
        let namespaces = GroupResource { group: String::new(), resource: "namespaces".to_string() };
        let found = self.0.entry("", "namespaces", "", request.namespace).await?;
        let found = found.ok_or_else(|| Status::not_found(&namespaces, request.namespace))?;
        let seen: Seen<'_> = serde_json::from_slice(&found.value).map_err(Status::internal)?;
        if !seen.is_going() {
            return Ok(());
        }
        let name = name_of(request, object);
        tracing::debug!(namespace = request.namespace, name, "refused: the namespace is being terminated");
        let namespace = request.namespace;
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let message = format!("namespace {namespace} is being terminated");
        Err(forbidden(request, object, why).with_cause("NamespaceTerminating", &message, "metadata.namespace"))
    }
}

/// What is looked at of a namespace, for each object that is made.
#[derive(Deserialize)]
struct Seen<'a> {
    #[serde(borrow)]
    metadata: SeenMetadata<'a>,
    #[serde(borrow, default)]
    status: SeenStatus<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SeenMetadata<'a> {
    #[serde(borrow)]
    deletion_timestamp: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
struct SeenStatus<'a> {
    #[serde(borrow)]
    phase: Option<Cow<'a, str>>,
}

impl Seen<'_> {
    fn is_going(&self) -> bool {
        self.metadata.deletion_timestamp.is_some() || self.status.phase.as_deref() == Some("Terminating")
    }
}

/// Asked about a namespace, not made in it.
fn is_review(request: &Admit<'_>) -> bool {
    request.group_version.group == "authorization.k8s.io" && request.resource == "localsubjectaccessreviews"
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Cluster, create, run};
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn objects_are_made_only_in_namespaces_that_are_there_and_stay() {
        let cluster = Cluster::new();
        cluster.put("namespaces", json!({"apiVersion": "v1", "metadata": {"name": "a"}})).await;
        let going = json!({"apiVersion": "v1", "metadata": {"name": "b", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        cluster.put("namespaces", going).await;
        let plugin = NamespaceLifecycle(cluster.live.clone());
        let pod = || Some(json!({"metadata": {"name": "p"}}));
        run(&plugin, &create("", "pods", "a"), pod()).await.expect("is there");
        let missing = run(&plugin, &create("", "pods", "c"), pod()).await.expect_err("is not there");
        assert_eq!((missing.code(), missing.message()), (404, "namespaces \"c\" not found"));
        let going = run(&plugin, &create("", "pods", "b"), pod()).await.expect_err("is going");
        let message =
            "pods \"p\" is forbidden: unable to create new content in namespace b because it is being terminated";
        assert_eq!(going.message(), message);
        assert_eq!(going.causes()[0].reason, "NamespaceTerminating");
    }

    #[tokio::test]
    async fn namespaces_that_the_cluster_needs_stay() {
        let cluster = Cluster::new();
        let plugin = NamespaceLifecycle(cluster.live.clone());
        for (name, allowed) in [("kube-system", false), ("default", false), ("mine", true)] {
            let mut asked = create("", "namespaces", name);
            asked.operation = Operation::Delete;
            asked.name = name.to_string();
            assert_eq!(run(&plugin, &asked, None).await.is_ok(), allowed, "{name}");
        }
    }
}
