//! list: the objects under a prefix at one revision, in pages where asked for. A list without selectors as JSON is
//! a copy of bytes.

mod copied;
mod rows;

use std::sync::Arc;

use api::resource::Resource;
use bytes::Bytes;
use http::{Response, StatusCode};
use machinery::{meta, table};
use serde_json::{Map, Value, json};
use store::{Entry, Error, RangeOptions};

use copied::Copied;

use super::paging::{At, Page, token};
use super::select::Selection;
use super::target::Target;
use super::{get, shape};
use crate::accept::{Form, Format};
use crate::answer;
use crate::body::{self, Body};
use crate::convert;
use crate::processor;
use crate::status::{Result, Status};
use crate::storage;

/// How many keys are read at a time while a selector picks few of many.
const CHUNK: usize = 500;
/// After so many objects others get their turn, where this took long.
const LOOKS_EVERY: usize = 64;

/// What a list found.
pub struct Found {
    /// In key order.
    pub entries: Vec<Entry>,
    /// The same as the resource has them, where they had to be converted to be found.
    pub converted: Option<Vec<Value>>,
    /// The revision it shows.
    pub revision: u64,
    /// The token of the next page; `None` on the last.
    pub next: Option<String>,
    /// How many come behind this page, where that is known without looking.
    pub remaining: Option<u64>,
}

impl Found {
    /// What was found, as the resource has it.
    ///
    /// # Errors
    /// See [`Target::present`].
    pub async fn present(self, target: &Target<'_>) -> Result<Vec<Value>> {
        match self.converted {
            Some(converted) => Ok(converted),
            None => target.present_all(&self.entries).await,
        }
    }
}

/// Answers with a list.
///
/// # Errors
/// 400, 406, 410 and 504 as `resourceVersion`, `continue` and the selectors demand.
pub async fn list(target: &Target<'_>) -> Result<Response<Body>> {
    let (format, form) = target.negotiate()?;
    let selection = Selection::read(target)?;
    let page = Page::read(&target.context.query)?;
    let found = find(target, &selection, &page).await?;
    let context = target.context;
    if format == Format::Json && !context.query.flag("pretty") {
        match form {
            Form::Object if target.resource.storage.is_none() => {
                let (pieces, length_bytes) = Copied::new(target, found);
                return Ok(body::in_pieces(&context.headers, format.media_type(), pieces, length_bytes).await);
            }
            Form::Metadata if target.resource.storage.is_none() => {
                if let Some(bytes) = copied::metadata(&found).await {
                    return answer::json(context, StatusCode::OK, format, Bytes::from(bytes));
                }
            }
            // Where a webhook converts objects, it is asked for all of them at once.
            Form::Table if convert::webhook(target.resource).is_none() => {
                let (pieces, length_bytes) = rows::table(target, &found).await?;
                return Ok(body::in_pieces(&context.headers, format.media_type(), pieces, length_bytes).await);
            }
            _ => {}
        }
    }
    let metadata = metadata(&found);
    let list = shaped(target, form, metadata, found.present(target).await?)?;
    answer::value(context, StatusCode::OK, format, &list)
}

