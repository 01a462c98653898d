//! A container's environment: services first, then `envFrom`, then `env`, later ones over earlier ones.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, Pod, Service};

use super::expand::expand;
use super::fields::{self, Facts};
use crate::Error;
use crate::objects::Objects;

/// Names and values in the order they are given to the process.
pub type Environment = Vec<(String, String)>;

/// The environment of a container.
///
/// An error is for the container's waiting reason `CreateContainerConfigError`.
pub async fn build(
    pod: &Pod,
    container: &Container,
    facts: &Facts,
    objects: &dyn Objects,
) -> Result<Environment, Error> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
    let mut environment = Ordered::default();
    for (name, value) in services(&objects.services(namespace).await, namespace, links) {
        environment.set(name, value);
    }
    sources(namespace, container, objects, &mut environment).await?;
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(pod, container, variable, facts, objects, &environment.values).await? {
            environment.set(variable.name.clone(), value);
        }
    }
    Ok(environment.into_list())
}

#[derive(Default)]
struct Ordered {
    names: Vec<String>,
    values: HashMap<String, String>,
}

impl Ordered {
    fn set(&mut self, name: String, value: String) {
        if self.values.insert(name.clone(), value).is_none() {
            self.names.push(name);
        }
    }

    fn into_list(mut self) -> Environment {
        self.names.into_iter().filter_map(|name| self.values.remove_entry(&name)).collect()
    }
}

async fn sources(
    namespace: &str,
    container: &Container,
    objects: &dyn Objects,
    out: &mut Ordered,
) -> Result<(), Error> {
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &source.config_map_ref {
            let optional = reference.optional.unwrap_or(false);
            let Some(map) =
                found(objects.config_map(namespace, &reference.name).await, optional, "configmap", &reference.name)?
            else {
                continue;
            };
            for (key, value) in map.data.iter().flatten().filter(|(key, _)| is_name(key)) {
                out.set(format!("{prefix}{key}"), value.clone());
            }
        }
        if let Some(reference) = &source.secret_ref {
            let optional = reference.optional.unwrap_or(false);
            let Some(secret) =
                found(objects.secret(namespace, &reference.name).await, optional, "secret", &reference.name)?
            else {
                continue;
            };
            for (key, value) in secret.data.iter().flatten().filter(|(key, _)| is_name(key)) {
                out.set(format!("{prefix}{key}"), String::from_utf8_lossy(&value.0).into_owned());
            }
        }
    }
    Ok(())
}

/// A name that the environment can hold: anything printable without `=`.
fn is_name(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'=')
}

fn found<T>(result: Result<T, Error>, optional: bool, kind: &str, name: &str) -> Result<Option<T>, Error> {
    match result {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.is_not_found() && optional => Ok(None),
        Err(error) if error.is_not_found() => Err(Error::Pod(format!("{kind} {name:?} not found"))),
        Err(error) => Err(error),
    }
}

async fn value(
    pod: &Pod,
    container: &Container,
    variable: &EnvVar,
    facts: &Facts,
    objects: &dyn Objects,
    before: &HashMap<String, String>,
) -> Result<Option<String>, Error> {
    match (&variable.value, &variable.value_from) {
        (Some(value), None) => Ok(Some(expand(value, before))),
        (_, Some(source)) => value_from(pod, container, source, facts, objects).await,
        (None, None) => Ok(Some(String::new())),
    }
}

async fn value_from(
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    facts: &Facts,
    objects: &dyn Objects,
) -> Result<Option<String>, Error> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    if let Some(selector) = &source.field_ref {
        let value = fields::field(pod, &selector.field_path, facts);
        return value
            .map(Some)
            .ok_or_else(|| Error::Pod(format!("fieldPath {:?} is not supported", selector.field_path)));
    }
    if let Some(selector) = &source.resource_field_ref {
        let value = fields::resource(pod, selector, &container.name, facts);
        return value.map(Some).ok_or_else(|| Error::Pod(format!("resource {:?} is not supported", selector.resource)));
    }
    if let Some(selector) = &source.config_map_key_ref {
        let optional = selector.optional.unwrap_or(false);
        let map = found(objects.config_map(namespace, &selector.name).await, optional, "configmap", &selector.name)?;
        let Some(map) = map else { return Ok(None) };
        let value = map.data.as_ref().and_then(|data| data.get(&selector.key)).cloned();
        return key_found(value, optional, &selector.key, format!("ConfigMap {namespace}/{}", selector.name));
    }
    if let Some(selector) = &source.secret_key_ref {
        let optional = selector.optional.unwrap_or(false);
        let secret = found(objects.secret(namespace, &selector.name).await, optional, "secret", &selector.name)?;
        let Some(secret) = secret else { return Ok(None) };
        let value = secret.data.as_ref().and_then(|data| data.get(&selector.key));
        let value = value.map(|value| String::from_utf8_lossy(&value.0).into_owned());
        return key_found(value, optional, &selector.key, format!("Secret {namespace}/{}", selector.name));
    }
    Err(Error::Pod("valueFrom has none of fieldRef, resourceFieldRef, configMapKeyRef and secretKeyRef".into()))
}

