//! Custom resources: from a CustomResourceDefinition to the resources it has served, one a version, and what is
//! special about their objects. Which definitions are served is the server's to decide.
//!
//! An object is pruned and defaulted by its version's schema when it comes in ([`complete`]) and again when it is read
//! from the store ([`Kind::to_served`]), since the schema may have changed meanwhile.

mod columns;
mod definition;
mod embedded;
mod openapi;
mod version;

use std::sync::Arc;

use cel::rules::Validator;
use jiff::Timestamp;
use machinery::apply::Reset;
use machinery::field::{FieldError, FieldErrors, Path, Reason};
use machinery::gvk::GroupVersion;
use machinery::jsonpath::JsonPath;
use machinery::meta;
use machinery::schema::{self, DecodeError, Definitions, Schema};
use serde_json::Value;

use crate::read;
use crate::resource::{Column, Kind};
use crate::strategy;

pub use definition::{names_in_use, resources};
pub use openapi::component;

use columns::Columns;

/// What a definition says of one version of its kind.
pub struct Custom {
    /// The uid of the definition.
    pub definition_uid: String,
    /// Where a Scale has its values, where the version has that subresource.
    pub scale: Option<ScalePaths>,
    /// Who converts objects from one version to another, where that is a webhook.
    pub conversion: Option<Conversion>,
    /// `openAPIV3Schema` as it was written, for publication.
    pub published: Value,
    served: GroupVersion,
    stored: GroupVersion,
    has_status: bool,
    columns: Columns,
    /// Paths as selectors name them, `spec.colour`.
    fields: Vec<(String, JsonPath)>,
    root: Arc<Schema>,
    /// What the definition asks of names in metadata.
    metadata: Option<Schema>,
    /// `x-kubernetes-validations`, compiled.
    rules: Option<Validator>,
    definitions: Arc<Definitions>,
}

/// A webhook that converts objects from one version to another.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversion {
    /// Where it is: a `clientConfig`.
    pub client_config: Value,
    /// The versions of ConversionReview that it understands, the preferred first.
    pub review_versions: Vec<String>,
}

/// The paths of a Scale, as names of fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalePaths {
    /// Where the wanted replicas are: `spec`, `replicas`.
    pub spec: Vec<String>,
    /// Where the replicas there are stand.
    pub status: Vec<String>,
    /// Where a selector is, as text.
    pub selector: Option<Vec<String>>,
}

/// Drops unknown fields (answering their paths), checks the types of metadata, and fills in every default.
///
/// # Errors
/// Metadata of another type. Types of other fields are validation's.
pub fn complete(custom: &Custom, object: &mut Value) -> Result<Vec<String>, DecodeError> {
    let unknown = schema::prune_structural(object, &custom.root, &custom.definitions);
    check_types(custom, object)?;
    schema::default(object, &custom.root, &custom.definitions);
    Ok(unknown)
}

/// Checks the types of metadata, and brings times into canonical form.
///
/// # Errors
/// Metadata of another type.
pub fn check_types(custom: &Custom, object: &mut Value) -> Result<(), DecodeError> {
    match object.get_mut("metadata") {
        Some(metadata) => schema::decode(metadata, &schema::reference(schema::OBJECT_META), &custom.definitions),
        None => Ok(()),
    }
}

/// What the rules have against an object. They are about objects that fit their schema: where `found` says that it
/// does not, they are not asked.
fn of_rules(rules: &Validator, object: &Value, old: Option<&Value>, found: &FieldErrors) -> FieldErrors {
    let bars = |error: &FieldError| {
        matches!(
            error.reason,
            Reason::NotSupported | Reason::Required | Reason::TooLong | Reason::TooMany | Reason::TypeInvalid
        )
    };
    if found.iter().any(bars) {
        let why = "some validation rules were not checked because the object was invalid; correct the existing errors \
                   to complete validation";
        return vec![FieldError::invalid(&Path::default(), Value::Null, why)];
    }
    let mut budget = cel::OBJECT_COST_LIMIT;
    rules.validate(&Path::default(), object, old, &mut budget)
}

