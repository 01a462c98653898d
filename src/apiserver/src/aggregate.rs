//! The aggregation layer: groups that another server serves, as APIService objects say. Requests pass on to it with
//! the user in headers; discovery shows its groups beside the built-in ones.

mod agenda;
pub mod availability;
pub mod discovery;
pub mod kept;
mod local;
pub mod openapi;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, Request, Response};
use machinery::meta;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use store::RangeOptions;

use crate::body::{self, Body};
use crate::handler::{Context, LongRunning};
use crate::request::User;
use crate::state::State;
use crate::status::{Result, Status};
use crate::storage;
use crate::stream::{Forward, Redirects, Trust, forward, place};

/// The port of a service that an APIService does not name.
const DEFAULT_PORT: u64 = 443;

/// Every APIService that leads to another server.
///
/// # Errors
/// What the store answers.
pub async fn services(state: &State) -> Result<Vec<Value>> {
    let Some(resource) = api::registry().get("apiregistration.k8s.io", "v1", "apiservices") else {
        return Ok(Vec::new());
    };
    let range = state.store.range(&storage::prefix(resource, ""), RangeOptions::default()).await;
    let objects = range.map_err(storage::failure)?.entries.iter().map(storage::decode).collect::<Result<Vec<_>>>()?;
    Ok(objects.into_iter().filter(|object| object["spec"]["service"].is_object()).collect())
}

/// The APIService of a group and version that is not built in.
///
/// # Errors
/// What the store answers.
pub async fn find(context: &Context) -> Result<Option<Value>> {
    // The same segments as those by which the request was judged.
    let segments: Vec<&str> = context.info.segments.iter().take(3).map(String::as_str).collect();
    let ["apis", group, version] = segments.as_slice() else { return Ok(None) };
    find_version(context, group, version).await
}

/// The same, of a group and version.
///
/// # Errors
/// What the store answers.
pub async fn find_version(context: &Context, group: &str, version: &str) -> Result<Option<Value>> {
    if context.served.of_version(group, version).next().is_some() {
        return Ok(None);
    }
    let Some(resource) = api::registry().get("apiregistration.k8s.io", "v1", "apiservices") else { return Ok(None) };
    let key = storage::key(resource, "", &format!("{version}.{group}"));
    let found = storage::read(context.state.store.as_ref(), &key).await?;
    Ok(found.filter(|object| object["spec"]["service"].is_object()))
}

/// Passes a request on to the server of an APIService.
///
/// # Errors
/// 400 for a path that the other server may take for another; 503 where it is not there, 502 where it is not reachable
/// or not who it should be.
pub async fn serve(
    context: &Context,
    service: &Value,
    request: Request<Body>,
    running: Option<LongRunning>,
) -> Result<Response<Body>> {
    if !context.info.is_clear() {
        return Err(Status::bad_request("encoded slashes and relative segments are not passed on to other servers"));
    }
    if is_known_unavailable(service) {
        // Nobody waits for a server that is known not to answer.
        return Err(Status::unavailable("service unavailable"));
    }
    let mut path_and_query = context.raw_path.clone();
    if !context.raw_query.is_empty() {
        path_and_query = format!("{path_and_query}?{}", context.raw_query);
    }
    let to = destination(&context.state, service, path_and_query, &context.user).await?;
    forward(&context.state, request, to, running).await
}

/// Whether the server of an APIService was last found not to answer.
pub fn is_known_unavailable(service: &Value) -> bool {
    let mut conditions = service["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Available" && condition["status"] == "False")
}

/// Whom the server asks other servers as. What they serve is everyone's to read who is somebody, by the role
/// `system:discovery`.
fn itself() -> User {
    User::new("system:kube-aggregator", &[])
}

/// What the server of an APIService answers to a GET, where it is JSON; it answers as it should even where it is none.
///
/// # Errors
/// Why not, in words.
pub async fn probe(state: &Arc<State>, service: &Value, path: &str) -> std::result::Result<Option<Value>, String> {
    /// A discovery document that is larger is none.
    const LIMIT_BYTES: usize = 4 * 1024 * 1024;
    let bytes = fetch(state, service, path, LIMIT_BYTES).await?;
    Ok(serde_json::from_slice(&bytes).ok())
}

