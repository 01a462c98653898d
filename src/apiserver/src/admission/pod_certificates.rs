//! What becomes of requests for pods' certificates: the server says since when, a certificate begins now, and it is
//! given by whoever may sign for the signer.

use api::kinds::certificates::pod_request::begins_now;
use async_trait::async_trait;
use jiff::Timestamp;
use machinery::field::{FieldError, Path};
use machinery::meta;
use serde_json::Value;

use super::name_of;
use super::signers::{GROUP, Signers};
use crate::live::{items, text};
use crate::plugin::{Admission, Admit, Operation};
use crate::status::{Result, Status};

const KIND: &str = "PodCertificateRequest";

/// The plugin; in Kubernetes it is a part of how the status is stored.
pub struct PodCertificates(pub Signers);

#[async_trait]
impl Admission for PodCertificates {
    fn name(&self) -> &'static str {
        "PodCertificateSigning"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Update
    }

    async fn admit(&self, request: &Admit<'_>, object: &mut Value) -> Result<()> {
        if concerns(request) {
            stamp(object, request.old, &meta::format_time(Timestamp::now()));
        }
        Ok(())
    }

    async fn validate(&self, request: &Admit<'_>, object: Option<&Value>) -> Result<()> {
        let Some(object) = object.filter(|_| concerns(request)) else { return Ok(()) };
        let chain = |object: &Value| text(object, "/status/certificateChain").to_string();
        if request.old.is_some_and(|old| chain(old) == chain(object)) {
            return Ok(());
        }
        let invalid = |errors| Status::invalid(GROUP, KIND, &name_of(request, Some(object)), &errors);
        let errors = begins_now(object, Timestamp::now());
        if !errors.is_empty() {
            return Err(invalid(errors));
        }
        // A change is judged by the signer that is kept.
        let signer = text(request.old.unwrap_or(object), "/spec/signerName");
        if self.0.allows(request.user, "sign", signer).await {
            return Ok(());
        }
        let why = format!("User {:?} is not permitted to \"sign\" for signer {signer:?}", request.user.name);
        Err(invalid(vec![FieldError::forbidden(&Path::new("spec").child("signerName"), why)]))
    }
}

fn concerns(request: &Admit<'_>) -> bool {
    request.group_version.group == GROUP
        && request.resource == "podcertificaterequests"
        && request.subresource == "status"
}

/// Writes down since when a condition has its status, where the client does not.
fn stamp(object: &mut Value, old: Option<&Value>, now: &str) {
    let before = old.map(|old| items(old, "/status/conditions")).unwrap_or_default();
    let conditions = object.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten().filter(|condition| condition.is_object()) {
        if condition["lastTransitionTime"].is_string() {
            continue;
        }
        let mut same =
            before.iter().filter(|old| old["type"] == condition["type"] && old["status"] == condition["status"]);
        let since = same.find_map(|old| old["lastTransitionTime"].as_str());
        condition["lastTransitionTime"] = since.unwrap_or(now).into();
    }
}

#[cfg(test)]
mod tests {
    use super::super::signers::testing::Only;
    use super::super::testing::{create, run};
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn a_certificate_is_given_by_whoever_may_sign() {
        let kept = json!({"metadata": {"name": "r"}, "spec": {"signerName": "example.com/own"}});
        let with = |status: Value| {
            let mut object = kept.clone();
            object["status"] = status;
            object
        };
        let now = meta::format_time(Timestamp::now());
        let signed = |begin: &str| with(json!({"certificateChain": "x", "notBefore": begin}));
        let denied = with(json!({"conditions": [{"type": "Denied", "status": "True"}]}));
        let why = "User \"ann\" is not permitted to \"sign\" for signer \"example.com/own\"";
        for (allowed, object, expected) in [
            (Only("sign", "example.com/own"), signed(&now), None),
            (Only("sign", "example.com/*"), signed(&now), None),
            (Only("approve", "example.com/own"), signed(&now), Some(why)),
            (Only("sign", "example.com/own"), signed("2020-01-01T00:00:00Z"), Some("current time")),
            (Only("", ""), denied.clone(), None),
        ] {
            let mut asked = create(GROUP, "podcertificaterequests", "n");
            (asked.operation, asked.subresource, asked.old) = (Operation::Update, "status", Some(kept.clone()));
            let found = run(&PodCertificates(allowed.signers()), &asked, Some(object.clone())).await;
            match (found, expected) {
                (Ok(object), None) => {
                    let stamped = |found: &Value| found["lastTransitionTime"].is_string();
                    assert!(items(&object, "/status/conditions").iter().all(stamped), "{object}");
                }
                (Err(refused), Some(expected)) => {
                    assert_eq!((refused.code(), refused.reason()), (422, "Invalid"));
                    assert!(refused.message().ends_with(expected), "{}", refused.message());
                }
                (found, _) => panic!("{object}: {found:?}"),
            }
        }
    }
}
