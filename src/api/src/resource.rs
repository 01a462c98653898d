//! What the API server needs to know of a resource to serve it.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use machinery::apply::Reset;
use machinery::field::FieldErrors;
use machinery::gvk::{GroupResource, GroupVersion};
use machinery::schema::{Definitions, Schema};
use serde_json::Value;

use crate::custom::Custom;
use crate::definitions::{closure, schema_in};
use crate::{read, strategy};

/// A name: of a built-in kind written in the program, of a custom one read at run time.
pub type Text = Cow<'static, str>;

/// A subresource and what it answers to.
#[derive(Debug, Clone)]
pub struct Subresource {
    /// `status`, `scale`, `binding`, `log`.
    pub name: &'static str,
    /// The group/version of the body where it differs from the parent's (`autoscaling/v1` of a scale).
    pub group_version: Option<(&'static str, &'static str)>,
    /// The kind of the body: `Scale`, `Eviction`, the parent's own for `status`.
    pub kind: Text,
    /// `get`, `patch`, `update`, `create`.
    pub verbs: &'static [&'static str],
}

/// A printer column of `kubectl get`.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    /// `Name`, `Ready`, `Age`.
    pub name: &'a str,
    /// `string`, `integer`, `date`.
    pub type_: &'a str,
    /// `name` for the first column, else empty.
    pub format: &'a str,
    /// The text in `kubectl explain` form.
    pub description: &'a str,
    /// 0 is always shown, 1 with `-o wide`.
    pub priority: i32,
}

/// The kind-specific part of a resource. Every method has the behaviour of a plain kind as its default.
///
/// Values passed in are of the served version, complete with apiVersion, kind and metadata; schema defaults have
/// been applied and types checked before any method is called.
pub trait Kind: Send + Sync + 'static {
    /// Defaults that a schema cannot say (dependent on other fields): `spec.selector` from labels and so on.
    fn default(&self, _object: &mut Value) {}

    /// Whether `metadata.generation` counts changes of the object's specification.
    fn has_generation(&self) -> bool {
        false
    }

    /// Called on create before validation: clears status, sets generation 1, drops fields clients may not set.
    fn prepare_create(&self, object: &mut Value) {
        strategy::create(object, self.has_generation());
    }

    /// Called once the name of a new object is chosen, where only its beginning was given.
    fn name_chosen(&self, _object: &mut Value) {}

    /// Called on update of the main resource: keeps status of `old`, raises generation where the spec changed.
    fn prepare_update(&self, object: &mut Value, old: &Value) {
        strategy::update(object, old, self.has_generation());
    }

    /// Called on update of `status`: takes metadata and status from `object` and everything else from `old`, of
    /// metadata too what [`Kind::reset_fields`] names.
    fn prepare_status_update(&self, object: &mut Value, old: &Value) {
        strategy::status_update(object, old);
        strategy::keep_metadata(object, old, self.reset_fields("status"));
    }

    /// What writes to `subresource` (empty: to the object itself) do not change, and so do not come to own.
    fn reset_fields(&self, subresource: &str) -> Reset<'static> {
        match subresource {
            "" => Reset::Fields(&[&["status"]]),
            "status" => Reset::Fields(&[&["spec"]]),
            _ => Reset::NONE,
        }
    }

    /// Called on update of a subresource whose body is the object itself (`status`, `finalize`, `approval`,
    /// `ephemeralcontainers`, `resize`): takes from `object` what the subresource may change and all else from `old`.
    fn prepare_subresource_update(&self, _subresource: &str, object: &mut Value, old: &Value) {
        self.prepare_status_update(object, old);
    }

    /// What is wrong with an object, new or changed.
    fn validate(&self, _object: &Value) -> FieldErrors {
        FieldErrors::new()
    }

    /// The same for a changed object, of which what was taken before may stay.
    fn validate_changed(&self, object: &Value, _old: &Value) -> FieldErrors {
        self.validate(object)
    }

    /// What is wrong with a new object and would not be with one that is there.
    fn validate_new(&self, _object: &Value) -> FieldErrors {
        FieldErrors::new()
    }

    /// What is wrong with a change: immutable fields, transitions.
    fn validate_update(&self, _object: &Value, _old: &Value) -> FieldErrors {
        FieldErrors::new()
    }

    /// What is wrong with a change of a subresource, after [`Kind::prepare_subresource_update`].
    fn validate_subresource_update(&self, _subresource: &str, _object: &Value, _old: &Value) -> FieldErrors {
        FieldErrors::new()
    }

    /// Warnings for the client that do not stop the request (deprecated fields).
    fn warnings(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }

    /// How long objects are kept after they were last written; `None` where they stay until somebody deletes them.
    fn ttl(&self) -> Option<Duration> {
        None
    }

    /// The columns of a Table.
    fn columns(&self) -> Vec<Column<'_>>;

    /// The cells of an object, one per column. `now` is what ages are counted from.
    fn cells(&self, object: &Value, now: jiff::Timestamp) -> Vec<Value>;

    /// The fields that selectors may name besides metadata.name and metadata.namespace.
    fn fields(&self) -> &'static [&'static str] {
        &[]
    }

    /// The value of a field of [`Kind::fields`]; `None` where the resource has no such field. Missing values are the
    /// empty string.
    fn field(&self, object: &Value, path: &str) -> Option<String> {
        self.fields().contains(&path).then(|| read::shown(object, path))
    }

    /// An object of this version as the version that is stored has it; called only where [`Resource::storage`] is set.
    fn to_stored(&self, object: Value) -> Value {
        object
    }

    /// A stored object as this version has it, with this version's apiVersion; called only where
    /// [`Resource::storage`] is set.
    fn to_served(&self, object: Value) -> Value {
        object
    }

    /// The grace period in seconds when the DeleteOptions name none: `None` deletes at once (every kind but pods).
    fn default_grace_period_seconds(&self, _object: &Value) -> Option<i64> {
        None
    }
}

