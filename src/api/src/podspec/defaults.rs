//! Defaults of a pod spec that depend on other fields.

use serde_json::{Value, json};

use super::CONTAINER_LISTS;
use super::resource_names::HUGE_PAGES;
use crate::edit::{fill, fill_map, items_at, set};
use crate::{quota, read};

/// Fills in what pods and pod templates have in common.
pub(crate) fn default_spec(spec: &mut Value) {
    for list in CONTAINER_LISTS {
        for container in items_at(spec, list) {
            let policy = pull_policy(read::text(container, "image"));
            fill(container, "imagePullPolicy", policy);
        }
    }
    for volume in items_at(spec, "volumes") {
        default_volume(volume);
    }
    default_service_account(spec);
}

/// Fills in what pods have and templates do not.
pub(crate) fn default_pod(spec: &mut Value) {
    default_spec(spec);
    fill(spec, "enableServiceLinks", true);
    let is_on_host = read::flag(spec, "hostNetwork");
    for list in ["containers", "initContainers"] {
        for container in items_at(spec, list) {
            if let Some(resources) = container.get_mut("resources") {
                default_requests(resources);
            }
            if is_on_host {
                items_at(container, "ports").for_each(default_host_port);
            }
        }
    }
    default_pod_requests(spec);
}

/// A pod that is limited as a whole requests what its containers do together, else up to its limit.
fn default_pod_requests(spec: &mut Value) {
    if read::map(spec, "resources.limits").is_empty() {
        return;
    }
    let asked: serde_json::Map<String, Value> = quota::containers_ask(spec)
        .into_iter()
        .filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory") || name.starts_with(HUGE_PAGES))
        .map(|(name, sum)| (name, sum.to_string().into()))
        .collect();
    fill_map(&mut spec["resources"], "requests", &Value::Object(asked));
    default_requests(&mut spec["resources"]);
}

/// What is limited and not requested is requested up to its limit.
fn default_requests(resources: &mut Value) {
    let limits = read::at(resources, "limits").clone();
    fill_map(resources, "requests", &limits);
}

/// A port in the host's network is the host's port.
fn default_host_port(port: &mut Value) {
    if read::int(port, "hostPort") == 0 {
        let number = read::int(port, "containerPort");
        set(port, "hostPort", number);
    }
}

/// `Always` where the image may change under its name, else `IfNotPresent`.
fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last_part = name.rsplit('/').next().unwrap_or_default();
    match (last_part.split_once(':'), digest) {
        (Some((_, "latest")), _) | (None, None) if !last_part.is_empty() => "Always",
        _ => "IfNotPresent",
    }
}

fn default_volume(volume: &mut Value) {
    let has_source =
        volume.as_object().is_some_and(|fields| fields.iter().any(|(name, value)| name != "name" && !value.is_null()));
    if !has_source {
        fill(volume, "emptyDir", json!({}));
    }
    if let Some(image) = volume.get_mut("image") {
        let policy = pull_policy(read::text(image, "reference"));
        fill(image, "pullPolicy", policy);
    }
}

/// The older name of the field says the same.
fn default_service_account(spec: &mut Value) {
    let name = match read::text(spec, "serviceAccountName") {
        "" => read::text(spec, "serviceAccount"),
        name => name,
    }
    .to_string();
    if !name.is_empty() {
        set(spec, "serviceAccountName", name.as_str());
        set(spec, "serviceAccount", name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_that_may_change_are_always_pulled() {
        let cases = [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.25", "IfNotPresent"),
            ("host:5000/nginx", "Always"),
            ("host:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:abc", "IfNotPresent"),
            ("nginx:latest@sha256:abc", "Always"),
            ("", "IfNotPresent"),
        ];
        for (image, policy) in cases {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }

    #[test]
    fn pods_get_requests_host_ports_and_volume_sources() {
        let mut spec = json!({
            "hostNetwork": true,
            "serviceAccountName": "sa",
            "volumes": [{"name": "v"}],
            "containers": [{"name": "c", "image": "i:1", "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}}],
        });
        default_pod(&mut spec);
        assert_eq!(
            spec,
            json!({
                "hostNetwork": true,
                "serviceAccountName": "sa",
                "serviceAccount": "sa",
                "enableServiceLinks": true,
                "volumes": [{"name": "v", "emptyDir": {}}],
                "containers": [{"name": "c", "image": "i:1", "imagePullPolicy": "IfNotPresent",
                    "ports": [{"containerPort": 80, "hostPort": 80}],
                    "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}}}],
            })
        );
    }
}
