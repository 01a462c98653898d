//! An APIService for every group and version that this server serves itself, so that `kubectl get apiservices` shows
//! all there is, with Kubernetes' order of groups.

use machinery::gvk::GroupVersion;
use machinery::meta;
use serde_json::{Value, json};

use crate::served::Served;

/// Marks the objects that the server keeps up.
pub const MANAGED_LABEL: &str = "kube-aggregator.kubernetes.io/automanaged";
/// The value of [`MANAGED_LABEL`] for groups of custom resources, which come and go.
const MANAGED_CUSTOM: &str = "true";
/// The group of APIServices themselves, which no APIService describes.
const OWN_GROUP: &str = "apiregistration.k8s.io";
/// The order of groups, as Kubernetes numbers it.
const PRIORITIES: [(&str, i64); 20] = [
    ("", 18_000),
    ("apps", 17_800),
    ("events.k8s.io", 17_750),
    ("authentication.k8s.io", 17_700),
    ("authorization.k8s.io", 17_600),
    ("autoscaling", 17_500),
    ("batch", 17_400),
    ("certificates.k8s.io", 17_300),
    ("networking.k8s.io", 17_200),
    ("policy", 17_100),
    ("rbac.authorization.k8s.io", 17_000),
    ("storage.k8s.io", 16_800),
    ("apiextensions.k8s.io", 16_700),
    ("admissionregistration.k8s.io", 16_700),
    ("scheduling.k8s.io", 16_600),
    ("coordination.k8s.io", 16_500),
    ("node.k8s.io", 16_300),
    ("discovery.k8s.io", 16_200),
    ("flowcontrol.apiserver.k8s.io", 16_100),
    ("resource.k8s.io", 15_900),
];
/// Of groups that are not listed.
const PRIORITY_OTHER: i64 = 15_000;

/// The order of groups of custom resources, and of their versions.
const PRIORITY_CUSTOM: (i64, i64) = (1_000, 100);

/// The objects that there should be.
pub fn wanted(served: &Served) -> Vec<Value> {
    let mut versions: Vec<&GroupVersion> = Vec::new();
    for resource in api::registry().resources() {
        let version = &resource.group_version;
        if version.group != OWN_GROUP && !versions.contains(&version) {
            versions.push(version);
        }
    }
    let built_in = versions.len();
    for resource in served.custom() {
        if !versions.contains(&&resource.group_version) {
            versions.push(&resource.group_version);
        }
    }
    let custom = versions.split_off(built_in);
    versions.into_iter().map(object).chain(custom.into_iter().map(custom_object)).collect()
}

/// Whether an object was made for a custom group or version that is served no more.
pub fn is_left_over(object: &Value, wanted: &[Value]) -> bool {
    meta::label(object, MANAGED_LABEL) == Some(MANAGED_CUSTOM)
        && !wanted.iter().any(|wanted| meta::name(wanted) == meta::name(object))
}

fn custom_object(version: &GroupVersion) -> Value {
    let mut made = object(version);
    made["metadata"]["labels"][MANAGED_LABEL] = MANAGED_CUSTOM.into();
    let (group, version) = PRIORITY_CUSTOM;
    made["spec"]["groupPriorityMinimum"] = group.into();
    made["spec"]["versionPriority"] = version.into();
    made
}

fn object(version: &GroupVersion) -> Value {
    let (group, version) = (version.group.as_str(), version.version.as_str());
    let priority = PRIORITIES.iter().find(|(name, _)| *name == group).map_or(PRIORITY_OTHER, |(_, priority)| *priority);
    // Of several versions of a group the highest is preferred.
    let number: i64 = version.trim_start_matches('v').parse().unwrap_or(0);
    json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": format!("{version}.{group}"), "labels": {MANAGED_LABEL: "onstart"}},
        "spec": {
            "group": group,
            "version": version,
            "groupPriorityMinimum": priority,
            "versionPriority": if group.is_empty() { 1 } else { 15 * number.max(1) },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_but_the_aggregators_own_is_described() {
        let wanted = wanted(&Served::default());
        let named = |name: &str| wanted.iter().find(|object| object["metadata"]["name"] == name);
        assert_eq!(named("v1.").map(|object| &object["spec"]["groupPriorityMinimum"]), Some(&json!(18_000)));
        assert_eq!(named("v2.autoscaling").map(|object| &object["spec"]["versionPriority"]), Some(&json!(30)));
        assert!(named("v1.apps").is_some() && named("v1.apiregistration.k8s.io").is_none());
        let resource = api::registry().get(OWN_GROUP, "v1", "apiservices").expect("APIServices are served");
        for object in &wanted {
            assert_eq!(api::metadata::validate_create(resource, object), Vec::new(), "{object}");
        }
    }
}
