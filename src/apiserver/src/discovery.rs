//! Which groups, versions and resources there are: `/api`, `/apis`, `/apis/G`, `/apis/G/V`, and the aggregated
//! form of the first two. Made from the registry on first use and kept as bytes with an ETag.

mod aggregated;
mod documents;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;

use crate::accept::{self, Clause, Format};
use crate::aggregate;
use crate::answer;
use crate::body::{Body, JSON};
use crate::cache::Cached;
use crate::handler::Context;
use crate::served::Served;
use crate::status::{Result, Status};

/// Answers a discovery path.
///
/// # Errors
/// 404 for a group or version that is not served; 406.
pub async fn serve(context: &Context) -> Result<Response<Body>> {
    let path = context.info.path.trim_end_matches('/');
    if matches!(path, "/api" | "/apis")
        && let Some((version, media_type)) = wants_aggregated(context)
    {
        if path == "/apis"
            && let Some(document) = with_others(context, Some(version)).await?
        {
            return Ok(Cached::new(document.to_string().into()).answer(&context.headers, media_type));
        }
        let cached = cached(context, &format!("{path} {version}"), || {
            Some(aggregated::document(&context.served, path, version))
        })?;
        return Ok(cached.answer(&context.headers, media_type));
    }
    let format = accept::negotiate_format(&context.headers, false)?;
    if path == "/api" {
        return answer::value(context, StatusCode::OK, format, &documents::core_versions(&server_address(context)));
    }
    if path == "/apis"
        && let Some(document) = with_others(context, None).await?
    {
        return answer::value(context, StatusCode::OK, format, &document);
    }
    if let Some(name) = path.strip_prefix("/apis/")
        && !name.contains('/')
        && let services = aggregate::services(&context.state).await?
        && let Some(versions) = aggregate::discovery::groups(&context.served, &services).get(name)
    {
        let mut group = aggregate::discovery::plain(name, versions);
        if let Some(mut own) = documents::group(&context.served, name) {
            aggregate::discovery::append(&mut own, group);
            group = own;
        }
        group["kind"] = "APIGroup".into();
        group["apiVersion"] = "v1".into();
        return answer::value(context, StatusCode::OK, format, &group);
    }
    let cached = cached(context, path, || document(&context.served, path))?;
    match format {
        Format::Json => Ok(cached.answer(&context.headers, JSON)),
        Format::Yaml | Format::Protobuf => answer::json(context, StatusCode::OK, format, cached.bytes.clone()),
    }
}

/// `/apis` with the groups of other servers, in the plain form or a version of the aggregated one; `None` where there
/// are none. It is made anew each time, since those servers come and go.
async fn with_others(context: &Context, version: Option<&str>) -> Result<Option<Value>> {
    let services = aggregate::services(&context.state).await?;
    let others = aggregate::discovery::groups(&context.served, &services);
    if others.is_empty() {
        return Ok(None);
    }
    let (mut document, field) = match version {
        Some(version) => (aggregated::document(&context.served, "/apis", version), "items"),
        None => (documents::groups(&context.served), "groups"),
    };
    for (group, versions) in &others {
        let entry = match version {
            Some(_) => aggregate::discovery::aggregated(&context.state, group, versions).await,
            None => aggregate::discovery::plain(group, versions),
        };
        if let Some(list) = document[field].as_array_mut() {
            // A group may have versions here and there.
            let is_same = |own: &&mut Value| own["name"] == **group || own["metadata"]["name"] == **group;
            match list.iter_mut().find(is_same) {
                Some(own) => aggregate::discovery::append(own, entry),
                None => list.push(entry),
            }
        }
    }
    Ok(Some(document))
}

fn cached(context: &Context, key: &str, make: impl FnOnce() -> Option<Value>) -> Result<Cached> {
    context
        .served
        .documents
        .get_or_make(key, || make().map(|value| Bytes::from(value.to_string())))
        .ok_or_else(Status::no_such_resource)
}

fn document(served: &Served, path: &str) -> Option<Value> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match segments.as_slice() {
        [] | [""] => Some(documents::paths(served)),
        ["apis"] => Some(documents::groups(served)),
        ["apis", group] => documents::group(served, group),
        ["api", version] => documents::resources(served, "", version),
        ["apis", group, version] if !group.is_empty() => documents::resources(served, group, version),
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
