//! get: one object.

use http::{Response, StatusCode};

use super::target::Target;
use super::{finish, versions};
use crate::body::Body;
use crate::status::Result;
use crate::storage;

/// Answers with the object of the URL.
///
/// # Errors
/// 404; 504 where the client has seen a newer store than this one.
pub async fn get(target: &Target<'_>) -> Result<Response<Body>> {
    // Refuse what cannot be written before anything is read.
    target.negotiate()?;
    let store = &target.state().store;
    if let Some(wanted) = versions::of_resource(&target.context.query, target.resource)? {
        not_older_than(target, wanted).await?;
    }
    let entry = store.get(&target.key(target.name)).await.map_err(storage::failure)?;
    finish::entry(target, StatusCode::OK, &entry.ok_or_else(|| target.not_found())?).await
}

/// Passes where the store has reached `wanted`.
///
/// # Errors
/// 504 where it has not.
pub async fn not_older_than(target: &Target<'_>, wanted: u64) -> Result<()> {
    let current = target.state().store.revision().await.map_err(storage::failure)?;
    if current < wanted {
        return Err(storage::failure(store::Error::Future { requested: wanted, current }));
    }
    Ok(())
}
