//! Objects that a fresh server has: made where they are missing, put right where they are kept right.

use futures::{StreamExt, TryStreamExt, stream};
use http::{Method, Request};
use serde_json::Value;

/// Writes at once; they share transactions.
const PARALLEL: usize = 32;

/// Why an object was not written.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An object that is to be written.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// It is not there.
    Create {
        /// `/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas`.
        collection: String,
        /// The object.
        object: Value,
    },
    /// It is another than it should be.
    Update {
        /// The object's path, or its subresource's.
        path: String,
        /// The object, with the version that is known.
        object: Value,
    },
}

/// Writes all of them. What somebody else wrote meanwhile is left to the next round.
///
/// # Errors
/// The first that cannot be written.
pub async fn write(client: &kube::Client, steps: Vec<Step>) -> Result<(), BoxError> {
    let writes = steps.into_iter().map(|step| one(client, step));
    stream::iter(writes).buffer_unordered(PARALLEL).try_collect::<Vec<()>>().await?;
    Ok(())
}

async fn one(client: &kube::Client, step: Step) -> Result<(), BoxError> {
    let (method, path, object) = match step {
        Step::Create { collection, object } => (Method::POST, collection, object),
        Step::Update { path, object } => (Method::PUT, path, object),
    };
    let request = Request::builder().method(method).uri(&path).header(http::header::CONTENT_TYPE, "application/json");
    match client.request::<Value>(request.body(serde_json::to_vec(&object)?)?).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(format!("writing {path}: {error}").into()),
    }
}
