//! From an endpoint to addresses. Names are asked for without the C library's name service: a statically linked glibc
//! must not load its plug-ins.

use std::net::{IpAddr, SocketAddr};

use hickory_resolver::TokioResolver;
use serde_json::Value;
use url::{Host, Url};

use super::endpoint::{Endpoint, Reach};
use crate::live::{Live, text};
use crate::stream::place;

/// How many addresses of an endpoint are tried.
const ADDRESSES_MAX: usize = 3;

/// The addresses of an endpoint, in the order to try them.
///
/// # Errors
/// Why there are none, or none that may be called.
pub async fn addresses(live: &Live, endpoint: &Endpoint, is_local_allowed: bool) -> Result<Vec<SocketAddr>, String> {
    let mut found = match &endpoint.reach {
        Reach::Url => of_url(&endpoint.url).await?,
        Reach::Service { namespace, name, port } => of_service(live, namespace, name, *port).await?,
    };
    if !is_local_allowed {
        let refused = found.first().copied();
        found.retain(|address| place::is_proxyable(address.ip()));
        if let (true, Some(refused)) = (found.is_empty(), refused) {
            return Err(format!("dial tcp {refused}: address not allowed"));
        }
    }
    let first = rand::random_range(0..found.len().max(1));
    found.rotate_left(first);
    found.truncate(ADDRESSES_MAX);
    Ok(found)
}

async fn of_url(url: &str) -> Result<Vec<SocketAddr>, String> {
    let url = Url::parse(url).map_err(|error| error.to_string())?;
    let port = url.port_or_known_default().unwrap_or(443);
    match url.host() {
        Some(Host::Ipv4(ip)) => Ok(vec![SocketAddr::new(IpAddr::V4(ip), port)]),
        Some(Host::Ipv6(ip)) => Ok(vec![SocketAddr::new(IpAddr::V6(ip), port)]),
        Some(Host::Domain(name)) => of_name(name, port).await,
        None => Err("no Host in request URL".to_string()),
    }
}

async fn of_name(name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let failed = |why: &dyn std::fmt::Display| format!("dial tcp: lookup {name}: {why}");
    let resolver =
        TokioResolver::builder_tokio().and_then(|builder| builder.build()).map_err(|error| failed(&error))?;
    let answer = resolver.lookup_ip(name).await.map_err(|error| match error.is_no_records_found() {
        true => failed(&"no such host"),
        false => failed(&error),
    })?;
    Ok(answer.iter().map(|ip| SocketAddr::new(ip, port)).collect())
}

async fn of_service(live: &Live, namespace: &str, name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let read = async |plural: &str| live.get("", plural, namespace, name).await.map_err(|status| status.to_string());
    let service = read("services").await?.ok_or_else(|| format!("service {name:?} not found"))?;
    if text(&service, "/spec/type") == "ExternalName" {
        return of_name(text(&service, "/spec/externalName"), port).await;
    }
    let listed = service["spec"]["ports"].as_array().into_iter().flatten().any(|one| one["port"] == port);
    if !listed {
        return Err(format!("no service port {port} found for service {name:?}"));
    }
    let endpoints = read("endpoints").await?.unwrap_or(Value::Null);
    let places = place::endpoints(&service, &endpoints, &port.to_string());
    if places.is_empty() {
        return Err(format!("no endpoints available for service {name:?}"));
    }
    Ok(places)
}
