//! Proxying HTTP to nodes, pods and services by name.

use std::net::SocketAddr;

use http::header::LOCATION;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use machinery::meta;

use super::connect::Trust;
use super::forward::{Forward, Redirects, forward, wants_upgrade};
use super::options::{self, PARTS};
use super::place::{self, Named};
use crate::body::{self, Body};
use crate::handler::LongRunning;
use crate::request::RequestInfo;
use crate::rest::target::Target;
use crate::status::{Result, Status};

/// Answers `…/proxy` and everything below it.
///
/// # Errors
/// What admission answers; 400 for a malformed name, 404, 503 where nothing serves, 502 where it is not reachable.
pub async fn serve(
    target: &Target<'_>,
    request: Request<Body>,
    running: Option<LongRunning>,
) -> Result<Response<Body>> {
    let context = target.context;
    let admitted = options::admit(target).await?;
    let upgrades = wants_upgrade(&context.headers);
    let bare = context.info.parts.len() == PARTS && !context.raw_path.ends_with('/');
    if bare && matches!(context.method, Method::GET | Method::HEAD) && !upgrades {
        return redirect(&context.raw_path, &context.raw_query);
    }
    let named = place::named(target.name)?;
    let (to, trust) = match &*target.resource.plural {
        "nodes" => node(target, &named).await?,
        "pods" => {
            let pod = place::read(target.state(), "pods", target.namespace, named.name).await?;
            (place::pod(&pod, named.port)?, trust_of(&named))
        }
        "services" => service(target, &named).await?,
        _ => return Err(Status::no_such_resource()),
    };
    let (prefix, tail) = split(&context.raw_path, &context.info);
    let redirects = match trust {
        Trust::Agent => Redirects::Refused,
        // Doubled slashes at its beginning would make a host of what follows.
        _ => Redirects::Below(format!("/{}", prefix.trim_start_matches('/'))),
    };
    let mut path_and_query = admitted.path.unwrap_or_else(|| tail.to_string());
    if !context.raw_query.is_empty() {
        path_and_query = format!("{path_and_query}?{}", context.raw_query);
    }
    let to = Forward { to, trust, path_and_query, headers: Vec::new(), redirects };
    forward(&context.state, request, to, running).await
}

/// Relative links of a page only work below a slash.
fn redirect(path: &str, query: &str) -> Result<Response<Body>> {
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    let mut response = body::text(StatusCode::MOVED_PERMANENTLY, "");
    let location = HeaderValue::from_str(&format!("{path}/{query}")).map_err(Status::internal)?;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// The path up to the subresource `proxy` and what stands behind it, both still encoded.
fn split<'a>(path: &'a str, info: &RequestInfo) -> (&'a str, &'a str) {
    // What comes before is counted in segments: names may be `proxy` as well, and slashes may be doubled.
    let segments = path.split('/').filter(|segment| !segment.is_empty()).count();
    let mut before = segments.saturating_sub(info.parts.len().saturating_sub(PARTS));
    let mut rest = path;
    while before > 0 {
        let Some(start) = rest.find(|letter| letter != '/') else { break };
        rest = &rest[start..];
        rest = &rest[rest.find('/').unwrap_or(rest.len())..];
        before -= 1;
    }
    (&path[..path.len() - rest.len()], if rest.is_empty() { "/" } else { rest })
}

fn trust_of(named: &Named<'_>) -> Trust {
    if named.scheme == "https" { Trust::Unverified } else { Trust::Plain }
}

async fn node(target: &Target<'_>, named: &Named<'_>) -> Result<(SocketAddr, Trust)> {
    let agent = place::agent(target.state(), named.name).await?;
    if named.port.is_empty() || named.port == agent.port().to_string() {
        return Ok((agent, Trust::Agent));
    }
    let port = named.port.parse().map_err(|_| Status::bad_request(format!("invalid port {:?}", named.port)))?;
    Ok((SocketAddr::new(agent.ip(), port), trust_of(named)))
}

async fn service(target: &Target<'_>, named: &Named<'_>) -> Result<(SocketAddr, Trust)> {
    let service = place::read(target.state(), "services", target.namespace, named.name).await?;
    let none = || Status::unavailable(format!("no endpoints available for service {:?}", meta::name(&service)));
    let endpoints = place::read(target.state(), "endpoints", target.namespace, named.name).await.map_err(|_| none())?;
    let places = place::endpoints(&service, &endpoints, named.port);
    if places.is_empty() {
        return Err(none());
    }
    Ok((places[rand::random_range(0..places.len())], trust_of(named)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_what_the_other_end_sees() {
        for (path, expected) in [
            ("/api/v1/namespaces/n/pods/p:80/proxy/a%20b/c", "/a%20b/c"),
            ("/api/v1/nodes/n/proxy/", "/"),
            ("/api/v1/nodes/n/proxy", "/"),
            ("/api/v1/namespaces/proxy/pods/p/proxy/a", "/a"),
            ("/api/v1/namespaces/proxy/services/proxy/proxy/proxy/b", "/proxy/b"),
            ("/api/v1/nodes/n/proxy/a/proxy/", "/a/proxy/"),
            ("//api/v1/nodes//n/proxy//a//b", "//a//b"),
            ("/api/v1/nodes/n%2Fproxy/proxy/a", "/a"),
        ] {
            let info = RequestInfo::parse(&Method::GET, path, &crate::request::Query::default());
            let (prefix, tail) = split(path, &info);
            assert_eq!(tail, expected, "{path}");
            assert!(prefix.ends_with("/proxy") && path.starts_with(prefix), "{path}: {prefix}");
        }
        assert_eq!(redirect("/x/proxy", "a=b").expect("a response").headers()[LOCATION], "/x/proxy/?a=b");
    }
}
