//! Create-only resources and subresources that are answered and not kept: reviews, and tokens of service accounts.

use api::resource::Resource;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::Value;

use super::options::WriteOptions;
use super::target::{Facts, Target};
use super::{create, decode};
use crate::accept;
use crate::answer;
use crate::body::{self, Body};
use crate::plugin::{Operation, Review};
use crate::status::{Result, Status};
use crate::storage;

/// Answers a review.
///
/// # Errors
/// 404 for a parent that is not there, 405 where nobody answers such reviews, and what the reviewer answers.
pub async fn create(target: &Target<'_>, request: Request<Body>) -> Result<Response<Body>> {
    if target.resource.plural == "bindings" {
        return super::pods::binding::create(target, request).await;
    }
    let name = match target.subresource {
        Some(subresource) => format!("{}/{}", target.resource.plural, subresource.name),
        None => target.resource.plural.to_string(),
    };
    let key = (target.resource.group_version.group.clone(), name);
    let reviewer =
        target.state().plugins.reviewers.get(&key).ok_or_else(|| {
            Status::new(405, "MethodNotAllowed", format!("this server has nobody who answers {}", key.1))
        })?;
    let options = WriteOptions::read(target.context, "CreateOptions")?;
    let bytes: Bytes = body::read(request.into_body(), target.state().config.limits.body_bytes).await?;
    let decoded = decode::body(&target.context.headers, &bytes, bytes.len())?;
    let kind = target.body_kind();
    let mut object = decoded.value;
    decode::set_type_to(&kind.group_version.to_string(), &kind.kind, &mut object)?;
    create::set_place(target, &mut object)?;
    target.context.audit.about(&object);
    let parent = match target.subresource {
        Some(_) => {
            decode::complete_body(&kind, &mut object)?;
            let parent = storage::read(target.state().store.as_ref(), &target.key(target.name)).await?;
            Some(parent.ok_or_else(|| target.not_found())?)
        }
        None => {
            complete(target.resource, &mut object)?;
            None
        }
    };
    let options_value = options.value("CreateOptions");
    let facts = Facts {
        operation: Operation::Create,
        kind: &kind,
        subresource: target.subresource_name(),
        name: target.name,
        old: None,
        options: &options_value,
        dry_run: options.dry_run,
    };
    target.admit(&facts, &mut object).await?;
    target.validate_admission(&facts, Some(&object)).await?;
    let review = Review {
        user: &target.context.user,
        namespace: target.namespace,
        name: target.name,
        query: &target.context.query,
        parent: parent.as_ref(),
        warnings: &target.context.warnings,
        audit: &target.context.audit,
    };
    let answered = reviewer.review(&review, object).await?;
    let format = accept::negotiate_format(&target.context.headers, true)?;
    answer::value(target.context, StatusCode::CREATED, format, &answered)
}

fn complete(resource: &Resource, object: &mut Value) -> Result<()> {
    decode::complete(resource, object)?;
    let errors = resource.behaviour.validate(object);
    if !errors.is_empty() {
        return Err(Status::invalid(&resource.group_version.group, &resource.kind, "", &errors));
    }
    Ok(())
}
