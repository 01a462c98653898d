//! CustomResourceDefinition and APIService: checked, stored and served.

mod definition;
mod schema;

use machinery::apply::Reset;
use machinery::field::FieldErrors;
use machinery::names;
use serde_json::{Value, json};

use super::simple::Simple;
use crate::check::At;
use crate::edit::set;
use crate::read;
use crate::table::{age, age_column, name, name_column, text};

/// The greatest priority of a group.
const GROUP_PRIORITY_MAX: i64 = 20_000;
/// The greatest priority of a version within its group.
const VERSION_PRIORITY_MAX: i64 = 1_000;

/// The behaviour of CustomResourceDefinitions.
pub static CRD: Simple = Simple {
    has_generation: true,
    prepare_create: Some(definition::tell_stored),
    reset_in_status: Reset::Fields(&[&["metadata"], &["spec"]]),
    default: definition::default,
    validate: definition::validate,
    validate_kept: Some(definition::validate_approval),
    validate_new: |object| {
        let mut errors = definition::rules(object, None);
        errors.extend(definition::authorities(object, None));
        errors
    },
    validate_update: |object, old| {
        let mut errors = definition::validate_update(object, old);
        errors.extend(definition::rules(object, Some(old)));
        errors.extend(definition::authorities(object, Some(old)));
        errors
    },
    ..Simple::CREATED_AT
};

/// The behaviour of APIServices.
pub static API_SERVICE: Simple = Simple {
    columns: &[
        name_column(),
        text("Service", "Who serves the group and version."),
        text("Available", "Whether it answers."),
        age_column(),
    ],
    cells: |object, now| vec![name(object), service(object).into(), available(object).into(), age(object, now)],
    fields: &["spec.service.name", "spec.service.namespace"],
    prepare_create: Some(is_local),
    validate: validate_api_service,
    validate_update: |object, old| {
        let mut errors = FieldErrors::new();
        let spec = At::root(object).at("spec");
        ["group", "version"]
            .iter()
            .for_each(|field| spec.at(field).immutable(&mut errors, read::at(&old["spec"], field)));
        errors
    },
    reset_in_status: Reset::Fields(&[&["metadata"], &["spec"]]),
    ..Simple::PLAIN
};

/// What this server serves itself is there as soon as it is named.
fn is_local(object: &mut Value) {
    if read::is_set(object, "spec.service") {
        return;
    }
    let condition = json!({
        "type": "Available",
        "status": "True",
        "reason": "Local",
        "message": "Local APIServices are always available",
        "lastTransitionTime": object["metadata"]["creationTimestamp"],
    });
    set(object, "status", json!({"conditions": [condition]}));
}

fn validate_api_service(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let root = At::root(object);
    let spec = root.at("spec");
    let (group, version) = (spec.at("group"), spec.at("version"));
    let expected = format!("{}.{}", version.text(), group.text());
    if root.at("metadata.name").text() != expected {
        root.at("metadata.name").invalid(&mut errors, format!("must be `spec.version+\".\"+spec.group`: {expected:?}"));
    }
    group.optional_name(&mut errors, names::dns1123_subdomain);
    version.require_name(&mut errors, names::dns1035_label);
    spec.at("groupPriorityMinimum").in_range(&mut errors, 1, GROUP_PRIORITY_MAX);
    spec.at("versionPriority").in_range(&mut errors, 1, VERSION_PRIORITY_MAX);
    let (service, bundle) = (spec.at("service"), spec.at("caBundle"));
    let is_insecure = spec.at("insecureSkipTLSVerify").is_true();
    if !service.is_set() {
        if bundle.is_set() {
            bundle.invalid(&mut errors, "local APIServices may not have a caBundle");
        }
        if is_insecure {
            spec.at("insecureSkipTLSVerify")
                .invalid(&mut errors, "local APIServices may not have insecureSkipTLSVerify");
        }
        return errors;
    }
    service.at("namespace").require_text(&mut errors);
    service.at("name").require_text(&mut errors);
    if is_insecure && bundle.is_set() {
        spec.at("insecureSkipTLSVerify").invalid(&mut errors, "may not be true if caBundle is present");
    }
    errors
}

fn service(object: &Value) -> String {
    let service = read::at(object, "spec.service");
    if service.is_null() {
        return "Local".to_string();
    }
    format!("{}/{}", read::text(service, "namespace"), read::text(service, "name"))
}

fn available(object: &Value) -> String {
    let found = read::list(object, "status.conditions").iter().find(|found| found["type"] == "Available");
    let Some(condition) = found else { return "Unknown".to_string() };
    match (read::text(condition, "status"), read::text(condition, "reason")) {
        ("True", _) => "True".to_string(),
        (status, reason) => format!("{status} ({reason})"),
    }
}