fn key_found(value: Option<String>, optional: bool, key: &str, object: String) -> Result<Option<String>, Error> {
    if value.is_none() && !optional {
        return Err(Error::Pod(format!("couldn't find key {key} in {object}")));
    }
    Ok(value)
}

/// The variables that tell of services: those of the pod's namespace where links are wanted, and the API's always.
fn services(services: &[std::sync::Arc<Service>], namespace: &str, links: bool) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for service in services {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let of = service.metadata.namespace.as_deref().unwrap_or_default();
        let is_api = of == "default" && name == "kubernetes";
        if !is_api && (!links || of != namespace) {
            continue;
        }
        service_variables(name, service, &mut variables);
    }
    variables
}

fn service_variables(name: &str, service: &Service, variables: &mut BTreeMap<String, String>) {
    let Some(spec) = service.spec.as_ref() else { return };
    let Some(address) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else { return };
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first() else { return };
    let prefix = name.to_uppercase().replace('-', "_");
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_string() };
    let url = |port: &k8s_openapi::api::core::v1::ServicePort| {
        format!("{}://{host}:{}", port.protocol.as_deref().unwrap_or("TCP").to_lowercase(), port.port)
    };
    variables.insert(format!("{prefix}_SERVICE_HOST"), address.to_string());
    variables.insert(format!("{prefix}_SERVICE_PORT"), first.port.to_string());
    variables.insert(format!("{prefix}_PORT"), url(first));
    for port in ports {
        if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let port_name = port_name.to_uppercase().replace('-', "_");
            variables.insert(format!("{prefix}_SERVICE_PORT_{port_name}"), port.port.to_string());
        }
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let long = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_uppercase());
        variables.insert(long.clone(), url(port));
        variables.insert(format!("{long}_PROTO"), protocol.to_lowercase());
        variables.insert(format!("{long}_PORT"), port.port.to_string());
        variables.insert(format!("{long}_ADDR"), address.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Standalone;
    use serde_json::json;

    #[tokio::test]
    async fn later_variables_see_earlier_ones_and_may_replace_them() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "default" },
            "spec": { "containers": [{ "name": "a", "env": [
                { "name": "A", "value": "1" },
                { "name": "B", "value": "$(A)$(C)" },
                { "name": "ME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
                { "name": "A", "value": "$(A)2" },
            ] }] },
        }))
        .unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let environment = build(&pod, container, &Facts::default(), &Standalone).await.unwrap();
        let expected = [("A", "12"), ("B", "1$(C)"), ("ME", "web")].map(|(n, v)| (n.to_string(), v.to_string()));
        assert_eq!(environment, expected);
    }

    #[test]
    fn services_are_told_in_the_old_style() {
        let service: Service = serde_json::from_value(json!({
            "metadata": { "name": "my-web", "namespace": "default" },
            "spec": { "clusterIP": "10.43.0.9", "ports": [{ "name": "http", "port": 80, "protocol": "TCP" }] },
        }))
        .unwrap();
        let list = [std::sync::Arc::new(service)];
        let variables = services(&list, "default", true);
        assert_eq!(variables["MY_WEB_SERVICE_HOST"], "10.43.0.9");
        assert_eq!(variables["MY_WEB_SERVICE_PORT_HTTP"], "80");
        assert_eq!(variables["MY_WEB_PORT_80_TCP"], "tcp://10.43.0.9:80");
        assert!(services(&list, "default", false).is_empty());
    }
}