/// Finds the objects of a page.
///
/// # Errors
/// 410 where the revision is compacted, 504 where it has not happened.
pub async fn find(target: &Target<'_>, selection: &Selection, page: &Page) -> Result<Found> {
    let store = &target.state().store;
    let mut at_revision = match page.at {
        At::Newest => None,
        At::Exactly(revision) => Some(revision),
        At::NotOlderThan(revision) => {
            get::not_older_than(target, revision).await?;
            None
        }
    };
    let prefix = storage::prefix(target.resource, target.namespace);
    if let (Some(name), At::Newest | At::NotOlderThan(_)) = (selection.name(), page.at)
        && (!target.namespace.is_empty() || !target.resource.namespaced)
    {
        return find_one(target, selection, name).await;
    }
    let limit = page.limit.unwrap_or(usize::MAX);
    let converts = selection.needs_conversion(target.resource);
    let mut found =
        Found { entries: Vec::new(), converted: converts.then(Vec::new), revision: 0, next: None, remaining: None };
    let mut after: Option<Arc<str>> = page.after.as_ref().map(|after| format!("{prefix}{after}").into());
    loop {
        let wanted = match (selection.is_everything(), page.limit) {
            (_, None) => None,
            (true, Some(limit)) => Some(limit),
            (false, Some(_)) => Some(CHUNK),
        };
        let options = RangeOptions { at_revision, after: after.as_deref().map(str::to_string), limit: wanted };
        let range = store.range(&prefix, options).await.map_err(|error| match (error, &page.after) {
            (Error::Compacted { .. }, Some(after)) => Status::expired_continue(token(None, after)),
            (error, _) => storage::failure(error),
        })?;
        found.revision = range.revision;
        at_revision = Some(range.revision);
        let count = range.entries.len();
        let mut converted = match converts {
            true => target.present_all(&range.entries).await?.into_iter(),
            false => Vec::new().into_iter(),
        };
        for (at, entry) in range.entries.into_iter().enumerate() {
            if at % LOOKS_EVERY == LOOKS_EVERY - 1 {
                processor::pause().await;
            }
            after = Some(entry.key.clone());
            match (&mut found.converted, converted.next()) {
                (Some(all), Some(object)) if selection.matches_object(target.resource, &object) => {
                    all.push(object);
                    found.entries.push(entry);
                }
                (Some(_), _) => {}
                (None, _) if selection.matches(target.resource, &entry)? => found.entries.push(entry),
                (None, _) => {}
            }
            let behind = range.remaining + (count - at - 1) as u64;
            if found.entries.len() >= limit && behind > 0 {
                let last = after.as_deref().unwrap_or_default();
                found.next = Some(token(Some(found.revision), last.strip_prefix(&prefix).unwrap_or(last)));
                found.remaining = selection.is_everything().then_some(behind);
                return Ok(found);
            }
        }
        if range.remaining == 0 || count == 0 {
            return Ok(found);
        }
    }
}

async fn find_one(target: &Target<'_>, selection: &Selection, name: &str) -> Result<Found> {
    let store = &target.state().store;
    // The revision first: what is read afterwards is at least as new.
    let revision = store.revision().await.map_err(storage::failure)?;
    let mut entries = Vec::new();
    if let Some(entry) = store.get(&target.key(name)).await.map_err(storage::failure)? {
        let is_meant = match selection.needs_conversion(target.resource) {
            true => selection.matches_object(target.resource, &target.present(&entry).await?),
            false => selection.matches(target.resource, &entry)?,
        };
        entries.extend(is_meant.then_some(entry));
    }
    let revision = entries.first().map_or(revision, |entry| entry.mod_revision.max(revision));
    Ok(Found { entries, converted: None, revision, next: None, remaining: None })
}

/// The metadata of a list.
pub fn metadata(found: &Found) -> Value {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".to_string(), found.revision.to_string().into());
    if let Some(next) = &found.next {
        metadata.insert("continue".to_string(), next.as_str().into());
    }
    if let Some(remaining) = found.remaining {
        metadata.insert("remainingItemCount".to_string(), remaining.into());
    }
    Value::Object(metadata)
}

/// Whether the items of a list say what they are: of a custom resource, whose lists Kubernetes makes of untyped objects.
/// Of other kinds the list's own kind tells.
fn has_typed_items(resource: &Resource) -> bool {
    resource.custom().is_some()
}

/// A list of objects in the form the client wants.
///
/// # Errors
/// 400 for a Table with options that are unknown.
pub fn shaped(target: &Target<'_>, form: Form, metadata: Value, mut objects: Vec<Value>) -> Result<Value> {
    let resource = target.resource;
    Ok(match form {
        Form::Object => {
            if !has_typed_items(resource) {
                objects.iter_mut().for_each(meta::remove_type);
            }
            json!({
                "kind": format!("{}List", resource.kind),
                "apiVersion": resource.group_version.to_string(),
                "metadata": metadata,
                "items": objects,
            })
        }
        Form::Metadata => table::partial_object_metadata_list(metadata, &objects),
        Form::Table => {
            let include = shape::include(target)?;
            let rows = objects.into_iter().map(|object| shape::row(resource, object, include)).collect();
            table::table(metadata, shape::columns(resource), rows)
        }
    })
}
