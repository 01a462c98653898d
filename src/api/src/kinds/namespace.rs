//! Namespace.

use jiff::Timestamp;
use machinery::apply::Reset;
use machinery::field::{FieldError, FieldErrors, Path};
use machinery::{meta, names};
use serde_json::{Value, json};

use crate::check::At;
use crate::edit::{fill, set};
use crate::read;
use crate::resource::{Column, Kind};
use crate::strategy;
use crate::table::{age, age_column, name, name_column, text};

/// The behaviour of Namespaces.
pub struct Namespace;

const NAME_LABEL: &str = "kubernetes.io/metadata.name";
const FINALIZER: &str = "kubernetes";

impl Kind for Namespace {
    fn default(&self, object: &mut Value) {
        let name = meta::name(object).to_string();
        if !name.is_empty() {
            meta::set_label(object, NAME_LABEL, &name);
        }
    }

    /// A namespace is active and is not gone before its content is.
    fn prepare_create(&self, object: &mut Value) {
        strategy::create(object, false);
        self.default(object);
        set(object, "status", json!({"phase": "Active"}));
        fill(object, "spec", json!({}));
        let mut finalizers = read::list(object, "spec.finalizers").to_vec();
        if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            finalizers.push(FINALIZER.into());
        }
        set(&mut object["spec"], "finalizers", finalizers);
    }

    fn name_chosen(&self, object: &mut Value) {
        self.default(object);
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        strategy::update(object, old, false);
        strategy::keep(object, old, "spec");
    }

    /// `finalize` changes what must be done before the namespace goes.
    fn prepare_subresource_update(&self, subresource: &str, object: &mut Value, old: &Value) {
        match subresource {
            "finalize" => strategy::keep(object, old, "status"),
            _ => {
                self.prepare_status_update(object, old);
                if read::text(object, "status.phase").is_empty() {
                    fill(object, "status", json!({}));
                    set(&mut object["status"], "phase", "Active");
                }
            }
        }
    }

    fn reset_fields(&self, subresource: &str) -> Reset<'static> {
        match subresource {
            "" | "finalize" => Reset::Fields(&[&["status"]]),
            "status" => Reset::Fields(&[&["spec"]]),
            _ => Reset::NONE,
        }
    }

    fn validate_subresource_update(&self, subresource: &str, object: &Value, _old: &Value) -> FieldErrors {
        if subresource == "finalize" {
            return self.validate(object);
        }
        let (phase, ends) = (read::text(object, "status.phase"), meta::is_terminating(object));
        let (expected, wrong) = match ends {
            false => ("Active", "may only be 'Active' if `deletionTimestamp` is empty"),
            true => ("Terminating", "may only be 'Terminating' if `deletionTimestamp` is not empty"),
        };
        let path = Path::new("status").child("Phase");
        if phase == expected { FieldErrors::new() } else { vec![FieldError::invalid(&path, phase, wrong)] }
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        for finalizer in At::root(object).at("spec").items("finalizers") {
            finalizer.follows(&mut errors, names::qualified_name);
            if !finalizer.text().contains('/') && finalizer.text() != FINALIZER {
                let wrong = "name is neither a standard finalizer name nor is it fully qualified";
                finalizer.invalid(&mut errors, wrong);
            }
        }
        errors
    }

    fn columns(&self) -> Vec<Column<'_>> {
        vec![name_column(), text("Status", "Whether the namespace is in use or ending."), age_column()]
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(object), read::text(object, "status.phase").into(), age(object, now)]
    }

    fn fields(&self) -> &'static [&'static str] {
        &["status.phase", "name"]
    }

    fn field(&self, object: &Value, path: &str) -> Option<String> {
        match path {
            "name" => Some(meta::name(object).to_string()),
            "status.phase" => Some(read::shown(object, path)),
            _ => None,
        }
    }
}
