//! Job.

mod spec;
mod status;

use jiff::Timestamp;
use machinery::field::FieldError;
use machinery::field::FieldErrors;
use machinery::{meta, table::human_duration};
use serde_json::Value;

use crate::check::At;
use crate::edit::{fill, items_at, set, value_at};
use crate::podspec::{defaults, template};
use crate::read;
use crate::resource::{Column, Kind};
use crate::strategy;
use crate::table::{
    CONTAINER_COLUMNS, age, age_column, container_cells, has_condition, name, name_column, selector, text, time_at,
    wide,
};

/// The behaviour of Jobs.
pub struct Job;

const COLUMNS: &[Column<'static>] = &[
    name_column(),
    text("Status", "Where the job stands."),
    text("Completions", "How many pods succeeded, of how many wanted."),
    text("Duration", "How long the job ran."),
    age_column(),
    CONTAINER_COLUMNS[0],
    CONTAINER_COLUMNS[1],
    wide("Selector", "The labels of its pods."),
];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let [containers, images] = container_cells(object, "spec.template.spec");
    vec![
        name(object),
        status(object).into(),
        completions(object).into(),
        duration(object, now).into(),
        age(object, now),
        containers,
        images,
        selector(read::at(object, "spec.selector")).into(),
    ]
}

fn status(object: &Value) -> &'static str {
    if has_condition(object, "Complete") {
        "Complete"
    } else if has_condition(object, "Failed") {
        "Failed"
    } else if meta::is_terminating(object) {
        "Terminating"
    } else if has_condition(object, "Suspended") {
        "Suspended"
    } else if has_condition(object, "FailureTarget") {
        "FailureTarget"
    } else if has_condition(object, "SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn completions(object: &Value) -> String {
    let succeeded = read::int(object, "status.succeeded");
    match (read::at(object, "spec.completions").as_i64(), read::int(object, "spec.parallelism")) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration(object: &Value, now: Timestamp) -> String {
    let Some(start) = time_at(object, "status.startTime") else { return String::new() };
    let end = time_at(object, "status.completionTime").unwrap_or(now);
    human_duration(end.duration_since(start).as_millis())
}

const NO_RETRY_LIMIT: i64 = i32::MAX as i64;
const DEFAULT_RETRIES: i64 = 6;
const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";

impl Kind for Job {
    fn default(&self, object: &mut Value) {
        default(object);
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn prepare_create(&self, object: &mut Value) {
        strategy::create(object, true);
        own_pods(object);
    }

    fn name_chosen(&self, object: &mut Value) {
        own_pods(object);
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        crate::podspec::warnings::of_spec(object, "spec.template.spec")
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let spec = At::root(object).at("spec");
        generated_selector(object, &mut errors);
        validate_spec(&spec, &mut errors);
        pod_names(object, &mut errors);
        if !spec.at("selector").is_set() {
            spec.at("selector").required(&mut errors, "");
        } else {
            crate::check::label_selector(&spec.at("selector"), &mut errors);
            template::validate_labels_match(&spec.at("selector"), &spec.at("template"), &mut errors);
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, old) = (At::root(object).at("spec"), read::at(old, "spec"));
        spec.at("selector").immutable(&mut errors, read::at(old, "selector"));
        spec.at("completionMode").immutable(&mut errors, read::at(old, "completionMode"));
        completions_kept(&spec, old, &mut errors);
        let before = read::at(old, "template");
        match read::flag(old, "suspend") {
            true => spec.at("template").immutable(&mut errors, &placed_as(before, spec.at("template").value)),
            false => spec.at("template").immutable(&mut errors, before),
        }
        for field in ["podFailurePolicy", "successPolicy", "backoffLimitPerIndex", "managedBy"] {
            spec.at(field).immutable(&mut errors, read::at(old, field));
        }
        errors
    }

    fn validate_subresource_update(&self, _subresource: &str, object: &Value, old: &Value) -> FieldErrors {
        status::validate(object, old)
    }

    fn columns(&self) -> Vec<Column<'_>> {
        COLUMNS.to_vec()
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        cells(object, now)
    }

    fn fields(&self) -> &'static [&'static str] {
        &["status.successful"]
    }

    fn field(&self, object: &Value, path: &str) -> Option<String> {
        (path == "status.successful").then(|| read::int(object, "status.succeeded").to_string())
    }
}

