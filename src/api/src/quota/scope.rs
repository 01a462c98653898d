//! Which objects a quota is about.

use serde_json::Value;

use super::compute::is_best_effort;
use crate::read;

/// Whether the quota's scopes hold of the object. They are about pods, and `VolumeAttributesClass` about claims; a
/// quota with scopes is about nothing else.
pub fn in_scope(quota: &Value, group: &str, resource: &str, object: &Value) -> bool {
    let selectors = read::list(quota, "spec.scopeSelector.matchExpressions");
    let mut scopes = read::texts(quota, "spec.scopes").peekable();
    if scopes.peek().is_none() && selectors.is_empty() {
        return true;
    }
    let has = |scope: &str| match (group, resource) {
        ("", "pods") => pod_has(scope, object),
        ("", "persistentvolumeclaims") => scope == VOLUME_CLASS && !value_of(scope, object).is_empty(),
        _ => false,
    };
    scopes.all(has)
        && selectors.iter().all(|selector| {
            let scope = read::text(selector, "scopeName");
            let of_this_kind = match (group, resource) {
                ("", "pods") => scope != VOLUME_CLASS,
                ("", "persistentvolumeclaims") => scope == VOLUME_CLASS,
                _ => false,
            };
            let value = value_of(scope, object);
            let among = || read::texts(selector, "values").any(|listed| listed == value);
            of_this_kind
                && match (scope, read::text(selector, "operator")) {
                    (PRIORITY_CLASS | VOLUME_CLASS, "In") => among(),
                    (PRIORITY_CLASS | VOLUME_CLASS, "NotIn") => !among(),
                    (PRIORITY_CLASS | VOLUME_CLASS, "DoesNotExist") => value.is_empty(),
                    (_, "Exists") => has(scope),
                    _ => false,
                }
        })
}

const PRIORITY_CLASS: &str = "PriorityClass";
const VOLUME_CLASS: &str = "VolumeAttributesClass";

/// What a scope compares with its values.
fn value_of<'a>(scope: &str, object: &'a Value) -> &'a str {
    match scope {
        PRIORITY_CLASS => read::text(object, "spec.priorityClassName"),
        VOLUME_CLASS => read::text(object, "spec.volumeAttributesClassName"),
        _ => "",
    }
}

fn pod_has(scope: &str, pod: &Value) -> bool {
    let terminating = read::at(pod, "spec.activeDeadlineSeconds").as_i64().is_some_and(|seconds| seconds >= 0);
    match scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => is_best_effort(pod),
        "NotBestEffort" => !is_best_effort(pod),
        PRIORITY_CLASS => !value_of(scope, pod).is_empty(),
        "CrossNamespacePodAffinity" => reaches_other_namespaces(pod),
        _ => false,
    }
}

/// A term of the pod's affinity or anti-affinity to pods names namespaces.
fn reaches_other_namespaces(pod: &Value) -> bool {
    let names =
        |term: &Value| !read::list(term, "namespaces").is_empty() || read::at(term, "namespaceSelector").is_object();
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let affinity = &pod["spec"]["affinity"][*kind];
        let required = read::list(affinity, "requiredDuringSchedulingIgnoredDuringExecution");
        let preferred = read::list(affinity, "preferredDuringSchedulingIgnoredDuringExecution");
        required.iter().any(names) || preferred.iter().any(|weighted| names(&weighted["podAffinityTerm"]))
    })
}
