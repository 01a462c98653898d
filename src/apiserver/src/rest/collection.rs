//! deletecollection: every object that the selectors mean, each as by a delete of its own.

use futures::future::try_join_all;
use http::{Request, Response, StatusCode};
use serde_json::Value;
use store::Entry;

use super::delete::{self, Admitted, Deleted};
use super::list::{self, find};
use super::options::DeleteOptions;
use super::paging::Page;
use super::select::Selection;
use super::target::Target;
use crate::answer;
use crate::body::Body;
use crate::status::Result;
use crate::storage;

/// How many objects are deleted at a time; they share the store's commits.
const AT_A_TIME: usize = 32;

/// Answers a deletecollection with the list of what was deleted.
///
/// # Errors
/// The first failure that is not a 404; what was deleted until then stays deleted.
pub async fn delete(target: &Target<'_>, request: Request<Body>) -> Result<Response<Body>> {
    let (format, form) = target.negotiate()?;
    let selection = Selection::read(target)?;
    let admitted = request.extensions().get::<Admitted>().copied();
    let options = delete::read_options(target, request).await?;
    // Whoever asks for a page deletes a page.
    let page = Page::read(&target.context.query)?;
    let found = find(target, &selection, &page).await?;
    let name_of = |entry: &Entry| storage::place(target.resource, &entry.key).1.to_string();
    let names: Vec<String> = found.entries.iter().map(name_of).collect();
    let mut deleted = Vec::with_capacity(names.len());
    for some in names.chunks(AT_A_TIME) {
        deleted.extend(try_join_all(some.iter().map(|name| one(target, name, &options, admitted))).await?);
    }
    let list = list::shaped(target, form, list::metadata(&found), deleted.into_iter().flatten().collect())?;
    answer::value(target.context, StatusCode::OK, format, &list)
}

/// `None` where somebody else was faster.
async fn one(
    target: &Target<'_>,
    name: &str,
    options: &DeleteOptions,
    admitted: Option<Admitted>,
) -> Result<Option<Value>> {
    match delete::remove_unless(target, name, options, admitted).await {
        Ok(Deleted::Gone(object) | Deleted::Waiting(object)) => Ok(Some(object)),
        Err(status) if status.code() == 404 => Ok(None),
        Err(status) => Err(status),
    }
}