fn default(object: &mut Value) {
    let labels = read::at(object, "spec.template.metadata.labels").clone();
    if labels.as_object().is_some_and(|labels| !labels.is_empty())
        && read::map(object, "metadata.labels").is_empty()
        && let Some(metadata) = object.get_mut("metadata")
    {
        set(metadata, "labels", labels);
    }
    let Some(spec) = object.get_mut("spec") else { return };
    if let Some(pod) = value_at(spec, "template.spec") {
        defaults::default_spec(pod);
    }
    if !read::is_set(spec, "completions") && !read::is_set(spec, "parallelism") {
        fill(spec, "completions", 1);
    }
    fill(spec, "parallelism", 1);
    let has_own_limits = read::is_set(spec, "backoffLimitPerIndex");
    fill(spec, "backoffLimit", if has_own_limits { NO_RETRY_LIMIT } else { DEFAULT_RETRIES });
    fill(spec, "completionMode", "NonIndexed");
    fill(spec, "suspend", false);
    let replacement = if read::is_set(spec, "podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    fill(spec, "podReplacementPolicy", replacement);
    for rule in items_at(spec, "podFailurePolicy.rules") {
        items_at(rule, "onPodConditions").for_each(|pattern| fill(pattern, "status", "True"));
    }
}

/// A job finds its pods by its own uid, unless it asks to choose them itself.
fn own_pods(object: &mut Value) {
    let (uid, name) = (meta::uid(object).to_string(), meta::name(object).to_string());
    let Some(spec) = object.get_mut("spec") else { return };
    if read::flag(spec, "manualSelector") || !read::is_set(spec, "template") {
        return;
    }
    fill(&mut spec["template"], "metadata", serde_json::json!({}));
    let labels =
        [(UID_LABEL, &uid), ("controller-uid", &uid), ("batch.kubernetes.io/job-name", &name), ("job-name", &name)];
    for (key, value) in labels {
        meta::set_label(&mut spec["template"], key, value);
    }
    fill(spec, "selector", serde_json::json!({}));
    fill(&mut spec["selector"], "matchLabels", serde_json::json!({}));
    fill(&mut spec["selector"]["matchLabels"], UID_LABEL, uid);
}

pub(super) use spec::validate as validate_spec;

/// A job that does not choose its pods itself knows them by labels that it has given them.
fn generated_selector(object: &Value, errors: &mut FieldErrors) {
    let spec = At::root(object).at("spec");
    if spec.at("manualSelector").is_true() || !spec.at("selector").is_set() {
        return;
    }
    let (uid, name) = (meta::uid(object), meta::name(object));
    let labels = spec.at("template.metadata.labels");
    let expected =
        [("controller-uid", uid), ("job-name", name), (UID_LABEL, uid), ("batch.kubernetes.io/job-name", name)];
    for (key, value) in expected {
        let found = labels.key(key);
        let wrong = format!("must be '{value}'");
        if !found.is_set() {
            found.required(errors, &wrong);
        } else if found.text() != value {
            errors.push(FieldError::invalid(&found.path, labels.value.clone(), wrong));
        }
    }
    let generated: serde_json::Map<String, Value> =
        expected.iter().map(|(key, value)| (key.to_string(), (*value).into())).collect();
    let selects = machinery::selector::LabelSelector::from_json(Some(spec.at("selector").value))
        .is_ok_and(|selector| selector.matches_object(&serde_json::json!({"metadata": {"labels": generated}})));
    if !selects {
        spec.at("selector").invalid(errors, "`selector` not auto-generated");
    }
}

/// The pods of a job with places are hosts called after it and their place.
fn pod_names(object: &Value, errors: &mut FieldErrors) {
    let spec = read::at(object, "spec");
    let count = read::int(spec, "completions");
    if read::text(spec, "completionMode") != "Indexed" || count <= 0 {
        return;
    }
    let last = format!("{}-{}", meta::name(object), count - 1);
    if !machinery::names::dns1123_label(&last).is_empty() {
        let wrong = format!("will not able to create pod with invalid DNS label: {last}");
        At::root(object).at("metadata.name").invalid(errors, wrong);
    }
}

/// How many are wanted stays, but that a job with places grows and shrinks as a whole.
fn completions_kept(spec: &At<'_>, old: &Value, errors: &mut FieldErrors) {
    let completions = spec.at("completions");
    if spec.at("completionMode").text() != "Indexed" {
        completions.immutable(errors, read::at(old, "completions"));
    } else if completions.is_set()
        && !read::same(completions.value, read::at(old, "completions"))
        && completions.value != spec.at("parallelism").value
    {
        completions.invalid(errors, "can only be modified in tandem with spec.parallelism");
    }
}

/// The template as it was, with what of the new one may differ while the job is suspended: where its pods run, what
/// they are labelled with, and the resources of its containers (KEP-2926, KEP-5440).
fn placed_as(before: &Value, new: &Value) -> Value {
    let mut template = before.clone();
    let mut take = |path: &[&str]| {
        let Some((field, parents)) = path.split_last() else { return };
        let mut at = &mut template;
        for parent in parents {
            fill(at, parent, serde_json::json!({}));
            at = &mut at[*parent];
        }
        set(at, field, read::at(new, &path.join(".")).clone());
    };
    let paths: [&[&str]; 6] = [
        &["metadata", "labels"],
        &["metadata", "annotations"],
        &["spec", "nodeSelector"],
        &["spec", "tolerations"],
        &["spec", "schedulingGates"],
        &["spec", "affinity", "nodeAffinity"],
    ];
    paths.into_iter().for_each(&mut take);
    if !read::is_set(new, "spec.affinity") && read::same(&template["spec"]["affinity"], &Value::Null) {
        set(&mut template["spec"], "affinity", Value::Null);
    }
    for list in ["containers", "initContainers"] {
        for (container, new) in
            items_at(&mut template, &format!("spec.{list}")).zip(read::list(new, &format!("spec.{list}")))
        {
            set(container, "resources", read::at(new, "resources").clone());
        }
    }
    template
}
