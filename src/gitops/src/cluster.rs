//! Requests about objects of any kind. Decides nothing.

use std::collections::HashMap;
use std::time::Duration;

use client::apply::Applier;
use client::discovery::ServerResource;
use client::{ApiError, Error};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy, ValidationDirective};
use kube::core::Request;
use machinery::meta;
use serde_json::{Value, json};

use crate::inventory::Entry;
use crate::{MANAGER, NAMESPACE, object};

/// How long a kind may take to be served once its definition is applied.
const SERVED_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks.
const POLL: Duration = Duration::from_millis(250);

/// The cluster during one turn: what discovery told is kept that long.
pub struct Cluster {
    client: kube::Client,
    applier: Applier,
}

impl Cluster {
    pub fn new(client: kube::Client) -> Self {
        Self { applier: Applier::new(client.clone(), MANAGER), client }
    }

    /// Of these kinds, those that are served, and whether they live in namespaces.
    pub async fn served(&self, kinds: &[(String, String)]) -> Result<HashMap<(String, String), bool>, Error> {
        let mut served = HashMap::new();
        for (api_version, kind) in kinds {
            match self.applier.resource(api_version, kind).await {
                Ok(resource) => {
                    served.insert((api_version.clone(), kind.clone()), resource.namespaced);
                }
                Err(Error::UnknownKind { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(served)
    }

    /// Waits until the kind of an object is served.
    pub async fn wait_until_served(&self, object: &Value) -> Result<(), Error> {
        let deadline = tokio::time::Instant::now() + SERVED_WITHIN;
        loop {
            match self.applier.resource(meta::api_version(object), meta::kind(object)).await {
                Ok(_) => return Ok(()),
                Err(error @ Error::UnknownKind { .. }) if tokio::time::Instant::now() >= deadline => return Err(error),
                Err(Error::UnknownKind { .. }) => tokio::time::sleep(POLL).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// The object as it is; only its kind, namespace and name are looked at.
    pub async fn get(&self, object: &Value) -> Result<Option<Value>, Error> {
        self.applier.get(object).await
    }

    /// What was applied before, as it is now; `None` where it or its kind is gone.
    pub async fn get_entry(&self, entry: &Entry) -> Result<Option<Value>, Error> {
        match self.applier.get(&reference(entry)).await {
            Err(Error::UnknownKind { .. }) => Ok(None),
            answer => answer,
        }
    }

    /// Applies an object on the server's side, taking over fields of others; unknown and duplicate fields are refused.
    pub async fn apply(&self, object: &Value, dry_run: bool) -> Result<Value, Error> {
        let resource = self.applier.resource(meta::api_version(object), meta::kind(object)).await?;
        let params = PatchParams {
            dry_run,
            force: true,
            field_manager: Some(MANAGER.to_owned()),
            field_validation: Some(ValidationDirective::Strict),
        };
        let (path, name) = (collection(&resource, object), meta::name(object));
        let what = if dry_run { "check" } else { "apply" };
        let request = Request::new(path).patch(name, &params, &Patch::Apply(object));
        let request = request.map_err(|source| Error::Request {
            what: what.to_owned(),
            source: ApiError(kube::Error::BuildRequest(source)),
        })?;
        self.client.request(request).await.map_err(Error::request(what))
    }

    /// Makes what kubectl owns of an object ours, so that the apply that follows removes what is not wanted of it.
    pub async fn take_back(&self, object: &Value) -> Result<(), Error> {
        let Some(live) = self.get(object).await? else { return Ok(()) };
        let Some(entries) = object::taken_back(&live) else { return Ok(()) };
        let resource = self.applier.resource(meta::api_version(object), meta::kind(object)).await?;
        let version = meta::resource_version(&live);
        let patch = json!({"metadata": {"resourceVersion": version, "managedFields": entries}});
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let request =
            Request::new(collection(&resource, object)).patch(meta::name(object), &params, &Patch::Merge(&patch));
        let what = "take over what kubectl wrote";
        let request = request.map_err(|source| Error::Request {
            what: what.to_owned(),
            source: ApiError(kube::Error::BuildRequest(source)),
        })?;
        self.client.request::<Value>(request).await.map(drop).map_err(Error::request(what))
    }

    /// Deletes what was applied before, if it still is that very object.
    pub async fn delete(&self, entry: &Entry) -> Result<(), Error> {
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions { uid: Some(entry.uid.clone()), resource_version: None }),
            ..DeleteParams::default()
        };
        match self.applier.delete(&reference(entry), &params).await {
            // Another object has its name by now.
            Err(error) if error.code() == Some(409) => Ok(()),
            answer => answer,
        }
    }
}

/// Enough of an object to find it.
fn reference(entry: &Entry) -> Value {
    let mut object = json!({"apiVersion": entry.api_version, "kind": entry.kind, "metadata": {"name": entry.name}});
    if !entry.namespace.is_empty() {
        object["metadata"]["namespace"] = entry.namespace.clone().into();
    }
    object
}

fn collection(resource: &ServerResource, object: &Value) -> String {
    let namespace = match meta::namespace(object) {
        "" => "default",
        namespace => namespace,
    };
    resource.path(Some(namespace), None)
}

/// One of the ConfigMaps that GitOps keeps.
pub async fn read_books(client: &kube::Client, name: &str) -> Result<Option<ConfigMap>, Error> {
    let what = format!("read ConfigMap {NAMESPACE}/{name}");
    Api::namespaced(client.clone(), NAMESPACE).get_opt(name).await.map_err(Error::request(what))
}

/// Removes one of them, if it is there.
pub async fn remove_books(client: &kube::Client, name: &str) -> Result<(), Error> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    match maps.delete(name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        answer => answer.map(drop).map_err(Error::request(format!("delete ConfigMap {NAMESPACE}/{name}"))),
    }
}

/// Writes one of them; annotations and labels of others stay.
pub async fn write_books(client: &kube::Client, map: &ConfigMap) -> Result<ConfigMap, Error> {
    let name = map.metadata.name.as_deref().unwrap_or_default();
    let what = format!("write ConfigMap {NAMESPACE}/{name}");
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    api.patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(map)).await.map_err(Error::request(what))
}
