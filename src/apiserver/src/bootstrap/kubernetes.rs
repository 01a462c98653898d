//! The `kubernetes` service in `default`: its first address of the service range, and endpoints that lead to this
//! server.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::config::Config;
use crate::plugin::Bootstrap;

/// How often the endpoints are put right.
const RECONCILE_EVERY: Duration = Duration::from_secs(10);
const NAMESPACE: &str = "default";
const SERVICE: &str = "kubernetes";
const PORT: u16 = 443;

/// Keeps the service and its endpoints.
pub struct KubernetesService {
    address: IpAddr,
    endpoint: SocketAddr,
}

impl KubernetesService {
    /// The service of a server that listens on `port`.
    pub fn new(config: &Config, port: u16) -> Self {
        let address = first_address(config.service_cidr);
        let port = config.advertise_port.unwrap_or(port);
        Self { address, endpoint: SocketAddr::new(config.advertise_address, port) }
    }

    fn family(&self) -> &'static str {
        if self.endpoint.is_ipv4() { "IPv4" } else { "IPv6" }
    }

    fn objects(&self) -> [(&'static str, &'static str, &'static str, Value); 3] {
        let labels = json!({"component": "apiserver", "provider": "kubernetes"});
        let service = json!({
            "metadata": {"name": SERVICE, "namespace": NAMESPACE, "labels": labels},
            "spec": {
                "type": "ClusterIP",
                "clusterIP": self.address.to_string(),
                "clusterIPs": [self.address.to_string()],
                "ports": [{"name": "https", "port": PORT, "protocol": "TCP", "targetPort": self.endpoint.port()}],
                "sessionAffinity": "None",
            },
        });
        let endpoints = json!({
            "metadata": {
                "name": SERVICE,
                "namespace": NAMESPACE,
                "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
            },
            "subsets": [{
                "addresses": [{"ip": self.endpoint.ip().to_string()}],
                "ports": [{"name": "https", "port": self.endpoint.port(), "protocol": "TCP"}],
            }],
        });
        let slice = json!({
            "metadata": {
                "name": SERVICE,
                "namespace": NAMESPACE,
                "labels": {"kubernetes.io/service-name": SERVICE},
            },
            "addressType": self.family(),
            "endpoints": [{"addresses": [self.endpoint.ip().to_string()], "conditions": {"ready": true}}],
            "ports": [{"name": "https", "port": self.endpoint.port(), "protocol": "TCP"}],
        });
        [
            ("", "v1", "Service", service),
            ("", "v1", "Endpoints", endpoints),
            ("discovery.k8s.io", "v1", "EndpointSlice", slice),
        ]
    }
}

/// The first address that is a host's.
fn first_address(cidr: IpNet) -> IpAddr {
    cidr.hosts().next().unwrap_or_else(|| cidr.addr())
}

#[async_trait]
impl Bootstrap for KubernetesService {
    fn name(&self) -> &'static str {
        "bootstrap-controller"
    }

    fn every(&self) -> Option<Duration> {
        Some(RECONCILE_EVERY)
    }

    async fn bootstrap(&self, client: &kube::Client) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        for (group, version, kind, wanted) in self.objects() {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
            // "endpoints" is its own plural.
            let plural = if kind == "Endpoints" { "endpoints".to_string() } else { resource.plural.clone() };
            let resource = ApiResource { plural, ..resource };
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
            ensure(&api, &resource, wanted).await?;
        }
        Ok(())
    }
}

async fn ensure(api: &Api<DynamicObject>, resource: &ApiResource, mut wanted: Value) -> Result<(), kube::Error> {
    match api.get_opt(SERVICE).await? {
        None => {
            wanted["apiVersion"] = resource.api_version.as_str().into();
            wanted["kind"] = resource.kind.as_str().into();
            let object: DynamicObject = serde_json::from_value(wanted).map_err(kube::Error::SerdeError)?;
            match api.create(&Default::default(), &object).await {
                // Its namespace, or another server, comes first.
                Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
                created => created.map(drop),
            }
        }
        Some(_) => {
            // A merge patch that changes nothing writes nothing.
            api.patch(SERVICE, &PatchParams::default(), &Patch::Merge(&wanted)).await.map(drop)
        }
    }
}