impl Custom {
    fn check(&self, object: &Value, old: Option<&Value>) -> FieldErrors {
        let mut errors = schema::check_change(object, old, &self.root, &self.definitions);
        if let Some(rules) = &self.metadata {
            let part = |object: &Value| serde_json::json!({"metadata": object["metadata"]});
            let old = old.map(part);
            errors.extend(schema::check_change(&part(object), old.as_ref(), rules, &self.definitions));
        }
        errors.extend(embedded::check(object, &self.root, &self.definitions));
        if let Some(rules) = &self.rules {
            errors.extend(of_rules(rules, object, old, &errors));
        }
        errors
    }

    /// Whether anything but metadata differs, and but status where that is written through its subresource.
    fn is_changed(&self, object: &Value, old: &Value) -> bool {
        let counts = |name: &&String| {
            let is_apart = self.has_status && *name == "status";
            !is_apart && !matches!(name.as_str(), "apiVersion" | "kind" | "metadata")
        };
        let names = |object: &'_ Value| -> Vec<String> {
            object.as_object().into_iter().flat_map(|fields| fields.keys()).filter(counts).cloned().collect()
        };
        names(object).iter().chain(&names(old)).any(|name| object.get(name) != old.get(name))
    }
}

impl Kind for Custom {
    fn has_generation(&self) -> bool {
        true
    }

    fn prepare_create(&self, object: &mut Value) {
        if let (true, Some(fields)) = (self.has_status, object.as_object_mut()) {
            fields.remove("status");
        }
        meta::set_generation(object, 1);
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        if self.has_status {
            strategy::keep(object, old, "status");
        }
        let raised = i64::from(self.is_changed(object, old));
        meta::set_generation(object, meta::generation(old) + raised);
    }

    /// Nothing but the status changes, and who has written it.
    fn prepare_status_update(&self, object: &mut Value, old: &Value) {
        let (status, managers) = (object.get("status").cloned(), object["metadata"]["managedFields"].clone());
        let version = meta::resource_version(object).to_string();
        *object = old.clone();
        meta::set(object, "managedFields", managers);
        meta::set_resource_version(object, &version);
        if let Some(fields) = object.as_object_mut() {
            match status {
                Some(status) => fields.insert("status".to_string(), status),
                None => fields.remove("status"),
            };
        }
    }

    fn reset_fields(&self, subresource: &str) -> Reset<'static> {
        match subresource {
            "" if self.has_status => Reset::Fields(&[&["status"]]),
            "status" => Reset::AllBut(&[&["status"]]),
            _ => Reset::NONE,
        }
    }

    fn validate_new(&self, object: &Value) -> FieldErrors {
        self.check(object, None)
    }

    fn validate_update(&self, object: &Value, old: &Value) -> FieldErrors {
        self.check(object, Some(old))
    }

    fn validate_subresource_update(&self, _subresource: &str, object: &Value, old: &Value) -> FieldErrors {
        self.check(object, Some(old))
    }

    fn columns(&self) -> Vec<Column<'_>> {
        self.columns.definitions()
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        self.columns.cells(object, now)
    }

    fn field(&self, object: &Value, path: &str) -> Option<String> {
        let (_, found) = self.fields.iter().find(|(name, _)| name == path)?;
        Some(found.find(object).first().map(|value| read::scalar(value)).unwrap_or_default())
    }

    fn to_stored(&self, mut object: Value) -> Value {
        object["apiVersion"] = self.stored.to_string().into();
        object
    }

    fn to_served(&self, mut object: Value) -> Value {
        object["apiVersion"] = self.served.to_string().into();
        schema::prune_structural(&mut object, &self.root, &self.definitions);
        schema::default(&mut object, &self.root, &self.definitions);
        object
    }
}

#[cfg(test)]
mod tests;
