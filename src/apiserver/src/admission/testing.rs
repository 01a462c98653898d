//! A store with objects in it and requests, for the tests of the plugins.

use std::sync::Arc;

use machinery::gvk::{GroupVersion, GroupVersionKind};
use serde_json::{Value, json};
use store::embedded::{Embedded, Options};
use store::{Precondition, Store};

use crate::live::{Live, prefix, text};
use crate::plugin::{Admission, Admit, Hold, Operation, Rounds, Warnings};
use crate::request::User;
use crate::served::Served;
use crate::status::Status;
use crate::webhook::Caller;

/// A store in a temporary folder.
pub(crate) struct Cluster {
    pub(crate) live: Live,
    _directory: tempfile::TempDir,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a folder");
        let store: Arc<dyn Store> =
            Embedded::open(&directory.path().join("state.db"), Options::default()).expect("a store");
        Self { live: Live::new(store), _directory: directory }
    }

    /// Puts an object in; its group comes from its apiVersion.
    pub(crate) async fn put(&self, resource: &str, object: Value) {
        let version = GroupVersion::parse(text(&object, "/apiVersion")).expect("an apiVersion");
        let metadata = (text(&object, "/metadata/namespace"), text(&object, "/metadata/name"));
        let key = prefix(&version.group, resource, metadata.0) + metadata.1;
        let current = self.live.store().get(&key).await.expect("read");
        let precondition = current.map_or(Precondition::Absent, |entry| Precondition::Revision(entry.mod_revision));
        self.live.store().put(&key, object.to_string().into(), precondition).await.expect("put");
    }

    pub(crate) async fn delete(&self, key: &str) {
        let entry = self.live.store().get(key).await.expect("read").expect("is there");
        self.live.store().delete(key, entry.mod_revision).await.expect("deleted");
    }
}

/// A request to be admitted.
pub(crate) struct Asked {
    pub(crate) operation: Operation,
    pub(crate) user: User,
    pub(crate) group: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) subresource: &'static str,
    pub(crate) namespace: &'static str,
    pub(crate) name: String,
    pub(crate) old: Option<Value>,
    pub(crate) rounds: Rounds,
}

impl Asked {
    /// Passes the request on, of an object that is called `name` where the request names none.
    async fn with<T>(&self, name: &str, pass: impl AsyncFnOnce(&Admit<'_>) -> T) -> T {
        let group_version = GroupVersion::new(self.group, "v1");
        let kind = GroupVersionKind { group_version: group_version.clone(), kind: self.kind.to_string() };
        let nowhere = Cluster::new();
        let caller = Caller::new(nowhere.live.clone(), true);
        let (options, warnings, served) = (json!({}), Warnings::default(), Served::default());
        let request = Admit {
            served: &served,
            operation: self.operation,
            user: &self.user,
            group_version: &group_version,
            resource: self.resource,
            subresource: self.subresource,
            kind: &kind,
            namespace: self.namespace,
            name: if self.name.is_empty() { name } else { &self.name },
            old: self.old.as_ref(),
            options: &options,
            dry_run: false,
            warnings: &warnings,
            rounds: &self.rounds,
            caller: &caller,
            audit: &crate::audit::Trail::default(),
        };
        pass(&request).await
    }
}

/// A creation by a plain user.
pub(crate) fn create(group: &'static str, resource: &'static str, namespace: &'static str) -> Asked {
    Asked {
        operation: Operation::Create,
        user: User::new("ann", &[]),
        group,
        resource,
        kind: "Kind",
        subresource: "",
        namespace,
        name: String::new(),
        old: None,
        rounds: Rounds::default(),
    }
}

/// Runs a plugin as the server does: admit, then validate and hold; answers the object.
pub(crate) async fn run(plugin: &dyn Admission, asked: &Asked, object: Option<Value>) -> Result<Value, Status> {
    let mut object = object;
    if !plugin.handles(asked.operation) {
        return Ok(object.unwrap_or_default());
    }
    let name = object.as_ref().map(|object| text(object, "/metadata/name").to_string()).unwrap_or_default();
    asked
        .with(&name, async |request| {
            while let Some(object) = &mut object {
                plugin.admit(request, object).await?;
                if !asked.rounds.begin_second() {
                    break;
                }
            }
            plugin.validate(request, object.as_ref()).await?;
            if let Some(object) = &object {
                plugin.hold(request, object).await?;
            }
            Ok(object.unwrap_or_default())
        })
        .await
}

/// What a plugin holds for a request.
pub(crate) async fn hold(plugin: &dyn Admission, asked: &Asked, object: &Value) -> Result<Option<Hold>, Status> {
    asked.with(text(object, "/metadata/name"), async |request| plugin.hold(request, object).await).await
}