/// The bytes that the server of an APIService answers to a GET of JSON, at most so many.
///
/// # Errors
/// Why not, in words.
pub async fn fetch(
    state: &Arc<State>,
    service: &Value,
    path: &str,
    limit_bytes: usize,
) -> std::result::Result<bytes::Bytes, String> {
    let user = itself();
    let to = destination(state, service, path.to_string(), &user).await.map_err(|status| status.to_string())?;
    let place = to.to;
    let mut request = Request::new(body::empty());
    request.headers_mut().insert(http::header::ACCEPT, HeaderValue::from_static(body::JSON));
    let answer = forward(state, request, to, None).await.map_err(|status| status.to_string())?;
    match answer.status() {
        code if code.is_success() => {
            body::read(answer.into_body(), limit_bytes).await.map_err(|status| status.to_string())
        }
        code => Err(format!("bad status from https://{place}{path}: {}", code.as_u16())),
    }
}

async fn destination(state: &Arc<State>, service: &Value, path_and_query: String, user: &User) -> Result<Forward> {
    let spec = &service["spec"];
    let (namespace, name) = (meta::text_at(spec, &["service", "namespace"]), meta::text_at(spec, &["service", "name"]));
    let port = spec["service"]["port"].as_u64().unwrap_or(DEFAULT_PORT);
    let unavailable = || Status::unavailable(format!("the server behind {} is not available", meta::name(service)));
    let object = place::read(state, "services", namespace, name).await.map_err(|_| unavailable())?;
    let endpoints = place::read(state, "endpoints", namespace, name).await.map_err(|_| unavailable())?;
    let places = place::endpoints(&object, &endpoints, &port.to_string());
    let to = *places.get(rand::random_range(0..places.len().max(1))).ok_or_else(unavailable)?;
    let trust = trust(state, spec, namespace, name)?;
    Ok(Forward { to, trust, path_and_query, headers: user_headers(user), redirects: Redirects::Refused })
}

fn trust(state: &State, spec: &Value, namespace: &str, name: &str) -> Result<Trust> {
    let refused = |why: &str| Status::unavailable(format!("caBundle of the server behind {namespace}/{name}: {why}"));
    let server_name = ServerName::try_from(format!("{name}.{namespace}.svc")).map_err(|_| refused("no valid name"))?;
    if spec["insecureSkipTLSVerify"] == Value::Bool(true) {
        return Ok(Trust::Named(Arc::new(state.connector.front_proxy_config(None)?), server_name));
    }
    let pem = STANDARD.decode(meta::text_at(spec, &["caBundle"])).map_err(|_| refused("not base64"))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| refused("not PEM"))?;
        roots.add(certificate).map_err(|_| refused("no certificate authority"))?;
    }
    if roots.is_empty() {
        return Err(refused("empty; set it or insecureSkipTLSVerify"));
    }
    let config = state.connector.front_proxy_config(Some(roots))?;
    Ok(Trust::Named(Arc::new(config), server_name))
}

/// The headers in which the front proxy names the user.
fn user_headers(user: &User) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    let mut add = |name: &str, value: &str| {
        // A name or value that no header can carry is not passed on, so the user can only do less.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            headers.push((name, value));
        }
    };
    add("x-remote-user", &user.name);
    add("x-remote-uid", &user.uid);
    user.groups.iter().for_each(|group| add("x-remote-group", group));
    for (key, values) in &user.extra {
        let key = percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC);
        values.iter().for_each(|value| add(&format!("x-remote-extra-{key}").to_ascii_lowercase(), value));
    }
    headers.retain(|(_, value)| !value.is_empty());
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_named_whole() {
        let mut user = User::new("ann", &["devs"]);
        user.uid = "u-1".to_string();
        user.extra.insert("Example.com/Scope".to_string(), vec!["a".to_string(), "b".to_string()]);
        user.extra.insert("odd".to_string(), vec!["line\nbreak".to_string()]);
        let found: Vec<(String, String)> = user_headers(&user)
            .into_iter()
            .map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_string()))
            .collect();
        let expected = [
            ("x-remote-user", "ann"),
            ("x-remote-uid", "u-1"),
            ("x-remote-group", "devs"),
            ("x-remote-group", "system:authenticated"),
            ("x-remote-extra-example%2ecom%2fscope", "a"),
            ("x-remote-extra-example%2ecom%2fscope", "b"),
        ];
        assert_eq!(found, expected.map(|(name, value)| (name.to_string(), value.to_string())));
    }
}
