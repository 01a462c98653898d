//! Which ConfigMaps and Secrets a pod refers to.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, Pod, PodSpec, Volume};

/// What pods refer to by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

/// An object in the pod's namespace.
pub type Reference = (Kind, String);

/// Everything a pod refers to: in volumes, environments and pull secrets.
pub fn of(pod: &Pod) -> BTreeSet<Reference> {
    let mut found = BTreeSet::new();
    let Some(spec) = pod.spec.as_ref() else { return found };
    for volume in spec.volumes.iter().flatten() {
        in_volume(volume, &mut found);
    }
    for (env, env_from) in environments(spec) {
        in_environment(env, env_from, &mut found);
    }
    found.extend(spec.image_pull_secrets.iter().flatten().map(|secret| (Kind::Secret, secret.name.clone())));
    found.retain(|(_, name)| !name.is_empty());
    found
}

fn in_volume(volume: &Volume, found: &mut BTreeSet<Reference>) {
    found.extend(volume.config_map.iter().map(|source| (Kind::ConfigMap, source.name.clone())));
    found.extend(volume.secret.iter().filter_map(|source| Some((Kind::Secret, source.secret_name.clone()?))));
    for part in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
        found.extend(part.config_map.iter().map(|source| (Kind::ConfigMap, source.name.clone())));
        found.extend(part.secret.iter().map(|source| (Kind::Secret, source.name.clone())));
    }
}

type Environment<'a> = (&'a [EnvVar], &'a [EnvFromSource]);

fn environments(spec: &PodSpec) -> impl Iterator<Item = Environment<'_>> {
    let plain = spec.init_containers.iter().flatten().chain(&spec.containers);
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    plain
        .map(|container| (container.env.as_deref(), container.env_from.as_deref()))
        .chain(ephemeral.map(|container| (container.env.as_deref(), container.env_from.as_deref())))
        .map(|(env, env_from)| (env.unwrap_or_default(), env_from.unwrap_or_default()))
}

fn in_environment(env: &[EnvVar], env_from: &[EnvFromSource], found: &mut BTreeSet<Reference>) {
    for source in env.iter().filter_map(|variable| variable.value_from.as_ref()) {
        found.extend(source.config_map_key_ref.iter().map(|key| (Kind::ConfigMap, key.name.clone())));
        found.extend(source.secret_key_ref.iter().map(|key| (Kind::Secret, key.name.clone())));
    }
    for source in env_from {
        found.extend(source.config_map_ref.iter().map(|map| (Kind::ConfigMap, map.name.clone())));
        found.extend(source.secret_ref.iter().map(|secret| (Kind::Secret, secret.name.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_place_of_a_pod_that_names_an_object_is_found() {
        let cases = [
            (json!({ "volumes": [{ "name": "v", "configMap": { "name": "a" } }] }), Kind::ConfigMap),
            (json!({ "volumes": [{ "name": "v", "secret": { "secretName": "a" } }] }), Kind::Secret),
            (
                json!({ "volumes": [{ "name": "v", "projected": { "sources": [{ "configMap": { "name": "a" } }] } }] }),
                Kind::ConfigMap,
            ),
            (
                json!({ "volumes": [{ "name": "v", "projected": { "sources": [{ "secret": { "name": "a" } }] } }] }),
                Kind::Secret,
            ),
            (
                json!({ "containers": [{ "name": "c", "env": [
                    { "name": "E", "valueFrom": { "configMapKeyRef": { "name": "a", "key": "k" } } },
                ] }] }),
                Kind::ConfigMap,
            ),
            (
                json!({ "initContainers": [{ "name": "c", "env": [
                    { "name": "E", "valueFrom": { "secretKeyRef": { "name": "a", "key": "k" } } },
                ] }] }),
                Kind::Secret,
            ),
            (
                json!({ "ephemeralContainers": [{ "name": "c", "envFrom": [{ "configMapRef": { "name": "a" } }] }] }),
                Kind::ConfigMap,
            ),
            (json!({ "containers": [{ "name": "c", "envFrom": [{ "secretRef": { "name": "a" } }] }] }), Kind::Secret),
            (json!({ "imagePullSecrets": [{ "name": "a" }] }), Kind::Secret),
        ];
        for (mut spec, kind) in cases {
            spec.as_object_mut().unwrap().entry("containers").or_insert(json!([]));
            let pod: Pod = serde_json::from_value(json!({ "metadata": {}, "spec": spec })).unwrap();
            assert_eq!(of(&pod).into_iter().collect::<Vec<_>>(), [(kind, "a".to_string())], "{spec}");
        }
        let plain = json!({ "metadata": {}, "spec": { "containers": [{ "name": "c" }],
            "volumes": [{ "name": "v", "emptyDir": {} }] } });
        assert!(of(&serde_json::from_value(plain).unwrap()).is_empty());
    }
}
