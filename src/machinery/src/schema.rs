//! Structural schemas: one description of a kind that decoding, pruning, defaulting, checks, patches,
//! server-side apply and OpenAPI all read. Built-in kinds and CRDs use the same.
//!
//! The types live here; what is done with them lives in the modules below. A body goes through [`prune`], then
//! [`decode`], then [`default`]; [`check`] finds what is required, enumerated and bounded.

mod check;
mod decode;
mod default;
mod format;
mod prune;
pub mod structural;

pub use check::{check, check_change};
pub use decode::{DecodeError, decode};
pub use default::default;
pub use prune::{prune, prune_structural};

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

/// The name of the type that every object's metadata have.
pub const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The schema of a value whose type is one of the definitions.
pub fn reference(name: &str) -> Schema {
    Schema { type_: Type::Reference(name.into()), ..Schema::default() }
}

/// A node of a schema. Cheap to clone; types that refer to themselves go through [`Type::Reference`].
#[derive(Debug, Clone, Default)]
pub struct Schema {
    /// What JSON the value is.
    pub type_: Type,
    /// The text of `kubectl explain`.
    pub description: Option<Arc<str>>,
    /// Filled in where the field is missing.
    pub default: Option<Value>,
    /// `null` is a value of its own and not the same as missing.
    pub nullable: bool,
    /// The only values allowed; empty means any.
    pub enum_: Vec<Value>,
    /// `false`, `0` and an empty text, list or map say nothing: the field is as good as missing.
    pub unset_if_empty: bool,
    /// The object, list or map is there as soon as what it is a field of is, whether anybody has set anything in it or
    /// not: to ownership a missing one is an empty one.
    pub always_there: bool,
    /// How strategic merge patches treat this list or map.
    pub patch: PatchStrategy,
    /// `x-kubernetes-preserve-unknown-fields`: fields that no schema names are kept.
    pub preserve_unknown: bool,
    /// `x-kubernetes-embedded-resource`: the value is an object with apiVersion, kind and metadata.
    pub embedded_resource: bool,
    /// Bounds and patterns of OpenAPI (`maximum`, `pattern`, `maxItems`, …) in their JSON form; empty for most.
    pub bounds: BTreeMap<String, Value>,
    /// `allOf`, `anyOf`, `oneOf` and `not`, where there are any.
    pub logic: Option<Arc<Logic>>,
    /// Stands within a [`Logic`]: says nothing of values of another type.
    pub partial: bool,
}

/// Conditions on a value that are themselves schemas.
#[derive(Debug, Clone, Default)]
pub struct Logic {
    /// Every one holds.
    pub all_of: Vec<Schema>,
    /// One holds, or several.
    pub any_of: Vec<Schema>,
    /// Exactly one holds.
    pub one_of: Vec<Schema>,
    /// Does not hold.
    pub not: Option<Schema>,
}

/// The JSON type of a value.
#[derive(Debug, Clone, Default)]
pub enum Type {
    /// Anything at all (`RawExtension`, a CRD's `x-kubernetes-preserve-unknown-fields` without a type).
    #[default]
    Any,
    /// An object with named fields; `map_type: atomic` where `atomic`.
    Object { fields: BTreeMap<String, Arc<Schema>>, required: Vec<String>, atomic: bool },
    /// An object whose keys are data, of which some may have to be there; `map_type: atomic` where `atomic`.
    Map { values: Arc<Schema>, required: Vec<String>, atomic: bool },
    /// A list.
    List { items: Arc<Schema>, kind: ListKind },
    /// A string; the format (`byte`, `date-time`, `quantity`) where there is one.
    String { format: Option<Arc<str>> },
    /// A whole number; `int32` or `int64`.
    Integer { format: Option<Arc<str>> },
    /// A number.
    Number { format: Option<Arc<str>> },
    /// `true` or `false`.
    Boolean,
    /// A whole number or a string: `intOrString`, and quantities where a number is also accepted.
    IntOrString,
    /// A type of [`Definitions`] by its name, such as `io.k8s.api.core.v1.PodSpec`.
    Reference(Arc<str>),
}

/// `x-kubernetes-list-type`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ListKind {
    /// Replaced as a whole.
    #[default]
    Atomic,
    /// Of unique scalars.
    Set,
    /// Of objects told apart by these fields.
    Map(Vec<String>),
}

/// `x-kubernetes-patch-strategy` and `x-kubernetes-patch-merge-key`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// `patchStrategy` contains `merge`.
    pub merge: bool,
    /// `patchStrategy` contains `retainKeys`.
    pub retain_keys: bool,
    /// The field that tells list elements apart.
    pub merge_key: Option<Arc<str>>,
}

/// Types by name, shared by every kind that refers to them.
#[derive(Debug, Clone, Default)]
pub struct Definitions(pub BTreeMap<Arc<str>, Arc<Schema>>);

impl Definitions {
    /// Follows references until a schema that is none. An unknown name reads as [`Type::Any`].
    pub fn resolve<'a>(&'a self, schema: &'a Schema) -> &'a Schema {
        static ANY: std::sync::LazyLock<Schema> = std::sync::LazyLock::new(Schema::default);
        let mut at = schema;
        // A chain of names longer than this is a loop of references.
        for _ in 0..16 {
            match &at.type_ {
                Type::Reference(name) => match self.0.get(name) {
                    Some(next) => at = next,
                    None => return &ANY,
                },
                _ => return at,
            }
        }
        &ANY
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
