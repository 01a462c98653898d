//! The groups of other servers in discovery.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use machinery::meta;
use serde_json::{Value, json};

use super::kept::Said;
use crate::served::Served;
use crate::state::State;

/// A server that does not answer by then is shown without its resources.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// The groups with their versions, the preferred first, of APIServices whose version is not built in.
pub fn groups<'a>(served: &Served, services: &'a [Value]) -> BTreeMap<String, Vec<(String, &'a Value)>> {
    let mut groups: BTreeMap<String, Vec<(String, &'a Value)>> = BTreeMap::new();
    for service in services {
        let (group, version) =
            (meta::text_at(service, &["spec", "group"]), meta::text_at(service, &["spec", "version"]));
        if !group.is_empty() && served.of_version(group, version).next().is_none() {
            groups.entry(group.to_string()).or_default().push((version.to_string(), service));
        }
    }
    for versions in groups.values_mut() {
        versions
            .sort_by_key(|(_, service)| std::cmp::Reverse(service["spec"]["versionPriority"].as_i64().unwrap_or(0)));
    }
    groups
}

/// An APIGroup without apiVersion and kind.
pub fn plain(group: &str, versions: &[(String, &Value)]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|(version, _)| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    json!({"name": group, "versions": versions, "preferredVersion": versions.first()})
}

/// Adds the versions of a group that other servers have to those that this one has; its own come first and stay
/// preferred.
pub fn append(own: &mut Value, mut others: Value) {
    if let (Some(versions), Some(Value::Array(more))) =
        (own["versions"].as_array_mut(), others.get_mut("versions").map(Value::take))
    {
        versions.extend(more);
    }
}

/// An APIGroupDiscovery with what its servers last said; only those that have not been asked yet are.
pub async fn aggregated(state: &Arc<State>, group: &str, versions: &[(String, &Value)]) -> Value {
    let versions = versions.iter().map(|(version, service)| async move {
        let said = match state.kept.of(service) {
            Some(said) => said,
            None => {
                let path = format!("/apis/{group}/{version}");
                let answer = tokio::time::timeout(ANSWER_WITHIN, super::probe(state, service, &path)).await;
                state.kept.keep(service, answer.ok().and_then(Result::ok).flatten());
                state.kept.of(service).unwrap_or(Said { list: None, is_current: false })
            }
        };
        of_version(group, version, &said)
    });
    json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": join_all(versions).await})
}

fn of_version(group: &str, version: &str, said: &Said) -> Value {
    let mut shown = json!({"version": version, "freshness": if said.is_current { "Current" } else { "Stale" }});
    if let Some(list) = &said.list {
        shown["resources"] = resources(group, version, list).into();
    }
    shown
}

/// The entries of an APIResourceList in the aggregated form; subresources go with their resource.
fn resources(group: &str, version: &str, list: &Value) -> Vec<Value> {
    let entries: Vec<&Value> = list["resources"].as_array().into_iter().flatten().collect();
    let kind_of = |entry: &Value| {
        let or = |field: &str, otherwise: &str| match meta::text_at(entry, &[field]) {
            "" => otherwise.to_string(),
            text => text.to_string(),
        };
        json!({"group": or("group", group), "version": or("version", version), "kind": or("kind", "")})
    };
    let name_of = |entry: &Value| meta::text_at(entry, &["name"]).to_string();
    let mut found = Vec::new();
    for entry in entries.iter().filter(|entry| !name_of(entry).contains('/')) {
        let name = name_of(entry);
        let prefix = format!("{name}/");
        let subresources: Vec<Value> = entries
            .iter()
            .filter_map(|other| {
                let own = name_of(other).strip_prefix(&prefix)?.to_string();
                Some(json!({"subresource": own, "responseKind": kind_of(other), "verbs": texts(&other["verbs"])}))
            })
            .collect();
        let mut resource = json!({
            "resource": name,
            "responseKind": kind_of(entry),
            "scope": if entry["namespaced"] == Value::Bool(true) { "Namespaced" } else { "Cluster" },
            "singularResource": entry["singularName"].as_str().unwrap_or_default(),
            "verbs": texts(&entry["verbs"]),
        });
        for field in ["shortNames", "categories"] {
            if let Some(value) = entry.get(field) {
                resource[field] = texts(value).into();
            }
        }
        if !subresources.is_empty() {
            resource["subresources"] = subresources.into();
        }
        found.push(resource);
    }
    found
}

/// The texts of a list; of what is none, as Go's servers say of an empty one, none.
fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_list_reads_as_aggregated_discovery() {
        let list = json!({"resources": [
            {"name": "pods", "singularName": "pod", "namespaced": true, "kind": "PodMetrics", "verbs": ["get"]},
            {"name": "pods/scale", "namespaced": true, "kind": "Scale", "group": "autoscaling", "version": "v1", "verbs": ["get"]},
        ]});
        let found = resources("metrics.k8s.io", "v1beta1", &list);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0]["responseKind"],
            json!({"group": "metrics.k8s.io", "version": "v1beta1", "kind": "PodMetrics"})
        );
        assert_eq!(found[0]["scope"], "Namespaced");
        assert_eq!(found[0]["subresources"][0]["responseKind"]["group"], "autoscaling");
    }

    #[test]
    fn what_a_server_says_wrong_is_left_out() {
        let list =
            json!({"resources": [{"name": "a", "kind": 1, "verbs": null, "singularName": null, "shortNames": "b"}]});
        let found = resources("g", "v1", &list);
        assert_eq!(found[0]["verbs"], json!([]));
        assert_eq!((&found[0]["singularResource"], &found[0]["shortNames"]), (&json!(""), &json!([])));
        assert_eq!(found[0]["responseKind"]["kind"], "");
    }

    #[test]
    fn what_was_said_before_is_shown_as_stale() {
        let list = Arc::new(json!({"resources": [{"name": "pods", "kind": "PodMetrics", "verbs": ["get"]}]}));
        for (list, is_current, expected) in
            [(Some(list.clone()), true, (1, "Current")), (Some(list), false, (1, "Stale")), (None, false, (0, "Stale"))]
        {
            let shown = of_version("m.io", "v1", &Said { list, is_current });
            let count = shown["resources"].as_array().map_or(0, Vec::len);
            assert_eq!((count, shown["freshness"].as_str().expect("text")), expected);
        }
    }

    #[test]
    fn groups_come_from_services_that_are_not_built_in() {
        let service = |group: &str, version: &str, priority: i64| json!({"spec": {"group": group, "version": version, "versionPriority": priority, "service": {}}});
        let services = [service("m.io", "v1beta1", 10), service("m.io", "v1", 20), service("apps", "v1", 1)];
        let groups = groups(&Served::default(), &services);
        assert_eq!(groups.keys().collect::<Vec<_>>(), ["m.io"]);
        let mut group = plain("m.io", &groups["m.io"]);
        assert_eq!(group["preferredVersion"]["version"], "v1");
        append(&mut group, json!({"versions": [{"version": "v3"}], "preferredVersion": {"version": "v3"}}));
        let versions: Vec<&Value> = group["versions"].as_array().expect("a list").iter().collect();
        assert_eq!((versions.len(), &versions[2]["version"]), (3, &json!("v3")));
        assert_eq!(group["preferredVersion"]["version"], "v1");
    }
}
