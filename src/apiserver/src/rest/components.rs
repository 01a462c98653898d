//! `componentstatuses`: how the store and the components of this process stand, asked for with every request.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::target::Target;
use super::{finish, list};
use crate::answer;
use crate::body::Body;
use crate::health;
use crate::status::Result;

/// Answers a get or list.
///
/// # Errors
/// 404 for another name.
pub async fn answer(target: &Target<'_>) -> Result<Response<Body>> {
    let state = target.state();
    let components = [
        component("controller-manager", state.components.check("controller-manager")),
        component("etcd-0", health::check_store(state.store.as_ref()).await),
        component("scheduler", state.components.check("scheduler")),
    ];
    if target.name.is_empty() {
        let (format, form) = target.negotiate()?;
        let list = list::shaped(target, form, json!({}), components.to_vec())?;
        return answer::value(target.context, StatusCode::OK, format, &list);
    }
    let found: Option<&Value> = components.iter().find(|component| component["metadata"]["name"] == target.name);
    finish::object(target, StatusCode::OK, found.ok_or_else(|| target.not_found())?)
}

fn component(name: &str, health: std::result::Result<(), String>) -> Value {
    let condition = match health {
        Ok(()) => json!({"type": "Healthy", "status": "True", "message": "ok"}),
        Err(why) => json!({"type": "Healthy", "status": "False", "error": why}),
    };
    json!({"apiVersion": "v1", "kind": "ComponentStatus", "metadata": {"name": name}, "conditions": [condition]})
}
