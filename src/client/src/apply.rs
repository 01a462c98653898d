//! Objects of any kind as JSON: read, server-side apply, delete. For whoever carries manifests and knows no kinds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::Request;
use serde_json::Value;

use crate::Error;
use crate::discovery::{ServerResource, resources_of};

type Kinds = HashMap<(String, String), ServerResource>;

/// Applies objects under one field manager. Clones share what discovery told.
#[derive(Clone)]
pub struct Applier {
    client: kube::Client,
    manager: String,
    kinds: Arc<Mutex<Kinds>>,
}

/// How to apply.
#[derive(Debug, Clone, Copy, Default)]
pub struct ApplyOptions {
    /// Take over fields that other managers own.
    pub force: bool,
    /// Check and answer, but keep nothing.
    pub dry_run: bool,
}

impl Applier {
    /// An applier whose fields belong to `manager`.
    pub fn new(client: kube::Client, manager: &str) -> Self {
        Self { client, manager: manager.to_string(), kinds: Arc::default() }
    }

    /// The resource that serves a kind. Its group alone is asked where it was not known, so that a kind whose
    /// CustomResourceDefinition has just been applied is found, and that an aggregated API whose server was lost, which
    /// may take half a minute to say so, holds up nobody who does not use it.
    ///
    /// # Errors
    /// [`Error::UnknownKind`], and those of discovery.
    pub async fn resource(&self, api_version: &str, kind: &str) -> Result<ServerResource, Error> {
        let key = (api_version.to_string(), kind.to_string());
        let known = self.kinds.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(resource) = known {
            return Ok(resource);
        }
        let found = match resources_of(&self.client, api_version).await {
            Err(error) if error.code() == Some(404) => Vec::new(),
            found => found?,
        };
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.extend(found.into_iter().map(|resource| ((resource.api_version(), resource.kind.clone()), resource)));
        kinds
            .get(&key)
            .cloned()
            .ok_or_else(|| Error::UnknownKind { api_version: api_version.to_string(), kind: kind.to_string() })
    }

    /// Applies an object (server-side apply) and answers it as it is then.
    ///
    /// # Errors
    /// [`Error::Incomplete`] without apiVersion, kind or name; the API's refusals, 409 for a field that another
    /// manager owns among them.
    pub async fn apply(&self, object: &Value, options: ApplyOptions) -> Result<Value, Error> {
        let (resource, namespace, name) = self.place(object).await?;
        let mut params = PatchParams::apply(&self.manager);
        params.force = options.force;
        params.dry_run = options.dry_run;
        let request = Request::new(resource.path(namespace, None)).patch(name, &params, &Patch::Apply(object));
        self.send(request, || format!("apply {}", describe(&resource, namespace, name))).await
    }

    /// The object as the cluster has it; `None` where it is not there.
    ///
    /// # Errors
    /// As [`Applier::apply`].
    pub async fn get(&self, object: &Value) -> Result<Option<Value>, Error> {
        let (resource, namespace, name) = self.place(object).await?;
        let request = Request::new(resource.path(namespace, None)).get(name, &Default::default());
        match self.send(request, || format!("get {}", describe(&resource, namespace, name))).await {
            Err(error) if error.code() == Some(404) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// Deletes an object; an object that is not there is deleted. `object` needs apiVersion, kind and its name only.
    ///
    /// # Errors
    /// As [`Applier::apply`].
    pub async fn delete(&self, object: &Value, params: &DeleteParams) -> Result<(), Error> {
        let (resource, namespace, name) = self.place(object).await?;
        let request = Request::new(resource.path(namespace, None)).delete(name, params);
        match self.send(request, || format!("delete {}", describe(&resource, namespace, name))).await {
            Err(error) if error.code() != Some(404) => Err(error),
            _ => Ok(()),
        }
    }

    async fn place<'a>(&self, object: &'a Value) -> Result<(ServerResource, Option<&'a str>, &'a str), Error> {
        let text = |pointer: &'static str| object.pointer(pointer).and_then(Value::as_str);
        let api_version = text("/apiVersion").ok_or(Error::Incomplete("apiVersion"))?;
        let kind = text("/kind").ok_or(Error::Incomplete("kind"))?;
        let name = text("/metadata/name").ok_or(Error::Incomplete("metadata.name"))?;
        let resource = self.resource(api_version, kind).await?;
        let namespace = match text("/metadata/namespace") {
            _ if !resource.namespaced => None,
            None => Some("default"),
            namespace => namespace,
        };
        Ok((resource, namespace, name))
    }

    async fn send(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
        what: impl Fn() -> String,
    ) -> Result<Value, Error> {
        let request = request.map_err(|source| Error::request(what())(kube::Error::BuildRequest(source)))?;
        self.client.request(request).await.map_err(|source| Error::request(what())(source))
    }
}

/// `deployments.apps web/front`.
fn describe(resource: &ServerResource, namespace: Option<&str>, name: &str) -> String {
    let dot = if resource.group.is_empty() { "" } else { "." };
    let slash = namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default();
    format!("{}{dot}{} {slash}{name}", resource.plural, resource.group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Fake, json};
    use serde_json::json as value;

    fn discovery(fake: &Fake) {
        let pods = value!({"name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "verbs": ["get"]});
        fake.on("GET", "/api/v1", json(200, value!({"groupVersion": "v1", "resources": [pods]})));
    }

    #[tokio::test]
    async fn an_object_goes_to_its_namespace_as_an_apply_patch() {
        let fake = Fake::default();
        discovery(&fake);
        fake.on("PATCH", "/api/v1/namespaces/default/pods/a", json(200, value!({"metadata": {"uid": "1"}})));
        let applier = Applier::new(fake.client(), "me");
        let pod = value!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}});
        let answer = applier.apply(&pod, ApplyOptions { force: true, dry_run: false }).await.unwrap();
        assert_eq!(answer["metadata"]["uid"], "1");
        let sent = fake.requests();
        let last = sent.last().unwrap();
        assert!(last.uri.contains("fieldManager=me") && last.uri.contains("force=true"), "{}", last.uri);
        assert_eq!(last.content_type, "application/apply-patch+yaml");
        let paths: Vec<&str> = sent.iter().map(|request| request.uri.split('?').next().unwrap()).collect();
        assert_eq!(paths, ["/api/v1", "/api/v1/namespaces/default/pods/a"], "no other group is asked");
    }

    #[tokio::test]
    async fn what_cannot_be_applied_says_why() {
        let fake = Fake::default();
        discovery(&fake);
        let applier = Applier::new(fake.client(), "me");
        let text = |error: Error| error.to_string();
        let options = ApplyOptions::default();
        let nameless = value!({"apiVersion": "v1", "kind": "Pod", "metadata": {}});
        let unknown = value!({"apiVersion": "x/v1", "kind": "Y", "metadata": {"name": "a"}});
        assert_eq!(text(applier.apply(&nameless, options).await.unwrap_err()), "object without metadata.name: set it");
        assert!(
            text(applier.apply(&unknown, options).await.unwrap_err()).starts_with("no resource for kind Y in x/v1")
        );
        let gone = value!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "gone"}});
        assert_eq!(applier.get(&gone).await.unwrap(), None);
        applier.delete(&gone, &DeleteParams::default()).await.unwrap();
    }
}
