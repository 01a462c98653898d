//! Which part of the server answers a path.

use http::{Method, Request, Response, StatusCode};

use super::{Context, LongRunning};
use crate::accept::negotiate_format;
use crate::body::{self, Body};
use crate::status::{Result, Status};
use crate::{aggregate, answer, discovery, openapi, rest, version};

/// The debug pages of flow control.
const FLOW_PAGES: &str = "/debug/api_priority_and_fairness/";

/// Answers.
///
/// # Errors
/// 404 for a path that nobody serves, and whatever the part that serves it answers.
pub async fn route(
    context: &Context,
    request: Request<Body>,
    long_running: Option<LongRunning>,
) -> Result<Response<Body>> {
    if let Some(service) = aggregate::find(context).await? {
        return aggregate::serve(context, &service, request, long_running).await;
    }
    if context.info.is_resource {
        return rest::serve(context, request, long_running).await;
    }
    if !matches!(context.method, Method::GET | Method::HEAD) {
        return Err(Status::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        ));
    }
    let path = context.info.path.as_str();
    if let Some(document) = context.state.plugins.documents.get(path) {
        return Ok(body::response(StatusCode::OK, document.media_type, document.bytes.clone()));
    }
    if let Some(answer) = context.state.health.answer(path, &context.query, context.state.store.as_ref()).await {
        return Ok(answer);
    }
    match path {
        "/metrics" => metrics(context).await,
        _ if path.starts_with(FLOW_PAGES) => {
            let with_details = context.query.text("includeRequestDetails").is_some();
            let page = context.state.flow.debug_page(&path[FLOW_PAGES.len()..], with_details);
            page.map(|page| body::text(StatusCode::OK, page)).ok_or_else(Status::no_such_resource)
        }
        "/version" | "/version/" => {
            let format = negotiate_format(&context.headers, false)?;
            answer::value(context, StatusCode::OK, format, &version::info())
        }
        _ if path.starts_with("/openapi/") => match aggregate::openapi::behind(context).await? {
            Some(service) => aggregate::serve(context, &service, request, long_running).await,
            None => openapi::serve(context),
        },
        _ => discovery::serve(context).await,
    }
}

async fn metrics(context: &Context) -> Result<Response<Body>> {
    let store = &context.state.store;
    let mut objects = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for resource in context.served.resources().filter(|resource| resource.has_verb("get")) {
        let is_stored_elsewhere = resource.storage.is_some() && resource.custom().is_none();
        if is_stored_elsewhere || !seen.insert(resource.group_resource()) {
            continue;
        }
        let count = store.count(&crate::storage::prefix(resource, "")).await.map_err(crate::storage::failure)?;
        objects.push((resource.group_resource().to_string(), count));
    }
    let revision = store.revision().await.map_err(crate::storage::failure)?;
    let mut text = context.state.metrics.render(&objects, revision);
    context.state.caller.figures.render(&mut text);
    context.state.authentication.render(&mut text);
    context.state.plugins.authorizing.render(&mut text);
    context.state.flow.render(&mut text);
    context.state.kept.render(&mut text);
    if let Some(audit) = &context.state.plugins.audit {
        audit.render(&mut text);
    }
    Ok(body::response(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text))
}
