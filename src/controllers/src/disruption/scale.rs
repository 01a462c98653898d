//! How many pods the controllers of pods ask for: from the caches for the built-in kinds, from the scale subresource
//! for every other.

use std::collections::HashMap;
use std::sync::Arc;

use client::informer::{Informer, Informers};
use http::Request;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::common::error::{Error, doing};
use crate::common::owners::controller_of;

/// What the controllers of some pods ask for together, and the pods that have none.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Expected {
    pub scale: i32,
    pub unmanaged: Vec<String>,
}

/// Finds what controllers ask for.
#[derive(Clone)]
pub struct Scales {
    client: kube::Client,
    deployments: Informer<Deployment>,
    replica_sets: Informer<ReplicaSet>,
    stateful_sets: Informer<StatefulSet>,
    replication_controllers: Informer<ReplicationController>,
}

/// A controller's uid and what it asks for.
type Scaled = (String, i32);

impl Scales {
    pub fn new(client: kube::Client, informers: &Informers) -> Self {
        Self {
            client,
            deployments: informers.all(),
            replica_sets: informers.all(),
            stateful_sets: informers.all(),
            replication_controllers: informers.all(),
        }
    }

    /// Waits until the caches are complete.
    pub async fn synced(&self) {
        tokio::join!(
            self.deployments.synced(),
            self.replica_sets.synced(),
            self.stateful_sets.synced(),
            self.replication_controllers.synced()
        );
    }

    /// What the controllers of the pods, which are of one namespace, ask for.
    ///
    /// # Errors
    /// A controller that is not there or cannot be scaled; a request that fails.
    pub async fn expected(&self, pods: &[Arc<Pod>]) -> Result<Expected, Error> {
        let mut unmanaged = Vec::new();
        let (mut looked_at, mut scales) = (HashMap::new(), HashMap::new());
        for pod in pods {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let Some(owner) = controller_of(&pod.metadata) else {
                unmanaged.push(name.to_string());
                continue;
            };
            if looked_at.insert(owner.uid.clone(), ()).is_some() {
                continue;
            }
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let (uid, scale) = self.of(namespace, owner).await?.ok_or_else(|| Error::Object {
                object: format!("pod {namespace}/{name}"),
                problem: format!("its controller {} {} is not there", owner.kind, owner.name),
            })?;
            scales.insert(uid, scale);
        }
        Ok(Expected { scale: scales.into_values().fold(0, i32::saturating_add), unmanaged })
    }

    async fn of(&self, namespace: &str, owner: &OwnerReference) -> Result<Option<Scaled>, Error> {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        let same = |metadata: &ObjectMeta| metadata.uid.as_deref() == Some(&owner.uid);
        Ok(match (group, owner.kind.as_str()) {
            ("apps", "ReplicaSet") => {
                let set = self.replica_sets.get(namespace, &owner.name).filter(|set| same(&set.metadata));
                set.and_then(|set| self.of_replica_set(namespace, &set))
            }
            ("apps", "StatefulSet") => {
                let set = self.stateful_sets.get(namespace, &owner.name).filter(|set| same(&set.metadata));
                set.map(|set| (owner.uid.clone(), set.spec.replicas.unwrap_or(1)))
            }
            ("", "ReplicationController") => {
                let set = self.replication_controllers.get(namespace, &owner.name).filter(|set| same(&set.metadata));
                set.map(|set| (owner.uid.clone(), set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)))
            }
            _ => self.of_any(namespace, owner).await?,
        })
    }

    /// A set of a deployment asks for as much as the deployment: of several sets in a rollout, each has a part.
    fn of_replica_set(&self, namespace: &str, set: &ReplicaSet) -> Option<Scaled> {
        let of_deployment = controller_of(&set.metadata).filter(|owner| owner.kind == "Deployment");
        let Some(owner) = of_deployment else {
            return Some((set.metadata.uid.clone()?, set.spec.replicas.unwrap_or(1)));
        };
        let deployment = self.deployments.get(namespace, &owner.name)?;
        (deployment.metadata.uid.as_deref() == Some(&owner.uid))
            .then(|| (owner.uid.clone(), deployment.spec.replicas.unwrap_or(1)))
    }

    /// The scale subresource of whatever kind it is.
    async fn of_any(&self, namespace: &str, owner: &OwnerReference) -> Result<Option<Scaled>, Error> {
        let version = owner.api_version.as_str();
        let what = || format!("find the resource of {version} {}", owner.kind);
        let (listed, root, group) = match version.split_once('/') {
            Some((group, _)) => (self.client.list_api_group_resources(version).await, "apis", format!(".{group}")),
            None => (self.client.list_core_api_resources(version).await, "api", String::new()),
        };
        let resources = listed.map_err(doing(what()))?.resources;
        let main = resources.iter().find(|one| one.kind == owner.kind && !one.name.contains('/'));
        let Some(plural) = main.map(|one| one.name.as_str()) else { return Ok(None) };
        let scale = format!("{plural}/scale");
        if !resources.iter().any(|one| one.name == scale) {
            let problem = "does not implement the scale subresource".to_string();
            return Err(Error::Object { object: format!("{plural}{group}"), problem });
        }
        let path = format!("/{root}/{version}/namespaces/{namespace}/{plural}/{}/scale", owner.name);
        let doing_what = format!("read the scale of {} {namespace}/{}", owner.kind, owner.name);
        let request =
            Request::get(path).body(Vec::new()).map_err(|error| doing(&*doing_what)(kube::Error::HttpError(error)))?;
        match self.client.request::<Scale>(request).await {
            Ok(scale) if scale.metadata.uid.as_deref() == Some(&owner.uid) => {
                Ok(Some((owner.uid.clone(), scale.spec.and_then(|spec| spec.replicas).unwrap_or(0))))
            }
            Ok(_) => Ok(None),
            Err(error) if client::is_not_found(&error) => Ok(None),
            Err(error) => Err(doing(doing_what)(error)),
        }
    }
}
