//! Which groups, versions and resources there are: `/api`, `/apis`, `/apis/G`, `/apis/G/V`, and the aggregated
//! form of the first two. Made from the registry on first use and kept as bytes with an ETag.

mod aggregated;
mod documents;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;

use crate::accept::{self, Clause, Format};
use crate::answer;
use crate::body::{Body, JSON};
use crate::cache::Cached;
use crate::handler::Context;
use crate::status::{Result, Status};

/// Answers a discovery path.
///
/// # Errors
/// 404 for a group or version that is not served; 406.
pub fn serve(context: &Context) -> Result<Response<Body>> {
    let path = context.info.path.trim_end_matches('/');
    if matches!(path, "/api" | "/apis")
        && let Some((version, media_type)) = wants_aggregated(context)
    {
        let cached = cached(context, &format!("{path} {version}"), || Some(aggregated::document(path, version)))?;
        return Ok(cached.answer(&context.headers, media_type));
    }
    let format = accept::negotiate_format(&context.headers)?;
    if path == "/api" {
        return answer::value(context, StatusCode::OK, format, &documents::core_versions(&server_address(context)));
    }
    let cached = cached(context, path, || document(path))?;
    match format {
        Format::Json => Ok(cached.answer(&context.headers, JSON)),
        Format::Yaml => answer::json(context, StatusCode::OK, format, cached.bytes.clone()),
    }
}

fn cached(context: &Context, key: &str, make: impl FnOnce() -> Option<Value>) -> Result<Cached> {
    context
        .state
        .documents
        .get_or_make(key, || make().map(|value| Bytes::from(value.to_string())))
        .ok_or_else(Status::no_such_resource)
}

fn document(path: &str) -> Option<Value> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match segments.as_slice() {
        [] | [""] => Some(documents::paths()),
        ["apis"] => Some(documents::groups()),
        ["apis", group] => documents::group(group),
        ["api", version] => documents::resources("", version),
        ["apis", group, version] if !group.is_empty() => documents::resources(group, version),
        _ => None,
    }
}

fn server_address(context: &Context) -> String {
    let config = &context.state.config;
    let port = config.advertise_port.unwrap_or(context.state.port);
    std::net::SocketAddr::new(config.advertise_address, port).to_string()
}

/// The version of the aggregated form that the client prefers over the plain one, and the answer's media type.
fn wants_aggregated(context: &Context) -> Option<(&'static str, &'static str)> {
    let aggregated = |clause: &Clause| {
        let fits = clause.covers(JSON)
            && clause.parameter("g") == "apidiscovery.k8s.io"
            && clause.parameter("as") == "APIGroupDiscoveryList";
        match clause.parameter("v") {
            "v2" if fits => Some(("v2", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")),
            "v2beta1" if fits => {
                Some(("v2beta1", "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"))
            }
            _ => None,
        }
    };
    // The first clause that can be served at all decides.
    accept::clauses(&context.headers)
        .iter()
        .find(|clause| aggregated(clause).is_some() || clause.parameter("as").is_empty() && clause.covers(JSON))
        .and_then(aggregated)
}
