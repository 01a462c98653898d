//! What may change of a pod once it is there.

use std::collections::BTreeMap;

use machinery::field::{FieldError, FieldErrors, Path};
use machinery::meta;
use machinery::quantity::Quantity;
use serde_json::{Value, json};

use crate::check::At;
use crate::edit::{items_at, remove, set};
use crate::podspec::{annotations, qos};
use crate::{read, strategy};

const CHANGEABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
                          `spec.tolerations` (only additions to existing tolerations),\
                          `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Everything that is wrong with a change of the pod itself.
pub(super) fn validate(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    annotations::validate_update(&At::root(object).at("metadata"), read::at(old, "metadata"), &mut errors);
    let (new, old_spec) = (At::root(object).at("spec"), read::at(old, "spec"));
    for list in ["containers", "initContainers"] {
        if read::list(new.value, list).len() != read::list(old_spec, list).len() {
            new.at(list).forbidden(&mut errors, "pod updates may not add or remove containers");
            return errors;
        }
    }
    deadline(&new, old_spec, &mut errors);
    tolerations(&new, old_spec, &mut errors);
    let was_gated = !read::list(old_spec, "schedulingGates").is_empty();
    for gate in new.items("schedulingGates") {
        if !read::list(old_spec, "schedulingGates").contains(gate.value) {
            let name = gate.at("name");
            let wrong = format!("only deletion is allowed, but found new scheduling gate '{}'", name.text());
            name.forbidden(&mut errors, &wrong);
        }
    }
    if was_gated {
        placement(&new, old_spec, &mut errors);
    }
    let munged = with_changeable_fields_of(new.value, old_spec, was_gated);
    if !read::same(&munged, old_spec) {
        let changed = changed_fields(&munged, old_spec);
        let wrong = format!("pod updates may not change fields other than {CHANGEABLE}\nchanged: {changed}");
        new.forbidden(&mut errors, &wrong);
    }
    errors
}

fn deadline(new: &At<'_>, old: &Value, errors: &mut FieldErrors) {
    let deadline = new.at("activeDeadlineSeconds");
    match (deadline.int(), read::at(old, "activeDeadlineSeconds").as_i64()) {
        (Some(new), Some(old)) if new > old => {
            deadline.invalid(errors, "must be less than or equal to previous value");
        }
        (None, Some(_)) => deadline.invalid(errors, "must not update from a positive integer to nil value"),
        _ => {}
    }
}

fn tolerations(new: &At<'_>, old: &Value, errors: &mut FieldErrors) {
    let identity = |toleration: &Value| -> Value {
        let mut identity = toleration.clone();
        remove(&mut identity, "tolerationSeconds");
        identity
    };
    let kept: Vec<Value> = read::list(new.value, "tolerations").iter().map(identity).collect();
    let lost =
        read::list(old, "tolerations").iter().map(identity).any(|old| !kept.iter().any(|new| read::same(new, &old)));
    if lost {
        let wrong = "existing toleration can not be modified except its tolerationSeconds";
        new.at("tolerations").forbidden(errors, wrong);
    }
}

/// The new spec with what may change as it was, so that whatever differs still may not.
fn with_changeable_fields_of(new: &Value, old: &Value, was_gated: bool) -> Value {
    let mut munged = new.clone();
    for list in ["containers", "initContainers"] {
        for (container, old) in items_at(&mut munged, list).zip(read::list(old, list)) {
            restore(container, old, "image");
        }
    }
    let mut changeable = vec!["activeDeadlineSeconds", "tolerations", "schedulingGates"];
    let shortened =
        read::int(old, "terminationGracePeriodSeconds") < 0 && read::int(new, "terminationGracePeriodSeconds") == 1;
    if shortened {
        changeable.push("terminationGracePeriodSeconds");
    }
    if was_gated {
        // What of these may not be is said by itself.
        changeable.push("nodeSelector");
        let mut affinity = read::at(new, "affinity").clone();
        match read::at(old, "affinity.nodeAffinity") {
            Value::Null => drop(remove(&mut affinity, "nodeAffinity")),
            before if affinity.is_null() => affinity = json!({ "nodeAffinity": before }),
            before => set(&mut affinity, "nodeAffinity", before.clone()),
        }
        let is_empty = read::same(&affinity, &Value::Null) && !read::is_set(old, "affinity");
        set(&mut munged, "affinity", if is_empty { Value::Null } else { affinity });
    }
    changeable.into_iter().for_each(|field| restore(&mut munged, old, field));
    munged
}

fn restore(object: &mut Value, old: &Value, field: &str) {
    match old.get(field) {
        Some(value) => set(object, field, value.clone()),
        None => drop(remove(object, field)),
    }
}

/// A gated pod may be kept from more nodes, not from fewer.
fn placement(new: &At<'_>, old: &Value, errors: &mut FieldErrors) {
    let labels = read::map(new.value, "nodeSelector");
    if read::map(old, "nodeSelector").iter().any(|(key, value)| labels.get(key) != Some(value)) {
        let wrong = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        new.at("nodeSelector").invalid(errors, wrong);
    }
    const TERMS: &str = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    let (terms, before) = (new.at(TERMS), read::list(old, TERMS));
    let now = read::list(new.value, TERMS);
    if !before.is_empty() && before.len() != now.len() {
        terms.invalid(errors, "no additions/deletions to non-empty NodeSelectorTerms list are allowed");
        return;
    }
    for (index, (term, before)) in now.iter().zip(before).enumerate() {
        if !has_only_more(term, before) {
            let term = At { value: term, path: terms.path.index(index) };
            term.invalid(errors, "only additions are allowed (no mutations or deletions)");
        }
    }
}

/// Whether a term requires what it did and perhaps more. One that matched nothing still does.
fn has_only_more(term: &Value, before: &Value) -> bool {
    let lists = ["matchExpressions", "matchFields"];
    let is_empty = |term: &Value| lists.iter().all(|list| read::list(term, list).is_empty());
    let begins = |list: &str| {
        let (now, before) = (read::list(term, list), read::list(before, list));
        now.len() >= before.len() && now.iter().zip(before).all(|(now, before)| read::same(now, before))
    };
    (!is_empty(before) || is_empty(term)) && lists.iter().all(|list| begins(list))
}

fn changed_fields(new: &Value, old: &Value) -> String {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return "spec".to_string() };
    let mut names: Vec<&str> = new
        .keys()
        .chain(old.keys())
        .filter(|name| {
            let of = |spec: &serde_json::Map<String, Value>| spec.get(*name).cloned().unwrap_or_default();
            !read::same(&of(new), &of(old))
        })
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names.dedup();
    names.iter().map(|name| format!("spec.{name}")).collect::<Vec<_>>().join(", ")
}

/// The `ephemeralcontainers` subresource changes these only.
pub(super) fn take_ephemeral_containers(object: &mut Value, old: &Value) {
    let wanted = read::at(object, "spec.ephemeralContainers").clone();
    strategy::status_update(object, old);
    strategy::keep(object, old, "status");
    if let Some(spec) = object.get_mut("spec") {
        set(spec, "ephemeralContainers", if wanted.is_null() { json!([]) } else { wanted });
    }
    raise_generation(object, old);
}

/// The `resize` subresource changes containers' resources only.
pub(super) fn take_resources(object: &mut Value, old: &Value) {
    let wanted = read::at(object, "spec").clone();
    strategy::status_update(object, old);
    strategy::keep(object, old, "status");
    for list in ["containers", "initContainers"] {
        for container in items_at(object, &format!("spec.{list}")) {
            let found = read::list(&wanted, list).iter().find(|found| found["name"] == container["name"]);
            for field in ["resources", "resizePolicy"] {
                if let Some(found) = found {
                    restore(container, found, field);
                }
            }
        }
    }
    if let Some(spec) = object.get_mut("spec") {
        restore(spec, &wanted, "resources");
    }
    raise_generation(object, old);
}

fn raise_generation(object: &mut Value, old: &Value) {
    if !read::same(read::at(object, "spec"), read::at(old, "spec")) {
        meta::set_generation(object, meta::generation(old) + 1);
    }
}

/// Ephemeral containers can be added; those that are there stay as they are.
pub(super) fn validate_ephemeral_containers(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if meta::annotation(old, annotations::MIRROR).is_some() {
        let wrong = "static pods do not support ephemeral containers";
        return vec![FieldError::forbidden(&Path::default(), wrong)];
    }
    let spec = At::root(object).at("spec");
    super::validate_pod(object, &mut errors);
    annotations::validate_update(&At::root(object).at("metadata"), read::at(old, "metadata"), &mut errors);
    let list = spec.at("ephemeralContainers");
    for kept in read::list(old, "spec.ephemeralContainers") {
        let name = read::text(kept, "name");
        match read::list(object, "spec.ephemeralContainers").iter().find(|found| found["name"] == kept["name"]) {
            Some(found) if read::same(found, kept) => {}
            Some(_) => {
                list.forbidden(&mut errors, &format!("existing ephemeral containers {name:?} may not be changed\n"));
            }
            None => {
                list.forbidden(&mut errors, &format!("existing ephemeral containers {name:?} may not be removed\n"));
            }
        }
    }
    errors
}

/// A pod keeps its class of service and its resources; how a resize would be done may be said.
pub(super) fn validate_resize(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if meta::annotation(old, annotations::MIRROR).is_some() {
        return vec![FieldError::forbidden(&Path::default(), "static pods cannot be resized")];
    }
    let spec = At::root(object).at("spec");
    super::validate_pod(object, &mut errors);
    if qos::class(spec.value) != qos::class(read::at(old, "spec")) {
        spec.invalid(&mut errors, "Pod QOS Class may not change as a result of resizing");
    }
    // Nobody would carry it out: the agent gives containers their resources when it makes them.
    let remedy =
        "the nodes of this cluster do not resize running pods: delete the pod and create it with other resources";
    for list in ["containers", "initContainers"] {
        let before = read::list(old, &format!("spec.{list}"));
        let resized = spec.items(list).filter(|container| {
            let found = before.iter().find(|found| found["name"] == container.value["name"]);
            found.is_some_and(|found| !same_resources(read::at(found, "resources"), container.at("resources").value))
        });
        resized.for_each(|container| container.at("resources").forbidden(&mut errors, remedy));
    }
    if !same_resources(spec.at("resources").value, read::at(old, "spec.resources")) {
        spec.at("resources").forbidden(&mut errors, remedy);
    }
    errors
}

/// Whether two `resources` ask for the same, however the amounts are written.
fn same_resources(new: &Value, old: &Value) -> bool {
    let amounts = |resources: &Value, kind: &str| -> BTreeMap<String, Option<Quantity>> {
        let list = read::map(resources, kind).iter();
        list.map(|(name, amount)| (name.clone(), read::scalar(amount).parse().ok())).collect()
    };
    let same = |kind: &str| amounts(new, kind) == amounts(old, kind);
    same("requests") && same("limits") && read::same(read::at(new, "claims"), read::at(old, "claims"))
}
