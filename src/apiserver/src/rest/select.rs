//! Which objects of a list, watch or deletecollection are meant: label and field selectors.

use api::resource::Resource;
use machinery::meta;
use machinery::selector::{FieldSelector, LabelSelector};
use serde_json::Value;
use store::Entry;

use super::target::Target;
use crate::convert;
use crate::status::{Result, Status};
use crate::storage;

/// A label and a field selector, and a name where one object is meant.
#[derive(Debug, Clone)]
pub struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    name: Option<String>,
    /// A field that only the decoded object shows.
    deep: bool,
}

/// The refusal of a field: of kinds that can be selected by no field of their own it says which there are.
fn unknown_field(resource: &Resource, field: &str) -> String {
    if resource.custom().is_none() && resource.behaviour.fields().is_empty() {
        return format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"");
    }
    format!("field label not supported: {field}")
}

impl Selection {
    /// Reads the selectors of a request.
    ///
    /// # Errors
    /// 400 for what cannot be parsed and for fields that the resource does not select by.
    pub fn read(target: &Target<'_>) -> Result<Self> {
        let info = &target.context.info;
        let labels =
            LabelSelector::parse(&info.label_selector).map_err(|error| Status::bad_request(error.to_string()))?;
        let fields =
            FieldSelector::parse(&info.field_selector).map_err(|error| Status::bad_request(error.to_string()))?;
        let mut deep = false;
        for term in &fields.0 {
            match term.field.as_str() {
                "metadata.name" => {}
                "metadata.namespace" if target.resource.namespaced => {}
                field if target.resource.behaviour.field(&Value::Null, field).is_some() => deep = true,
                field => {
                    return Err(Status::bad_request(unknown_field(target.resource, field)));
                }
            }
        }
        let name = (!target.name.is_empty()).then(|| target.name.to_string());
        Ok(Self { labels, fields, name, deep })
    }

    /// Selects everything.
    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_empty() && self.name.is_none()
    }

    /// The one name that is meant, where there is one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref().or_else(|| self.fields.required_value("metadata.name"))
    }

    /// Whether an object must be converted before it is known whether it is meant: a webhook may change what selectors
    /// ask for.
    pub fn needs_conversion(&self, resource: &Resource) -> bool {
        convert::webhook(resource).is_some() && (self.deep || !self.labels.is_everything())
    }

    /// An object of the resource is meant.
    pub fn matches_object(&self, resource: &Resource, object: &Value) -> bool {
        let is_named = self.name.as_ref().is_none_or(|name| name == meta::name(object));
        is_named
            && self.labels.matches_object(object)
            && self.fields.matches(|field| match field {
                "metadata.name" => meta::name(object).to_string(),
                "metadata.namespace" => meta::namespace(object).to_string(),
                field => resource.behaviour.field(object, field).unwrap_or_default(),
            })
    }

    /// The object is meant. Its bytes are decoded only as far as the selectors ask.
    ///
    /// # Errors
    /// 500 where the bytes are no object.
    pub fn matches(&self, resource: &Resource, entry: &Entry) -> Result<bool> {
        if self.is_everything() {
            return Ok(true);
        }
        let (namespace, name) = storage::place(resource, &entry.key);
        if self.name.as_ref().is_some_and(|wanted| *wanted != name) {
            return Ok(false);
        }
        if !self.labels.is_everything() && !self.labels.matches(&storage::labels(&entry.value)) {
            return Ok(false);
        }
        if self.fields.is_empty() {
            return Ok(true);
        }
        let object = match self.deep {
            false => Value::Null,
            true => {
                let object = storage::decode(entry)?;
                if resource.storage.is_some() { resource.behaviour.to_served(object) } else { object }
            }
        };
        Ok(self.fields.matches(|field| match field {
            "metadata.name" => name.to_string(),
            "metadata.namespace" => namespace.to_string(),
            field => resource.behaviour.field(&object, field).unwrap_or_default(),
        }))
    }
}
