//! May the user do this: asks the authorizer, and words the refusal.

use machinery::gvk::GroupResource;

use super::Context;
use crate::audit::Trail;
use crate::plugin::Decision;
use crate::request::{RequestInfo, User};
use crate::state::State;
use crate::status::{Result, Status};

/// Load balancers and the agent's own probes have no credentials and learn nothing here but health.
const ALWAYS_ALLOWED: [&str; 3] = ["/healthz", "/livez", "/readyz"];

/// Passes where the user may.
///
/// # Errors
/// 403 in Kubernetes' words.
pub async fn authorize(state: &State, user: &User, info: &RequestInfo) -> Result<()> {
    if !info.is_resource && ALWAYS_ALLOWED.contains(&info.path.as_str()) {
        return Ok(());
    }
    match state.plugins.authorizer.authorize(user, &info.attributes()).await {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(reason) | Decision::NoOpinion(reason) => Err(refusal(user, info, &reason)),
    }
}

/// Passes where the user may, and has the audit log know why or why not.
///
/// # Errors
/// 403 in Kubernetes' words.
pub async fn authorize_request(state: &State, user: &User, info: &RequestInfo, audit: &Trail) -> Result<()> {
    if !audit.is_on() {
        return authorize(state, user, info).await;
    }
    let is_health = !info.is_resource && ALWAYS_ALLOWED.contains(&info.path.as_str());
    let decision = match is_health {
        true => Decision::Allow(String::new()),
        false => state.plugins.authorizer.authorize(user, &info.attributes()).await,
    };
    let (word, reason) = match &decision {
        Decision::Allow(reason) => ("allow", reason),
        Decision::Deny(reason) | Decision::NoOpinion(reason) => ("forbid", reason),
    };
    audit.annotate("authorization.k8s.io/decision", word);
    audit.annotate("authorization.k8s.io/reason", reason);
    match decision {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(reason) | Decision::NoOpinion(reason) => Err(refusal(user, info, &reason)),
    }
}

/// Passes where the user may do the same with another verb: what a request turns out to be besides its method.
///
/// # Errors
/// 403 in Kubernetes' words.
pub async fn authorize_as(context: &Context, verb: &str) -> Result<()> {
    let info = RequestInfo { verb: verb.to_string(), ..context.info.clone() };
    authorize(&context.state, &context.user, &info).await
}

/// The 403 of a user who may not do something.
pub(super) fn refusal(user: &User, info: &RequestInfo, reason: &str) -> Status {
    let mut why = if info.is_resource {
        let resource = match info.subresource.as_str() {
            "" => info.resource.clone(),
            subresource => format!("{}/{subresource}", info.resource),
        };
        let place = match info.namespace.as_str() {
            "" => "at the cluster scope".to_string(),
            namespace => format!("in the namespace \"{namespace}\""),
        };
        let (verb, group) = (&info.verb, &info.group);
        format!("User {:?} cannot {verb} resource {resource:?} in API group {group:?} {place}", user.name)
    } else {
        format!("User {:?} cannot {} path {:?}", user.name, info.verb, info.path)
    };
    if !reason.is_empty() {
        why = format!("{why}: {reason}");
    }
    let resource = GroupResource { group: info.group.clone(), resource: info.resource.clone() };
    Status::forbidden(&resource, &info.name, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Query;

    #[test]
    fn refusals_read_as_kubernetes_writes_them() {
        let user = User::new("ann", &[]);
        let cases = [
            (
                "/api/v1/namespaces/default/pods",
                "pods is forbidden: User \"ann\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"",
            ),
            (
                "/apis/apps/v1/namespaces/x/deployments/d/scale",
                "deployments.apps \"d\" is forbidden: User \"ann\" cannot get resource \"deployments/scale\" in API \
                 group \"apps\" in the namespace \"x\"",
            ),
            (
                "/api/v1/nodes",
                "nodes is forbidden: User \"ann\" cannot list resource \"nodes\" in API group \"\" at the cluster scope",
            ),
            ("/metrics", "forbidden: User \"ann\" cannot get path \"/metrics\""),
        ];
        for (path, message) in cases {
            let info = RequestInfo::parse(&http::Method::GET, path, &Query::default());
            assert_eq!(refusal(&user, &info, "").message(), message);
        }
    }
}
