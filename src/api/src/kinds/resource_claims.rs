//! The kinds of resource.k8s.io: stored and served. Nobody here allocates devices.

mod capacity;
mod device;
mod expression;
mod names;
mod node_resources;
mod request;
mod slice;
mod status;

use machinery::field::FieldErrors;
use machinery::meta;
use serde_json::Value;

use super::simple::Simple;
use crate::check::At;
use crate::edit::{fill, items_at, set};
use crate::podspec::{resource_names, volumes};
use crate::read;
use crate::table::{age, age_column, name, name_column, text};

/// The behaviour of DeviceClasses.
pub static DEVICE_CLASS: Simple = Simple { has_generation: true, validate: validate_class, ..Simple::PLAIN };

/// The behaviour of ResourceClaimTemplates.
pub static RESOURCE_CLAIM_TEMPLATE: Simple = Simple {
    default: |object| default_requests(object, "spec.spec.devices.requests"),
    validate: validate_template,
    validate_kept: Some(|_| FieldErrors::new()),
    validate_update: spec_kept,
    ..Simple::PLAIN
};

/// The behaviour of DeviceTaintRules.
pub static DEVICE_TAINT_RULE: Simple = Simple { has_generation: true, ..Simple::PLAIN };

/// The behaviour of ResourceClaims.
pub static RESOURCE_CLAIM: Simple = Simple {
    columns: &[name_column(), text("State", "Whether devices are given to it and to whom."), age_column()],
    cells: |object, now| vec![name(object), state(object).into(), age(object, now)],
    default: |object| default_requests(object, "spec.devices.requests"),
    validate: |object| {
        let mut errors = FieldErrors::new();
        request::validate(&At::root(object).at("spec.devices"), &mut errors);
        errors
    },
    // Rules that came later do not hold up the end of what is there.
    validate_kept: Some(|_| FieldErrors::new()),
    validate_update: spec_kept,
    validate_status: status::validate,
    ..Simple::PLAIN
};

fn state(object: &Value) -> String {
    let mut states = Vec::new();
    if meta::is_terminating(object) {
        states.push("deleted");
    }
    if read::is_set(object, "status.allocation") {
        states.push("allocated");
    } else if states.is_empty() {
        states.push("pending");
    }
    if !read::list(object, "status.reservedFor").is_empty() {
        states.push("reserved");
    }
    states.join(",")
}

/// The behaviour of ResourceSlices.
pub static RESOURCE_SLICE: Simple = Simple {
    columns: &[
        name_column(),
        text("Node", "The node that has the devices."),
        text("Driver", "The driver of the devices."),
        text("Pool", "The pool they belong to."),
        age_column(),
    ],
    cells: |object, now| {
        vec![
            name(object),
            read::text(object, "spec.nodeName").into(),
            read::text(object, "spec.driver").into(),
            read::text(object, "spec.pool.name").into(),
            age(object, now),
        ]
    },
    fields: &["spec.nodeName", "spec.driver"],
    has_generation: true,
    validate: slice::validate,
    validate_update: slice::kept,
    ..Simple::PLAIN
};

/// One device, where nothing else is said.
fn default_requests(object: &mut Value, path: &str) {
    for request in items_at(object, path) {
        if let Some(exactly) = request.get_mut("exactly") {
            default_request(exactly);
        }
        items_at(request, "firstAvailable").for_each(default_request);
    }
}

fn default_request(request: &mut Value) {
    if read::text(request, "allocationMode").is_empty() {
        set(request, "allocationMode", "ExactCount");
    }
    if read::text(request, "allocationMode") == "ExactCount" && read::int(request, "count") == 0 {
        set(request, "count", 1);
    }
    items_at(request, "tolerations").for_each(|toleration| fill(toleration, "operator", "Equal"));
}

fn spec_kept(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    At::root(object).at("spec").immutable(&mut errors, read::at(old, "spec"));
    errors
}

fn validate_template(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    volumes::validate_claim_metadata(&spec.at("metadata"), &mut errors);
    request::validate(&spec.at("spec.devices"), &mut errors);
    errors
}

fn validate_class(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    request::selectors(&spec, &mut errors);
    names::sized(&spec, "config", request::CONFIGURATIONS_MAX, &mut errors);
    spec.items("config").for_each(|found| request::validate_configuration(&found, &mut errors));
    let resource = spec.at("extendedResourceName");
    if resource.is_set() && !resource_names::is_extended(resource.text()) {
        resource.invalid(&mut errors, "must be a valid extended resource name");
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resource::Kind;

    #[test]
    fn a_claim_whose_devices_stay_as_they_are_is_not_judged_anew() {
        let spec = json!({"devices": {"requests": [{"name": "A b", "exactly": {"deviceClassName": "c"}}]}});
        let mut object = json!({"metadata": {"name": "c", "finalizers": ["a/b"]}, "spec": spec});
        assert!(!RESOURCE_CLAIM.validate(&object).is_empty());
        let old = object.clone();
        object["metadata"]["finalizers"] = json!([]);
        assert_eq!(RESOURCE_CLAIM.validate_changed(&object, &old), []);
        object["spec"]["devices"]["requests"][0]["name"] = json!("B c");
        assert!(!RESOURCE_CLAIM.validate_changed(&object, &old).is_empty());
    }
}
