//! The template that workloads make pods from.

use machinery::field::FieldErrors;
use machinery::selector::LabelSelector;
use serde_json::Value;

use super::annotations;
use super::spec::{self, Owner};
use crate::check::At;
use crate::metadata::{validate_annotations, validate_labels};
use crate::read;

/// Everything that is wrong with a template, with no regard to its owner.
pub(crate) fn validate(template: &At<'_>, errors: &mut FieldErrors) {
    let labels = template.at("metadata.labels");
    errors.extend(validate_labels(labels.value, &labels.path));
    let texts = template.at("metadata.annotations");
    errors.extend(validate_annotations(texts.value, &texts.path));
    annotations::validate(&template.at("metadata"), &template.at("spec"), errors);
    spec::validate(&template.at("spec"), Owner::Template, errors);
    annotations::validate_profiles(&template.at("metadata"), &template.at("spec"), errors);
    if !read::list(template.value, "spec.ephemeralContainers").is_empty() {
        let wrong = "ephemeral containers not allowed in pod template";
        template.at("spec.ephemeralContainers").forbidden(errors, wrong);
    }
}

/// Everything that is wrong with the selector and template of a workload whose pods run for ever.
///
/// `kind` is the owner's kind, `Deployment` or `DaemonSet`.
pub(crate) fn validate_of_workload(spec: &At<'_>, kind: &str, errors: &mut FieldErrors) {
    let owner = kind.to_lowercase();
    let selector = spec.at("selector");
    if selector.is_set() {
        errors.extend(machinery::selector::label::validate(selector.value, &selector.path));
        if is_empty(selector.value) {
            selector.invalid(errors, format!("empty selector is invalid for {owner}"));
        }
    } else if kind != "DaemonSet" {
        // Of a DaemonSet Kubernetes says only that its template does not match.
        selector.required(errors, "");
    }
    let template = spec.at("template");
    validate_labels_match(&selector, &template, errors);
    validate(&template, errors);
    validate_runs_for_ever(&template, kind, errors);
}

/// A selector that says nothing.
pub(crate) fn is_empty(selector: &Value) -> bool {
    read::map(selector, "matchLabels").is_empty() && read::list(selector, "matchExpressions").is_empty()
}

/// The template's pods are the selector's. No selector selects nothing, an empty one everything.
pub(crate) fn validate_labels_match(selector: &At<'_>, template: &At<'_>, errors: &mut FieldErrors) {
    let Ok(parsed) = LabelSelector::from_json(Some(selector.value)) else { return };
    let pod = read::at(template.value, "metadata");
    let selects =
        selector.is_set() && (is_empty(selector.value) || parsed.matches_object(&serde_json::json!({"metadata": pod})));
    if !selects {
        template.at("metadata.labels").invalid(errors, "`selector` does not match template `labels`");
    }
}

/// Pods that are replaced when they end must be of those that never do.
pub(crate) fn validate_runs_for_ever(template: &At<'_>, kind: &str, errors: &mut FieldErrors) {
    let policy = template.at("spec.restartPolicy");
    if !matches!(policy.text(), "" | "Always") {
        policy.not_supported(errors, &["Always"]);
    }
    let deadline = template.at("spec.activeDeadlineSeconds");
    if deadline.is_set() {
        // A Deployment's template is one of its ReplicaSets.
        let kind = if kind == "Deployment" { "ReplicaSet" } else { kind };
        deadline.forbidden(errors, &format!("activeDeadlineSeconds in {kind} is not Supported"));
    }
}
