//! `commonLabels`, `labels` and `commonAnnotations`: which fields of which kinds they go to.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::LazyLock;

use crate::fieldspec::{FieldSpec, add_pairs};
use crate::kustomization::Kustomization;
use crate::resource::Resource;

/// Kinds with a pod template, and where it is.
const TEMPLATES: [(&str, &str, &str); 8] = [
    ("", "ReplicationController", "spec/template"),
    ("", "Deployment", "spec/template"),
    ("", "ReplicaSet", "spec/template"),
    ("", "DaemonSet", "spec/template"),
    ("apps", "StatefulSet", "spec/template"),
    ("batch", "Job", "spec/template"),
    ("batch", "CronJob", "spec/jobTemplate"),
    ("batch", "CronJob", "spec/jobTemplate/spec/template"),
];

/// Selectors that a label goes to, and whether they are made where they are missing.
const SELECTORS: [(&str, &str, &str, bool); 12] = [
    ("", "Service", "spec/selector", true),
    ("", "ReplicationController", "spec/selector", true),
    ("", "Deployment", "spec/selector/matchLabels", true),
    ("", "ReplicaSet", "spec/selector/matchLabels", true),
    ("", "DaemonSet", "spec/selector/matchLabels", true),
    ("apps", "StatefulSet", "spec/selector/matchLabels", true),
    ("batch", "Job", "spec/selector/matchLabels", false),
    ("batch", "CronJob", "spec/jobTemplate/spec/selector/matchLabels", false),
    ("policy", "PodDisruptionBudget", "spec/selector/matchLabels", false),
    ("networking.k8s.io", "NetworkPolicy", "spec/podSelector/matchLabels", false),
    ("networking.k8s.io", "NetworkPolicy", "spec/ingress/from/podSelector/matchLabels", false),
    ("networking.k8s.io", "NetworkPolicy", "spec/egress/to/podSelector/matchLabels", false),
];

/// Selectors within the pods of Deployments and StatefulSets.
const POD_SELECTORS: [&str; 5] = [
    "affinity/podAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels",
    "affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels",
    "affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels",
    "affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels",
    "topologySpreadConstraints/labelSelector/matchLabels",
];

static METADATA: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| vec![FieldSpec::new("", "", "metadata/labels", true)]);
static TEMPLATE_LABELS: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| template_fields("labels"));
static CLAIM_LABELS: LazyLock<Vec<FieldSpec>> =
    LazyLock::new(|| vec![FieldSpec::new("apps", "StatefulSet", "spec/volumeClaimTemplates[]/metadata/labels", true)]);
static SELECTOR_LABELS: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| {
    let selectors = SELECTORS.iter().map(|(group, kind, path, create)| FieldSpec::new(group, kind, path, *create));
    let of_pods = ["Deployment", "StatefulSet"].into_iter().flat_map(|kind| {
        POD_SELECTORS.iter().map(move |path| FieldSpec::new("apps", kind, &format!("spec/template/spec/{path}"), false))
    });
    selectors.chain(of_pods).collect()
});
static ANNOTATIONS: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| {
    let mut fields = template_fields("annotations");
    fields.push(FieldSpec::new("", "", "metadata/annotations", true));
    fields
});

fn template_fields(name: &str) -> Vec<FieldSpec> {
    TEMPLATES
        .iter()
        .map(|(group, kind, path)| FieldSpec::new(group, kind, &format!("{path}/metadata/{name}"), true))
        .collect()
}

/// Adds the labels and annotations of a kustomization.
pub(crate) fn run(kustomization: &Kustomization, resources: &mut [Resource]) {
    let common = &kustomization.common_labels;
    for fields in [&METADATA, &TEMPLATE_LABELS, &CLAIM_LABELS, &SELECTOR_LABELS] {
        add(common, fields, resources);
    }
    for labels in &kustomization.labels {
        add(&labels.pairs, &METADATA, resources);
        if labels.include_selectors || labels.include_templates {
            add(&labels.pairs, &TEMPLATE_LABELS, resources);
        }
        if labels.include_selectors {
            add(&labels.pairs, &SELECTOR_LABELS, resources);
        }
        if labels.include_selectors || labels.include_volume_claim_templates {
            add(&labels.pairs, &CLAIM_LABELS, resources);
        }
        let fields: Vec<FieldSpec> = labels
            .fields
            .iter()
            .map(|field| FieldSpec {
                version: field.version.clone(),
                ..FieldSpec::new(&field.group, &field.kind, &field.path, field.create)
            })
            .collect();
        add(&labels.pairs, &fields, resources);
    }
    add(&kustomization.common_annotations, &ANNOTATIONS, resources);
}

fn add(pairs: &BTreeMap<String, String>, fields: &[FieldSpec], resources: &mut [Resource]) {
    if pairs.is_empty() {
        return;
    }
    for resource in resources {
        let id = resource.id();
        for field in fields.iter().filter(|field| field.selects(&id)) {
            let Ok(()) = field.visit::<Infallible>(&mut resource.object, &mut |value| {
                add_pairs(value, pairs);
                Ok(())
            });
        }
    }
}
