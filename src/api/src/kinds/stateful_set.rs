//! StatefulSet.

use machinery::field::FieldErrors;
use serde_json::{Value, json};

use super::simple::Simple;
use crate::check::At;
use crate::edit::{fill, items_at, value_at};
use crate::podspec::{defaults, template};
use crate::table::{CONTAINER_COLUMNS, age, age_column, container_cells, name, name_column, text};
use crate::{read, status};

/// The behaviour of StatefulSets.
pub static STATEFUL_SET: Simple = Simple {
    columns: &[
        name_column(),
        text("Ready", "How many pods are ready, of how many wanted."),
        age_column(),
        CONTAINER_COLUMNS[0],
        CONTAINER_COLUMNS[1],
    ],
    cells: |object, now| {
        let ready = format!("{}/{}", read::int(object, "status.readyReplicas"), read::int(object, "spec.replicas"));
        let [containers, images] = container_cells(object, "spec.template.spec");
        vec![name(object), ready.into(), age(object, now), containers, images]
    },
    has_generation: true,
    default,
    validate,
    validate_update,
    validate_status,
    warnings: |object| crate::podspec::warnings::of_spec(object, "spec.template.spec"),
    ..Simple::PLAIN
};

/// What may change of a StatefulSet.
const CHANGEABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

fn default(object: &mut Value) {
    let Some(spec) = object.get_mut("spec") else { return };
    if let Some(pod) = value_at(spec, "template.spec") {
        defaults::default_spec(pod);
    }
    for claim in items_at(spec, "volumeClaimTemplates") {
        fill(claim, "apiVersion", "v1");
        fill(claim, "kind", "PersistentVolumeClaim");
        fill(claim, "status", json!({}));
        fill(&mut claim["status"], "phase", "Pending");
    }
    fill(spec, "updateStrategy", json!({}));
    let Some(strategy) = spec.get_mut("updateStrategy") else { return };
    fill(strategy, "type", "RollingUpdate");
    if read::text(strategy, "type") == "RollingUpdate" {
        fill(strategy, "rollingUpdate", json!({}));
        if let Some(rolling) = strategy.get_mut("rollingUpdate") {
            fill(rolling, "partition", 0);
        }
    }
}

fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    let rolling = spec.at("updateStrategy.rollingUpdate");
    if rolling.is_set() && spec.at("updateStrategy.type").text() == "OnDelete" {
        let wrong = "only allowed for updateStrategy 'RollingUpdate'";
        rolling.invalid(&mut errors, wrong);
    }
    rolling.at("partition").non_negative(&mut errors);
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        spec.at(field).non_negative(&mut errors);
    }
    spec.at("ordinals.start").non_negative(&mut errors);
    let unavailable = rolling.at("maxUnavailable");
    if unavailable.is_set() {
        unavailable.count_or_percent(&mut errors);
        if unavailable.is_zero() {
            unavailable.invalid(&mut errors, "cannot be 0");
        }
        unavailable.at_most_all(&mut errors);
    }
    let with_claims = with_claims(spec.value);
    template::validate_of_workload(&At { value: &with_claims, path: spec.path }, "StatefulSet", &mut errors);
    errors
}

/// The spec with a volume for each claim that pods are made with: their containers mount them by the claims' names.
fn with_claims(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let claims: Vec<Value> = read::list(&spec, "volumeClaimTemplates")
        .iter()
        .map(|claim| read::at(claim, "metadata.name").clone())
        .collect();
    if claims.is_empty() || !spec["template"]["spec"].is_object() {
        return spec;
    }
    let own = read::list(&spec, "template.spec.volumes").iter().filter(|volume| !claims.contains(&volume["name"]));
    let mut volumes: Vec<Value> = own.cloned().collect();
    volumes.extend(
        claims.iter().map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": "made-with-the-pod"}})),
    );
    spec["template"]["spec"]["volumes"] = volumes.into();
    spec
}

fn validate_update(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    let (new, old) = (read::map(object, "spec"), read::map(old, "spec"));
    let changed = new.keys().chain(old.keys()).any(|field| {
        let of = |spec: &serde_json::Map<String, Value>| spec.get(field).cloned().unwrap_or_default();
        !CHANGEABLE.contains(&field.as_str()) && !read::same(&of(new), &of(old))
    });
    if changed {
        let wrong = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                     'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                     'minReadySeconds' are forbidden";
        spec.forbidden(&mut errors, wrong);
    }
    errors
}

fn validate_status(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let at = At::root(object).at("status");
    let parts = ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
    status::replicas(&at, &parts, "status.replicas", "status.readyReplicas", &mut errors);
    status::collisions(&at, old, &mut errors);
    errors
}
