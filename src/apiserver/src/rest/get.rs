//! get: one object.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::target::Target;
use super::{finish, paging};
use crate::accept;
use crate::answer;
use crate::body::Body;
use crate::status::Result;
use crate::storage;

/// Answers with the object of the URL.
///
/// # Errors
/// 404; 504 where the client has seen a newer store than this one.
pub async fn get(target: &Target<'_>) -> Result<Response<Body>> {
    // Refuse what cannot be written before anything is read.
    accept::negotiate(&target.context.headers)?;
    let store = &target.state().store;
    if let Some(wanted) = paging::resource_version(target.context.query.get("resourceVersion").unwrap_or_default())? {
        not_older_than(target, wanted).await?;
    }
    let entry = store.get(&target.key(target.name)).await.map_err(storage::failure)?;
    finish::entry(target, StatusCode::OK, &entry.ok_or_else(|| target.not_found())?)
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

/// `componentstatuses`: the one component that is not this process is the store.
///
/// # Errors
/// 404 for another name.
pub async fn component_statuses(target: &Target<'_>) -> Result<Response<Body>> {
    let (status, message) = match target.state().store.revision().await {
        Ok(_) => ("True", "ok".to_string()),
        Err(error) => ("False", stdx::error::chain(&error)),
    };
    let component = |name: &str, status: &str, message: &str| {
        json!({
            "apiVersion": "v1",
            "kind": "ComponentStatus",
            "metadata": {"name": name},
            "conditions": [{"type": "Healthy", "status": status, "message": message}],
        })
    };
    let components = [
        component("controller-manager", "True", "ok"),
        component("etcd-0", status, &message),
        component("scheduler", "True", "ok"),
    ];
    if target.name.is_empty() {
        let (format, form) = accept::negotiate(&target.context.headers)?;
        let metadata = json!({});
        let list = super::list::shaped(target, form, metadata, components.to_vec())?;
        return answer::value(target.context, StatusCode::OK, format, &list);
    }
    let found: Option<&Value> = components.iter().find(|component| component["metadata"]["name"] == target.name);
    finish::object(target, StatusCode::OK, found.ok_or_else(|| target.not_found())?)
}
