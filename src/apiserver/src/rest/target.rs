//! What a request for a resource is about: the resource, the subresource, namespace and name, and the names and
//! keys that follow from them.

use std::sync::Arc;

use api::resource::{Resource, Subresource};
use bytes::Bytes;
use machinery::field::FieldErrors;
use machinery::gvk::{GroupResource, GroupVersion, GroupVersionKind};
use serde_json::Value;
use store::{Entry, Precondition};

use super::protobuf;
use crate::accept::{self, Form, Format};
use crate::convert;
use crate::handler::Context;
use crate::plugin::{Admit, Hold, Operation, Rounds};
use crate::state::State;
use crate::status::{Result, Status};
use crate::storage;

/// What a request is about.
pub struct Target<'a> {
    /// The request.
    pub context: &'a Context,
    /// The resource in the URL.
    pub resource: &'a Resource,
    /// The subresource, where the URL names one.
    pub subresource: Option<&'a Subresource>,
    /// Empty for cluster-scoped resources and across namespaces.
    pub namespace: &'a str,
    /// Empty for collections.
    pub name: &'a str,
}

impl<'a> Target<'a> {
    /// Finds the resource of a request.
    ///
    /// # Errors
    /// 404 where it is not served, or not in this scope; 405 for a new namespaced object without a namespace.
    pub fn of(context: &'a Context) -> Result<Self> {
        let info = &context.info;
        let resource =
            context.served.get(&info.group, &info.version, &info.resource).ok_or_else(Status::no_such_resource)?;
        let subresource = match info.subresource.as_str() {
            "" => None,
            name => Some(resource.subresource(name).ok_or_else(Status::no_such_resource)?),
        };
        let takes_tail = subresource.is_some_and(|subresource| subresource.name == "proxy");
        if info.parts.len() > 3 && !takes_tail {
            return Err(Status::no_such_resource());
        }
        let namespace = match (resource.namespaced, info.namespace.is_empty()) {
            (true, _) => info.namespace.as_str(),
            (false, true) => "",
            // /api/v1/namespaces/x names itself.
            (false, false) if resource.plural == "namespaces" && info.group.is_empty() => "",
            (false, false) => return Err(Status::no_such_resource()),
        };
        // Nothing of a namespace is found without one, not even to be watched in the old form of a path.
        if resource.namespaced && namespace.is_empty() && info.parts.len() > 1 {
            return Err(Status::no_such_resource());
        }
        if resource.namespaced && namespace.is_empty() && !matches!(info.verb.as_str(), "list" | "watch") {
            return Err(Status::new(
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            ));
        }
        Ok(Self { context, resource, subresource, namespace, name: &info.name })
    }

