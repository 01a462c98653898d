use serde_json::{Value, json};

use super::*;

fn service(spec: Value) -> Service {
    let mut all = json!({"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "web"}]});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(
        json!({"metadata": {"name": "web", "namespace": "n", "uid": "s", "labels": {"team": "x"}}, "spec": all}),
    )
    .unwrap()
}

fn pod(name: &str, ip: &str, ready: bool, port: i32) -> Arc<Pod> {
    let status = if ready { "True" } else { "False" };
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "n", "uid": name, "labels": {"app": "web"}},
            "spec": {"nodeName": "w1", "hostname": name, "subdomain": "web", "containers": [
                {"name": "c", "ports": [{"name": "web", "containerPort": port}]}]},
            "status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": status}]}}))
        .unwrap(),
    )
}

fn leaving(pod: &Arc<Pod>) -> Arc<Pod> {
    let mut pod = pod.as_ref().clone();
    pod.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
    Arc::new(pod)
}

fn slices(
    service: &Service,
    pods: &[Arc<Pod>],
    existing: &[Arc<k8s_openapi::api::discovery::v1::EndpointSlice>],
) -> slices::Plan {
    let wanted = vec![(Family::V4, members(service, pods, Family::V4))];
    slices::plan(service, &wanted, existing, |node| (node == "w1").then(|| "zone-a".to_string()))
}

#[test]
fn members_show_readiness_leaving_and_their_own_number_of_a_named_port() {
    let pods = [
        pod("a", "10.0.0.1", true, 8080),
        pod("b", "10.0.0.2", false, 8080),
        leaving(&pod("c", "10.0.0.3", true, 8080)),
        pod("d", "10.0.0.4", true, 9090),
        pod("no-address-yet", "", false, 8080),
    ];
    let groups = members(&service(json!({})), &pods, Family::V4);
    let states: Vec<_> = groups
        .iter()
        .flat_map(|(ports, members)| members.iter().map(move |m| (ports[0].port, m.ready, m.serving, m.terminating)))
        .collect();
    let expected =
        [(8080, true, true, false), (8080, false, false, false), (8080, false, true, true), (9090, true, true, false)];
    assert_eq!(states, expected);
    let publishing = members(&service(json!({"publishNotReadyAddresses": true})), &pods, Family::V4);
    assert!(publishing.values().flatten().all(|member| member.ready));
    assert_eq!(groups.values().next().unwrap()[0].hostname.as_deref(), Some("a"));
    let none = members(&service(json!({"ports": [{"port": 1, "targetPort": "other"}]})), &pods, Family::V4);
    assert!(none.is_empty());
    assert_eq!(members(&service(json!({"ports": []})), &pods, Family::V4).keys().next().unwrap().len(), 0);
}

#[test]
fn a_service_without_endpoints_has_one_empty_slice() {
    let plan = slices(&service(json!({})), &[], &[]);
    assert_eq!((plan.create.len(), plan.create[0].endpoints.as_ref().unwrap().len()), (1, 0));
    let existing = Arc::new(plan.create[0].clone());
    let again = slices(&service(json!({})), &[], std::slice::from_ref(&existing));
    assert!(again.create.is_empty() && again.update.is_empty() && again.delete.is_empty());
    let filled = slices(&service(json!({})), &[pod("a", "10.0.0.1", true, 80)], std::slice::from_ref(&existing));
    assert_eq!((filled.create.len(), filled.delete), (1, vec![existing.name_any()]));
}

#[test]
fn a_change_of_one_pod_changes_one_slice() {
    let mut pods: Vec<Arc<Pod>> =
        (0..150).map(|n| pod(&format!("p{n:03}"), &format!("10.0.1.{n}"), true, 80)).collect();
    let first = slices(&service(json!({})), &pods, &[]);
    let sizes: Vec<usize> = first.create.iter().map(|slice| slice.endpoints.as_ref().unwrap().len()).collect();
    assert_eq!(sizes, [100, 50]);
    assert_ne!(first.create[0].name_any(), first.create[1].name_any());
    let slice = &first.create[0];
    assert_eq!(slice.labels()["kubernetes.io/service-name"], "web");
    assert_eq!(slice.labels()["team"], "x");
    assert_eq!(slice.endpoints.as_ref().unwrap()[0].zone.as_deref(), Some("zone-a"));
    let existing: Vec<_> = first.create.into_iter().map(Arc::new).collect();
    let again = slices(&service(json!({})), &pods, &existing);
    assert!(again.create.is_empty() && again.update.is_empty() && again.delete.is_empty());
    pods[7] = pod("p007", "10.0.1.7", false, 80);
    let changed = slices(&service(json!({})), &pods, &existing);
    assert_eq!((changed.create.len(), changed.update.len(), changed.delete.len()), (0, 1, 0));
    pods.truncate(100);
    let fewer = slices(&service(json!({})), &pods, &existing);
    assert_eq!(fewer.delete.len(), 1);
    let headless = slices(&service(json!({"clusterIP": "None"})), &pods, &existing[..1]);
    assert!(headless.update[0].labels().contains_key("service.kubernetes.io/headless"));
}

