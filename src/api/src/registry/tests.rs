use super::*;

#[test]
fn every_resource_of_the_stable_groups_is_served() {
    let registry = registry();
    assert_eq!(registry.resources().len(), 72);
    let subresources: usize = registry.resources().iter().map(|resource| resource.subresources.len()).sum();
    assert_eq!(subresources, 48);
    assert_eq!(registry.groups().len(), 22);
    let groups: Vec<&str> = registry.groups().iter().map(|(group, _)| *group).take(4).collect();
    assert_eq!(groups, ["", "apiregistration.k8s.io", "apiextensions.k8s.io", "admissionregistration.k8s.io"]);
}

#[test]
fn resources_are_found_by_plural_and_kind() {
    let registry = registry();
    let pods = registry.get("", "v1", "pods").expect("served");
    assert_eq!((pods.kind.as_ref(), pods.singular.as_ref(), pods.namespaced), ("Pod", "pod", true));
    assert_eq!(pods.subresource("binding").map(|found| found.kind.as_ref()), Some("Binding"));
    assert_eq!(registry.by_kind("apps", "v1", "Deployment").map(|found| found.plural.as_ref()), Some("deployments"));
    assert!(!registry.get("", "v1", "nodes").expect("served").namespaced);
    assert!(registry.get("apps", "v2", "deployments").is_none());
    assert_eq!(
        registry.preferred("autoscaling", "horizontalpodautoscalers").map(|found| found.group_version.version.as_str()),
        Some("v2")
    );
}

#[test]
fn two_versions_of_one_resource_are_stored_as_one() {
    let registry = registry();
    for (group, plural) in [("autoscaling", "horizontalpodautoscalers"), ("events.k8s.io", "events")] {
        let served = registry.get(group, "v1", plural).expect("served");
        assert!(!std::ptr::eq(registry.stored_as(served), served));
    }
    let pods = registry.get("", "v1", "pods").expect("served");
    assert!(std::ptr::eq(registry.stored_as(pods), pods));
}

#[test]
fn names_are_unique_within_a_version_and_columns_begin_with_the_name() {
    let mut seen = std::collections::HashSet::new();
    for resource in registry().resources() {
        assert!(seen.insert((resource.group_version.to_string(), resource.plural.clone())));
        assert!(resource.definitions().0.contains_key(&*resource.schema_name), "{}", resource.schema_name);
        let columns = resource.behaviour.columns();
        let cells = resource.behaviour.cells(&serde_json::json!({}), jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(columns.len(), cells.len(), "{}", resource.kind);
    }
}

#[test]
fn all_schemas_are_made_fast() {
    let started = std::time::Instant::now();
    for resource in registry().resources() {
        resource.definitions();
    }
    // Unoptimised and on a busy machine; a release build takes a tenth.
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    println!("{:?}", started.elapsed());
}
