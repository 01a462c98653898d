//! Pod.

mod columns;
mod status;
mod update;

use jiff::Timestamp;
use machinery::apply::Reset;
use machinery::field::FieldErrors;
use serde_json::{Value, json};

use crate::check::At;
use crate::edit::{fill, set};
use crate::podspec::spec::{self, Owner};
use crate::podspec::{annotations, defaults, qos};
use crate::read;
use crate::resource::{Column, Kind};
use crate::strategy;

/// How long a pod may take to end when neither it nor the request says so.
const GRACE_PERIOD_SECONDS: i64 = 30;

/// The behaviour of Pods.
pub struct Pod;

/// Everything that is wrong with a pod, new or changed in whatever way.
fn validate_pod(object: &Value, errors: &mut FieldErrors) {
    let (metadata, spec) = (At::root(object).at("metadata"), At::root(object).at("spec"));
    annotations::validate(&metadata, &spec, errors);
    spec::validate(&spec, Owner::Pod(metadata.at("name").text()), errors);
    if !spec.at("serviceAccountName").text().is_empty() {
        return;
    }
    for volume in spec.items("volumes") {
        for source in volume.at("projected").items("sources").filter(|source| source.at("serviceAccountToken").is_set())
        {
            let wrong = "must not be specified when serviceAccountName is not set";
            source.at("serviceAccountToken").forbidden(errors, wrong);
        }
    }
}

impl Kind for Pod {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = object.get_mut("spec") {
            defaults::default_pod(spec);
        }
    }

    /// A new pod waits, and has its class of service.
    fn prepare_create(&self, object: &mut Value) {
        strategy::create(object, true);
        let mut status = json!({"phase": "Pending", "qosClass": qos::class(read::at(object, "spec"))});
        if !read::list(object, "spec.schedulingGates").is_empty() {
            let condition = json!({
                "type": "PodScheduled",
                "status": "False",
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            });
            set(&mut status, "conditions", vec![condition]);
        }
        set(object, "status", status);
    }

    fn reset_fields(&self, subresource: &str) -> Reset<'static> {
        match subresource {
            "" => Reset::Fields(&[&["status"]]),
            "status" => {
                Reset::Fields(&[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]])
            }
            "ephemeralcontainers" => Reset::AllBut(&[&["spec", "ephemeralContainers"]]),
            "resize" => Reset::AllBut(&[
                &["spec", "containers", "*", "resources"],
                &["spec", "containers", "*", "resizePolicy"],
                &["spec", "initContainers", "*", "resources"],
                &["spec", "initContainers", "*", "resizePolicy"],
                &["spec", "resources"],
            ]),
            _ => Reset::NONE,
        }
    }

    fn prepare_status_update(&self, object: &mut Value, old: &Value) {
        strategy::status_update(object, old);
        strategy::keep_metadata(object, old, self.reset_fields("status"));
        let class = read::at(old, "status.qosClass").clone();
        if let Some(status) = object.get_mut("status").filter(|_| !class.is_null()) {
            fill(status, "qosClass", class);
        }
    }

    fn prepare_subresource_update(&self, subresource: &str, object: &mut Value, old: &Value) {
        match subresource {
            "ephemeralcontainers" => {
                strategy::keep_metadata(object, old, self.reset_fields(subresource));
                update::take_ephemeral_containers(object, old);
            }
            "resize" => {
                strategy::keep_metadata(object, old, self.reset_fields(subresource));
                update::take_resources(object, old);
            }
            _ => self.prepare_status_update(object, old),
        }
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        crate::podspec::warnings::of_spec(object, "spec")
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        validate_pod(object, &mut errors);
        errors
    }

    fn validate_new(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let spec = At::root(object).at("spec");
        if spec.items("ephemeralContainers").next().is_some() {
            spec.at("ephemeralContainers").forbidden(&mut errors, "cannot be set on create");
        }
        if !spec.at("nodeName").text().is_empty() && spec.items("schedulingGates").next().is_some() {
            let why = "cannot be set until all schedulingGates have been cleared";
            spec.at("nodeName").forbidden(&mut errors, why);
        }
        annotations::validate_profiles(&At::root(object).at("metadata"), &spec, &mut errors);
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> FieldErrors {
        update::validate(object, old)
    }

    fn validate_subresource_update(&self, subresource: &str, object: &Value, old: &Value) -> FieldErrors {
        match subresource {
            "ephemeralcontainers" => update::validate_ephemeral_containers(object, old),
            "resize" => update::validate_resize(object, old),
            _ => status::validate(object, old),
        }
    }

    fn columns(&self) -> Vec<Column<'_>> {
        columns::columns()
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        columns::cells(object, now)
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn fields(&self) -> &'static [&'static str] {
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ]
    }

    fn field(&self, object: &Value, path: &str) -> Option<String> {
        match path {
            "spec.hostNetwork" => Some(read::flag(object, path).to_string()),
            "status.podIPs" => Some(read::text(object, "status.podIP").to_string()),
            path => self.fields().contains(&path).then(|| read::shown(object, path)),
        }
    }

    fn default_grace_period_seconds(&self, object: &Value) -> Option<i64> {
        let own = read::at(object, "spec.terminationGracePeriodSeconds").as_i64();
        Some(own.unwrap_or(GRACE_PERIOD_SECONDS))
    }
}

#[cfg(test)]
mod tests;
