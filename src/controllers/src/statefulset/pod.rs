//! A StatefulSet's pods and claims: what their names, labels and volumes are.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;

use super::plan::ordinal;
use crate::common::owners::controller_reference;
use crate::common::pods::from_template;
use crate::common::revisions::HASH_LABEL;

const NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
const INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

/// The pod of an ordinal, from a revision's template.
pub fn make(set: &StatefulSet, template: &PodTemplateSpec, ordinal: i32, revision: &str) -> Pod {
    let name = format!("{}-{ordinal}", set.name_any());
    let namespace = set.namespace().unwrap_or_default();
    let mut pod = from_template(template, String::new(), &namespace, controller_reference(set));
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(name.clone());
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(NAME_LABEL.to_string(), name.clone());
    labels.insert(INDEX_LABEL.to_string(), ordinal.to_string());
    labels.insert(HASH_LABEL.to_string(), revision.to_string());
    if let Some(spec) = pod.spec.as_mut() {
        spec.hostname = Some(name);
        spec.subdomain = set.spec.service_name.clone().filter(|service| !service.is_empty());
        let volumes = spec.volumes.get_or_insert_default();
        for claim in claims(set, ordinal) {
            let template = claim.1;
            volumes.retain(|volume| volume.name != template);
            let source = PersistentVolumeClaimVolumeSource { claim_name: claim.0.name_any(), read_only: None };
            volumes.push(Volume { name: template, persistent_volume_claim: Some(source), ..Volume::default() });
        }
    }
    pod
}

/// The claims of an ordinal, each with the name of its template.
pub fn claims(set: &StatefulSet, ordinal: i32) -> Vec<(PersistentVolumeClaim, String)> {
    let templates = set.spec.volume_claim_templates.iter().flatten();
    let goes_with_set = retention(set, |policy| policy.when_deleted.clone());
    let claim = |template: &PersistentVolumeClaim| {
        let mut claim = template.clone();
        let name = template.name_any();
        claim.metadata.name = Some(format!("{name}-{}-{ordinal}", set.name_any()));
        claim.metadata.namespace = set.namespace();
        let labels = claim.metadata.labels.get_or_insert_default();
        labels.extend(set.spec.selector.match_labels.clone().unwrap_or_default());
        if goes_with_set {
            claim.metadata.owner_references = Some(vec![reference(set)]);
        }
        claim.status = None;
        (claim, name)
    };
    templates.map(claim).collect()
}

/// The names of the claims that go with a pod that the set has no place for any more.
pub fn claims_that_go(set: &StatefulSet, pod: &Pod) -> Vec<String> {
    let Some(ordinal) = ordinal(set, pod).filter(|_| retention(set, |policy| policy.when_scaled.clone())) else {
        return Vec::new();
    };
    claims(set, ordinal).iter().map(|(claim, _)| claim.name_any()).collect()
}

/// The owners of a claim that goes with its pod from now on: the pod instead of the set, and whoever else there is.
pub fn owners_with(set: &StatefulSet, pod: &Pod, owners: &[OwnerReference]) -> Vec<OwnerReference> {
    let of_pod = OwnerReference { controller: None, block_owner_deletion: None, ..controller_reference(pod) };
    let set = set.metadata.uid.as_deref().unwrap_or_default();
    let mut all: Vec<OwnerReference> = owners.iter().filter(|owner| owner.uid != set).cloned().collect();
    if !all.iter().any(|owner| owner.uid == of_pod.uid) {
        all.push(of_pod);
    }
    all
}

fn retention(
    set: &StatefulSet,
    of: impl Fn(&k8s_openapi::api::apps::v1::StatefulSetPersistentVolumeClaimRetentionPolicy) -> Option<String>,
) -> bool {
    let policy = set.spec.persistent_volume_claim_retention_policy.as_ref();
    policy.and_then(of).as_deref() == Some("Delete")
}

fn reference(set: &StatefulSet) -> OwnerReference {
    OwnerReference { controller: None, block_owner_deletion: None, ..controller_reference(set) }
}