    /// The server.
    pub fn state(&self) -> &'a State {
        &self.context.state
    }

    /// `status`; empty for the object itself.
    pub fn subresource_name(&self) -> &'static str {
        self.subresource.map_or("", |subresource| subresource.name)
    }

    /// `pods`, `deployments.apps`.
    pub fn group_resource(&self) -> GroupResource {
        self.resource.group_resource()
    }

    /// The kind of the resource.
    pub fn kind(&self) -> GroupVersionKind {
        GroupVersionKind { group_version: self.resource.group_version.clone(), kind: self.resource.kind.to_string() }
    }

    /// The kind of the body: of `scale` it is autoscaling/v1 Scale.
    pub fn body_kind(&self) -> GroupVersionKind {
        let Some(subresource) = self.subresource else { return self.kind() };
        let group_version = match subresource.group_version {
            Some((group, version)) => GroupVersion::new(group, version),
            None => self.resource.group_version.clone(),
        };
        GroupVersionKind { group_version, kind: subresource.kind.to_string() }
    }

    /// The registry key of the object called `name`.
    pub fn key(&self, name: &str) -> String {
        storage::key(self.resource, self.namespace, name)
    }

    /// 404 for the object of the URL.
    pub fn not_found(&self) -> Status {
        Status::not_found(&self.group_resource(), self.name)
    }

    /// 422 for an object of this kind.
    pub fn invalid(&self, name: &str, errors: &FieldErrors) -> Status {
        Status::invalid(&self.resource.group_version.group, &self.resource.kind, name, errors)
    }

    /// How the client wants objects of this resource.
    ///
    /// # Errors
    /// 406.
    pub fn negotiate(&self) -> Result<(Format, Form)> {
        accept::negotiate(&self.context.headers, protobuf::speaks(self.resource))
    }

    /// A stored object in the version of the URL, with its resourceVersion.
    ///
    /// # Errors
    /// 500 where the bytes are no object, or cannot be converted.
    pub async fn present(&self, entry: &Entry) -> Result<Value> {
        convert::one_to_served(&self.state().caller, self.resource, storage::decode(entry)?).await
    }

    /// The same for several at once.
    ///
    /// # Errors
    /// See [`Target::present`].
    pub async fn present_all(&self, entries: &[Entry]) -> Result<Vec<Value>> {
        let objects = entries.iter().map(storage::decode).collect::<Result<Vec<Value>>>()?;
        convert::to_served(&self.state().caller, self.resource, objects).await
    }

    /// An object of the URL's version as stored bytes.
    ///
    /// # Errors
    /// 422 for one that is nested too deep to be read again; 500 where it cannot be converted.
    pub async fn to_bytes(&self, object: &Value) -> Result<Bytes> {
        storage::check_depth(object)?;
        if self.resource.storage.is_none() {
            return Ok(storage::encode(object));
        }
        let stored = convert::to_stored(&self.state().caller, self.resource, object.clone()).await?;
        storage::check_depth(&stored)?;
        Ok(storage::encode(&stored))
    }

    /// Asks every admission plugin to change the object, and once more where what users have written has changed it.
    ///
    /// # Errors
    /// What the first that refuses answers.
    pub async fn admit(&self, facts: &Facts<'_>, object: &mut Value) -> Result<()> {
        let rounds = Rounds::default();
        loop {
            for plugin in &self.state().plugins.admission {
                if plugin.handles(facts.operation) {
                    plugin.admit(&Admit { rounds: &rounds, ..self.admission(facts) }, object).await?;
                }
            }
            if !rounds.begin_second() {
                return Ok(());
            }
        }
    }

    /// Asks every admission plugin whether the object may be.
    ///
    /// # Errors
    /// What the first that refuses answers.
    pub async fn validate_admission(&self, facts: &Facts<'_>, object: Option<&Value>) -> Result<()> {
        for plugin in &self.state().plugins.admission {
            if plugin.handles(facts.operation) {
                plugin.validate(&self.admission(facts), object).await?;
            }
        }
        Ok(())
    }

    /// Has every admission plugin hold what the object takes, until it has been put.
    ///
    /// # Errors
    /// What the first that refuses answers.
    pub async fn hold(&self, facts: &Facts<'_>, object: &Value) -> Result<Holds> {
        let mut holds = Holds::default();
        for plugin in &self.state().plugins.admission {
            if plugin.handles(facts.operation) {
                holds.0.extend(plugin.hold(&self.admission(facts), object).await?);
            }
        }
        Ok(holds)
    }

    /// Puts an object into the store, to be kept for as long as its kind is, and ends what was held for it. A client that goes away does not end it sooner:
    /// the store may still be writing.
    ///
    /// # Errors
    /// The store's.
    pub async fn put(
        &self,
        key: &str,
        bytes: Bytes,
        precondition: Precondition,
        holds: Holds,
    ) -> std::result::Result<Entry, store::Error> {
        let (store, ttl) = (&self.state().store, self.resource.behaviour.ttl());
        if holds.0.is_empty() {
            return store.put_with_ttl(key, bytes, precondition, ttl).await;
        }
        let (store, key) = (Arc::clone(store), key.to_string());
        let put = tokio::spawn(async move {
            let put = store.put_with_ttl(&key, bytes, precondition, ttl).await;
            drop(holds);
            put
        });
        // It is not cancelled, so it ends early only where the server does.
        put.await.unwrap_or(Err(store::Error::Closed))
    }

    fn admission<'b>(&'b self, facts: &'b Facts<'b>) -> Admit<'b> {
        Admit {
            served: &self.context.served,
            operation: facts.operation,
            user: &self.context.user,
            group_version: &self.resource.group_version,
            resource: &self.resource.plural,
            subresource: facts.subresource,
            kind: facts.kind,
            namespace: self.namespace,
            name: facts.name,
            old: facts.old,
            options: facts.options,
            dry_run: facts.dry_run,
            warnings: &self.context.warnings,
            rounds: Rounds::only(),
            caller: &self.state().caller,
            audit: &self.context.audit,
        }
    }
}

/// What admission holds for a write.
#[derive(Default)]
#[must_use]
pub struct Holds(Vec<Hold>);

/// What admission is told of one step.
pub struct Facts<'a> {
    /// What is done.
    pub operation: Operation,
    /// The kind of the object.
    pub kind: &'a GroupVersionKind,
    /// `status`; empty for the object itself.
    pub subresource: &'a str,
    /// Empty while a generated name has not been chosen.
    pub name: &'a str,
    /// The object before.
    pub old: Option<&'a Value>,
    /// The options as an object.
    pub options: &'a Value,
    /// Nothing will be kept.
    pub dry_run: bool,
}
