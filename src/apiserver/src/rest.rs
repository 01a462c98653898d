//! The REST operations on resources, driven by the registry: which operation a request is, and the steps that they
//! share. What a kind does differently comes from its `Kind`; the few resources with operations of their own
//! (scale, binding, eviction, finalize) have a file each.

pub mod apply;
pub mod collection;
mod components;
pub mod create;
pub mod decode;
pub mod delete;
pub mod finish;
pub mod get;
mod initial;
pub mod list;
pub mod managed;
pub mod options;
mod owners;
pub mod paging;
pub mod patch;
pub mod pods;
pub mod prepare;
pub mod protobuf;
pub mod review;
pub mod scale;
pub mod select;
pub mod shape;
pub mod target;
pub mod update;
mod versions;
pub mod watch;

use http::{Request, Response};

use crate::body::Body;
use crate::custom;
use crate::handler::{Context, LongRunning};
use crate::status::{Result, Status};
use crate::stream;
use target::Target;

/// Answers a request for a resource.
///
/// # Errors
/// 404 and 405 for what is not served, and whatever the operation answers.
pub async fn serve(context: &Context, request: Request<Body>, running: Option<LongRunning>) -> Result<Response<Body>> {
    let target = Target::of(context)?;
    target.resource.deprecated.iter().for_each(|warning| context.warnings.add(warning.to_string()));
    if let Some(subresource) = target.subresource {
        return serve_subresource(&target, subresource.name, request, running).await;
    }
    if !target.resource.has_verb(&context.info.verb) || !fits_name(&context.info.verb, target.name) {
        return Err(not_allowed());
    }
    if target.resource.verbs == ["create"] {
        return review::create(&target, request).await;
    }
    if target.resource.plural == "componentstatuses" {
        return components::answer(&target).await;
    }
    if context.info.verb == "create" && context.served.is_terminating(target.resource) {
        return Err(Status::new(
            405,
            "MethodNotAllowed",
            "create not allowed while custom resource definition is terminating",
        ));
    }
    let is_definition =
        target.resource.plural == custom::PLURAL && target.resource.group_version.group == custom::GROUP;
    let answer = serve_main(&target, request, running).await?;
    if is_definition && !matches!(context.info.verb.as_str(), "get" | "list" | "watch") {
        // Whoever has written a definition finds it served.
        context.state.customs.refresh(context.state.store.as_ref()).await?;
    }
    Ok(answer)
}

async fn serve_main(
    target: &Target<'_>,
    request: Request<Body>,
    running: Option<LongRunning>,
) -> Result<Response<Body>> {
    match target.context.info.verb.as_str() {
        "get" => get::get(target).await,
        "list" => list::list(target).await,
        "watch" => {
            let reader = stream::messages::reader(request)?;
            in_messages(target, reader, watch::watch(target, running).await?)
        }
        "create" => create::create(target, request).await,
        "update" => update::update(target, request).await,
        "patch" => patch::patch(target, request).await,
        "delete" => delete::delete(target, request).await,
        "deletecollection" => collection::delete(target, request).await,
        _ => Err(not_allowed()),
    }
}

async fn serve_subresource(
    target: &Target<'_>,
    name: &str,
    request: Request<Body>,
    running: Option<LongRunning>,
) -> Result<Response<Body>> {
    let verb = target.context.info.verb.as_str();
    match (name, verb) {
        ("exec" | "attach" | "portforward", "get" | "create") => {
            stream::pods::connect(target, name, request, running).await
        }
        ("log", "get") => {
            let reader = stream::messages::reader(request)?;
            in_messages(target, reader, stream::pods::log(target, running).await?)
        }
        ("proxy", _) => stream::proxy::serve(target, request, running).await,
        ("scale", "get") => scale::get(target).await,
        ("scale", "update") => scale::update(target, request).await,
        ("scale", "patch") => scale::patch(target, request).await,
        ("binding", "create") => pods::binding::create(target, request).await,
        ("eviction", "create") => pods::eviction::create(target, request).await,
        ("token", "create") => review::create(target, request).await,
        ("status" | "ephemeralcontainers" | "resize" | "approval", "get") => get::get(target).await,
        ("status" | "ephemeralcontainers" | "resize" | "approval" | "finalize", "update") => {
            update::update(target, request).await
        }
        ("status" | "ephemeralcontainers" | "resize" | "approval", "patch") => patch::patch(target, request).await,
        _ => Err(not_allowed()),
    }
}

/// An answer as a WebSocket where the client asks for one.
fn in_messages(
    target: &Target<'_>,
    reader: Option<stream::messages::Reader>,
    answer: Response<Body>,
) -> Result<Response<Body>> {
    match reader {
        Some(reader) => reader.answer(target.state(), answer),
        None => Ok(answer),
    }
}

/// What is made has its name in the body, whatever a right to make things of one name says; what is changed has it in
/// the URL.
fn fits_name(verb: &str, name: &str) -> bool {
    match verb {
        "create" => name.is_empty(),
        "update" | "patch" | "delete" => !name.is_empty(),
        _ => true,
    }
}

fn not_allowed() -> Status {
    Status::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
}
