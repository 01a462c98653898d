//! Answering with one object in the form the client wants.

use bytes::Bytes;
use http::{Response, StatusCode};
use machinery::table;
use serde_json::{Value, json};
use store::Entry;

use super::shape;
use super::target::Target;
use super::update::Written;
use crate::accept::{Form, Format};
use crate::answer;
use crate::body::Body;
use crate::status::Result;
use crate::storage;

/// Answers with a stored object; as JSON it is not decoded.
///
/// # Errors
/// 406, and 500 where the bytes are no object.
pub async fn entry(target: &Target<'_>, code: StatusCode, entry: &Entry) -> Result<Response<Body>> {
    let (format, form) = target.negotiate()?;
    if form == Form::Object && format == Format::Json && target.resource.storage.is_none() {
        let mut bytes = Vec::with_capacity(entry.value.len() + 48);
        storage::splice(&mut bytes, &entry.value, entry.mod_revision);
        bytes.push(b'\n');
        return answer::json(target.context, code, format, Bytes::from(bytes));
    }
    object(target, code, &target.present(entry).await?)
}

/// Answers with an object.
///
/// # Errors
/// 406.
pub fn object(target: &Target<'_>, code: StatusCode, object: &Value) -> Result<Response<Body>> {
    let (format, form) = target.negotiate()?;
    let shaped = match form {
        Form::Object => return answer::value(target.context, code, format, object),
        Form::Metadata => table::partial_object_metadata(object),
        Form::Table => {
            let include = shape::include(target)?;
            let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            let rows = vec![shape::row(target.resource, object.clone(), include)];
            table::table(metadata, shape::columns(target.resource), rows)
        }
    };
    answer::value(target.context, code, format, &shaped)
}

/// Answers with what a write left behind.
///
/// # Errors
/// 406.
pub async fn written(target: &Target<'_>, code: StatusCode, written: &Written) -> Result<Response<Body>> {
    match written {
        Written::Stored(stored) => entry(target, code, stored).await,
        Written::Dry(value) | Written::Gone(value) => object(target, code, value),
    }
}
