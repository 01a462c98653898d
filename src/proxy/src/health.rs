//! The health checks of load balancers: which node ports tell whether this host has endpoints of a service
//! (`healthCheckNodePort`), and an HTTP server on each.
//!
//! A balancer sends clients of a service with `externalTrafficPolicy: Local` only to hosts that answer 200 here; the
//! others would drop them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// A port that somebody else has is asked for again after this.
const RETRY: Duration = Duration::from_secs(5);
/// A client that has not sent its request by then is cut off.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// Balancers ask in turns; what comes beyond this at once waits.
const CONNECTIONS_MAX: usize = 64;

/// What a port tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The service.
    pub namespace: String,
    /// Likewise.
    pub name: String,
    /// How many of its ready endpoints are on this host.
    pub local_endpoints: usize,
}

/// The port and what it tells, of a service that balancers check; `None` for every other.
pub fn check(service: &Service, slices: &[Arc<EndpointSlice>], node_name: &str) -> Option<(u16, Check)> {
    let spec = service.spec.as_ref()?;
    let local = spec.external_traffic_policy.as_deref() == Some("Local");
    let balanced = spec.type_.as_deref() == Some("LoadBalancer");
    let port = spec.health_check_node_port.filter(|_| local && balanced)?;
    let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
    let endpoints = slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
    let near = endpoints.filter(|endpoint| {
        let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
        ready && endpoint.node_name.as_deref() == Some(node_name)
    });
    let addresses: BTreeSet<&String> = near.filter_map(|endpoint| endpoint.addresses.first()).collect();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (namespace, name) = (text(&service.metadata.namespace), text(&service.metadata.name));
    Some((port, Check { namespace, name, local_endpoints: addresses.len() }))
}

/// The answer to whoever asks: status and body, as kube-proxy gives them.
fn answer(check: &Check) -> (StatusCode, String) {
    let Check { namespace, name, local_endpoints } = check;
    let status = if *local_endpoints > 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = format!(
        "{{\n\t\"service\": {{\n\t\t\"namespace\": {namespace:?},\n\t\t\"name\": {name:?}\n\t}},\n\
         \t\"localEndpoints\": {local_endpoints},\n\t\"serviceProxyHealthy\": true\n}}"
    );
    (status, body)
}

type Told = Arc<Mutex<Check>>;

fn lock(told: &Told) -> MutexGuard<'_, Check> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The servers of a host, one a port.
#[derive(Default)]
pub struct Checks {
    served: HashMap<u16, Served>,
}

struct Served {
    told: Told,
    /// Ends with this.
    _server: JoinSet<()>,
}

impl Checks {
    /// Makes the servers be those of `wanted`; of two services with one port the first has it. Called inside a tokio
    /// runtime.
    pub fn set(&mut self, wanted: impl IntoIterator<Item = (u16, Check)>) {
        let mut ports: BTreeMap<u16, Check> = BTreeMap::new();
        for (port, check) in wanted {
            ports.entry(port).or_insert(check);
        }
        self.served.retain(|port, _| ports.contains_key(port));
        for (port, check) in ports {
            match self.served.get(&port) {
                Some(served) => *lock(&served.told) = check,
                None => {
                    let told: Told = Arc::new(Mutex::new(check));
                    let mut server = JoinSet::new();
                    server.spawn(serve(port, told.clone()));
                    self.served.insert(port, Served { told, _server: server });
                }
            }
        }
    }
}

async fn serve(port: u16, told: Told) {
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) => {
                let service = lock(&told).clone();
                tracing::warn!(port, ?service, %error, "cannot serve a service's health check");
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        let told = told.clone();
        connections.spawn(async move {
            let _place = place;
            let service = service_fn(move |_: Request<Incoming>| {
                let response = respond(&lock(&told));
                async move { Ok::<_, Infallible>(response) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN).keep_alive(false);
            if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(port, %error, "a health check ended early");
            }
        });
    }
}

fn respond(check: &Check) -> Response<Full<Bytes>> {
    let (status, body) = answer(check);
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    headers.insert(http::header::X_CONTENT_TYPE_OPTIONS, http::HeaderValue::from_static("nosniff"));
    headers.insert("x-load-balancing-endpoint-weight", http::HeaderValue::from(check.local_endpoints));
    response
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn service(kind: &str, policy: &str, port: u16) -> Service {
        serde_json::from_value(json!({"metadata": {"namespace": "default", "name": "web"}, "spec": {"type": kind,
            "externalTrafficPolicy": policy, "healthCheckNodePort": port}}))
        .unwrap()
    }

    fn slice() -> Arc<EndpointSlice> {
        let endpoint = |ip: &str, node: &str, ready: bool| json!({"addresses": [ip], "nodeName": node, "conditions": {"ready": ready}});
        let endpoints =
            [endpoint("10.42.1.2", "w1", true), endpoint("10.42.1.3", "w1", false), endpoint("10.42.2.2", "w2", true)];
        Arc::new(
            serde_json::from_value(json!({"metadata": {}, "addressType": "IPv4", "endpoints": endpoints})).unwrap(),
        )
    }

    #[test]
    fn only_services_that_balancers_check_are_told_of_and_only_ready_endpoints_count() {
        let slices = [slice(), slice()];
        for (kind, policy, node, expected) in [
            ("LoadBalancer", "Local", "w1", Some(1)),
            ("LoadBalancer", "Local", "w3", Some(0)),
            ("LoadBalancer", "Cluster", "w1", None),
            ("NodePort", "Local", "w1", None),
        ] {
            let found = check(&service(kind, policy, 30500), &slices, node);
            assert_eq!(found.map(|(port, check)| (port, check.local_endpoints)), expected.map(|count| (30500, count)));
        }
    }

    async fn ask(port: u16) -> Option<String> {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        Some(text)
    }

    async fn until(port: u16, wanted: impl Fn(&Option<String>) -> bool) {
        testkit::eventually_async(Duration::from_secs(10), "the check answers", async || {
            let found = ask(port).await;
            if wanted(&found) { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
    }

    #[tokio::test]
    async fn a_port_tells_what_is_here_and_ends_with_its_service() {
        let port = testkit::free_port();
        let of = |local_endpoints| Check { namespace: "default".into(), name: "web".into(), local_endpoints };
        let mut checks = Checks::default();
        checks.set([(port, of(2))]);
        let two = |text: &Option<String>| {
            let text = text.clone().unwrap_or_default();
            text.starts_with("HTTP/1.1 200") && text.contains("\"localEndpoints\": 2")
        };
        until(port, two).await;
        checks.set([(port, of(0))]);
        until(port, |text| text.clone().unwrap_or_default().starts_with("HTTP/1.1 503")).await;
        checks.set([]);
        until(port, Option::is_none).await;
    }
}