#[test]
fn endpoints_list_ready_and_not_ready_addresses() {
    let pods =
        [pod("a", "10.0.0.1", true, 80), pod("b", "10.0.0.2", false, 80), leaving(&pod("c", "10.0.0.3", true, 80))];
    let made = legacy::plan(&service(json!({})), &pods, None).unwrap();
    let subset = &made.subsets.as_ref().unwrap()[0];
    let ips = |list: &Option<Vec<k8s_openapi::api::core::v1::EndpointAddress>>| -> Vec<String> {
        list.iter().flatten().map(|address| address.ip.clone()).collect()
    };
    assert_eq!(ips(&subset.addresses), ["10.0.0.1"]);
    assert_eq!(ips(&subset.not_ready_addresses), ["10.0.0.2"]);
    assert!(legacy::plan(&service(json!({})), &pods, Some(&made)).is_none(), "nothing to change");
    let emptied = legacy::plan(&service(json!({})), &[], Some(&made)).unwrap();
    assert!(emptied.subsets.is_none());
    let many: Vec<Arc<Pod>> =
        (0..1100).map(|n| pod(&format!("p{n}"), &format!("10.0.{}.{}", n / 200, n % 200), n >= 200, 80)).collect();
    let made = legacy::plan(&service(json!({})), &many, None).unwrap();
    assert_eq!(made.annotations()["endpoints.kubernetes.io/over-capacity"], "truncated");
    assert_eq!(made.subsets.unwrap()[0].addresses.as_ref().unwrap().len(), 900);
}

#[test]
fn endpoints_are_for_their_zone_or_node_as_the_service_prefers() {
    let pods = [pod("a", "10.42.1.2", true, 80), pod("b", "10.42.1.3", false, 80)];
    for (preferred, zones, nodes) in [
        (json!({}), None, None),
        (json!({"trafficDistribution": "PreferClose"}), Some("zone-a"), None),
        (json!({"trafficDistribution": "PreferSameZone"}), Some("zone-a"), None),
        (json!({"trafficDistribution": "PreferSameNode"}), Some("zone-a"), Some("w1")),
    ] {
        let plan = slices(&service(preferred.clone()), &pods, &[]);
        let hints = |at: usize| plan.create[0].endpoints.as_ref().unwrap()[at].hints.clone().unwrap_or_default();
        let of_zones = hints(0).for_zones.map(|zones| zones[0].name.clone());
        let of_nodes = hints(0).for_nodes.map(|nodes| nodes[0].name.clone());
        assert_eq!((of_zones.as_deref(), of_nodes.as_deref()), (zones, nodes), "{preferred}");
        assert_eq!(hints(1), Default::default(), "nobody is sent to what is not ready");
    }
}

#[test]
fn endpoints_are_looked_at_when_their_node_comes_after_them_or_moves() {
    use client::informer::Change;
    let node = |zone: Option<&str>| -> Arc<k8s_openapi::api::core::v1::Node> {
        let labels = zone.map(|zone| json!({"topology.kubernetes.io/zone": zone}));
        Arc::new(serde_json::from_value(json!({"metadata": {"name": "w1", "labels": labels}})).unwrap())
    };
    for (change, wanted) in [
        (Change::Added(node(Some("a"))), true),
        (Change::Added(node(None)), false),
        (Change::Updated(node(None), node(Some("a"))), true),
        (Change::Updated(node(Some("a")), node(Some("a"))), false),
    ] {
        assert_eq!(slices::is_in_another_zone(&change), wanted, "{change:?}");
    }
}