/// What a kind adds: of built-in kinds it is part of the program, of custom ones it is made of their definition.
#[derive(Clone)]
pub enum Behaviour {
    /// A kind of this program.
    BuiltIn(&'static dyn Kind),
    /// A kind of a CustomResourceDefinition.
    Custom(Arc<Custom>),
}

impl Deref for Behaviour {
    type Target = dyn Kind;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::BuiltIn(kind) => *kind,
            Self::Custom(custom) => custom.as_ref(),
        }
    }
}

/// A resource as it is served in one version.
pub struct Resource {
    /// Group and version in the URL and in apiVersion.
    pub group_version: GroupVersion,
    /// `Pod`.
    pub kind: Text,
    /// `pods`.
    pub plural: Text,
    /// `pod`.
    pub singular: Text,
    /// Lives in a namespace.
    pub namespaced: bool,
    /// `po`.
    pub short_names: Vec<Text>,
    /// `all`.
    pub categories: Vec<Text>,
    /// The verbs of the main resource.
    pub verbs: &'static [&'static str],
    /// The subresources, `status` and the rest.
    pub subresources: Cow<'static, [Subresource]>,
    /// The group and version in which objects are stored, where that is not this one: autoscaling/v1 is stored as
    /// autoscaling/v2, `events` of events.k8s.io as those of the core group. Registry keys follow the stored group. Of
    /// custom resources it is always set: what was stored may have been written by another schema.
    pub storage: Option<GroupVersion>,
    /// The key of the kind's schema among the definitions: `io.k8s.api.core.v1.Pod`.
    pub schema_name: Text,
    /// What clients are warned of who still use the resource.
    pub deprecated: Option<Text>,
    /// Whether an update of what is not there makes it.
    pub update_creates: bool,
    /// Whether an update must say which version it is of.
    pub update_needs_version: bool,
    /// How Kubernetes forms a name error: a DNS-1123 subdomain for most.
    pub name_rule: fn(&str) -> Vec<String>,
    /// What the kind adds.
    pub behaviour: Behaviour,
    pub(crate) definitions: OnceLock<Definitions>,
}

impl Resource {
    /// `pods`, `deployments.apps`.
    pub fn group_resource(&self) -> GroupResource {
        GroupResource { group: self.group_version.group.clone(), resource: self.plural.to_string() }
    }

    /// The kind's schema and every schema it refers to; made on first use.
    pub fn definitions(&self) -> &Definitions {
        self.definitions.get_or_init(|| closure(&self.schema_name))
    }

    /// The kind's own schema, whose references [`Resource::definitions`] resolves.
    pub fn schema(&self) -> &Schema {
        schema_in(self.definitions(), &self.schema_name)
    }

    /// What a CustomResourceDefinition says of it; `None` for built-in resources.
    pub fn custom(&self) -> Option<&Custom> {
        match &self.behaviour {
            Behaviour::BuiltIn(_) => None,
            Behaviour::Custom(custom) => Some(custom),
        }
    }

    /// Whether the main resource answers to `verb` (`deletecollection`).
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }

    /// The subresource called `name`.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|subresource| subresource.name == name)
    }
}
