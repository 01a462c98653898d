//! AdmissionReview: what a webhook is sent, and what its answer says. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use machinery::meta;
use serde_json::{Value, json};

use super::policies::At;
use crate::status::Status;

/// The versions of the review that this server sends.
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// A review that is sent.
pub struct Review {
    /// The body.
    pub body: Value,
    /// `v1`
    version: String,
    uid: String,
}

/// What an answer says.
#[derive(Debug, PartialEq)]
pub struct Answer {
    /// Whether the request goes on.
    pub is_allowed: bool,
    /// Operations of RFC 6902, where there are any.
    pub patch: Option<Value>,
    /// The Status of a refusal.
    pub result: Value,
    /// What clients are warned of.
    pub warnings: Vec<String>,
    /// What is written down about the request.
    pub annotations: Vec<(String, String)>,
}

/// The review of a request in the first version that the webhook understands.
///
/// # Errors
/// There is none.
pub fn review(versions: &[String], shown: &At) -> Result<Review, &'static str> {
    let version = versions.iter().find(|version| VERSIONS.contains(&version.as_str()));
    let version = version.ok_or("webhook does not accept known AdmissionReview versions (v1, v1beta1)")?;
    let uid = uuid::Uuid::new_v4().to_string();
    let mut request = shown.request.clone();
    request["uid"] = uid.as_str().into();
    request["object"] = shown.object.clone();
    request["oldObject"] = shown.old_object.clone();
    let body =
        json!({"kind": "AdmissionReview", "apiVersion": format!("admission.k8s.io/{version}"), "request": request});
    Ok(Review { body, version: version.clone(), uid })
}

impl Review {
    /// What an answer to this review says.
    ///
    /// # Errors
    /// Why it is none.
    pub fn answer(&self, answer: &Value, is_mutating: bool) -> Result<Answer, String> {
        let response = &answer["response"];
        if !response.is_object() {
            return Err("webhook response was absent".to_string());
        }
        let is_strict = self.version == "v1";
        if is_strict {
            self.is_meant(answer, response)?;
        }
        let is_allowed = response["allowed"] == Value::Bool(true);
        let patch = patch(response, is_mutating, is_strict)?;
        // A refusal is one whatever its patch says.
        let patch = patch.filter(|_| is_allowed).map(|patch| operations(&patch)).transpose()?.flatten();
        let texts = |field: &str| response[field].as_array().into_iter().flatten().filter_map(Value::as_str);
        let annotations = response["auditAnnotations"].as_object().into_iter().flatten();
        Ok(Answer {
            is_allowed,
            patch,
            result: response["status"].clone(),
            warnings: texts("warnings").map(str::to_string).collect(),
            annotations: annotations
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_string())))
                .collect(),
        })
    }

    fn is_meant(&self, answer: &Value, response: &Value) -> Result<(), String> {
        let came = meta::text_at(response, &["uid"]);
        if came != self.uid {
            return Err(format!("expected response.uid={:?}, got {came:?}", self.uid));
        }
        let came = format!("{}, Kind={}", meta::api_version(answer), meta::kind(answer));
        let expected = "admission.k8s.io/v1, Kind=AdmissionReview";
        if came != expected {
            return Err(format!("expected webhook response of {expected}, got {came}"));
        }
        Ok(())
    }
}

/// The patch of an answer. In v1beta1 its type was not looked at, and webhooks leave it out.
fn patch(response: &Value, is_mutating: bool, is_strict: bool) -> Result<Option<Vec<u8>>, String> {
    let (text, type_) = (meta::text_at(response, &["patch"]), &response["patchType"]);
    match (is_mutating, is_strict, text.is_empty(), type_.is_null()) {
        (false, true, false, _) => return Err("validating webhook may not return response.patch".to_string()),
        (false, true, true, false) => return Err("validating webhook may not return response.patchType".to_string()),
        (false, _, _, _) | (true, _, true, true) | (true, false, true, _) => return Ok(None),
        (true, true, false, true) => {
            return Err("webhook returned response.patch but not response.patchType".to_string());
        }
        (true, true, true, false) => {
            return Err("webhook returned response.patchType but not response.patch".to_string());
        }
        (true, _, false, _) => {}
    }
    match type_.as_str() {
        Some("") => return Err("webhook returned invalid response.patchType of \"\"".to_string()),
        Some("JSONPatch") | None => {}
        Some(other) => return Err(format!("unsupported patch type {other:?}")),
    }
    STANDARD.decode(text).map(Some).map_err(undecodable)
}

/// The operations of a patch; none where it has none.
fn operations(patch: &[u8]) -> Result<Option<Value>, String> {
    let patch: Value = serde_json::from_slice(patch).map_err(undecodable)?;
    match patch.as_array() {
        None => Err(undecodable("it is no list of operations")),
        Some(operations) if operations.is_empty() => Ok(None),
        Some(_) => Ok(Some(patch)),
    }
}

fn undecodable(why: impl std::fmt::Display) -> String {
    format!("received undecodable patch in webhook response: {why}")
}

/// The refusal of a request in a webhook's words; `result` is a Status, or nothing.
pub fn refusal(name: &str, result: &Value) -> Status {
    let text = |field: &str| meta::text_at(result, &[field]);
    let denied = format!("admission webhook {name:?} denied the request");
    let message = match (text("message"), text("reason")) {
        ("", "") => format!("{denied} without explanation"),
        ("", reason) => format!("{denied}: {reason}"),
        (message, _) => format!("{denied}: {message}"),
    };
    // What is no failure is none of the codes of one.
    let code = result["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    let code = code.filter(|code| (400..600).contains(code)).unwrap_or(400);
    let status = Status::new(code, text("reason").to_string(), message);
    let causes = result["details"]["causes"].as_array().into_iter().flatten();
    causes.fold(status, |status, cause| {
        let text = |field: &str| meta::text_at(cause, &[field]);
        status.with_cause(text("reason").to_string(), text("message"), text("field"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown() -> At {
        At {
            place: 0,
            object: json!({"a": 1}),
            old_object: Value::Null,
            request: json!({"operation": "CREATE", "dryRun": false}),
        }
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    fn answered(review: &Review, response: Value) -> Value {
        let mut answer = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response});
        answer["response"]["uid"] = review.uid.as_str().into();
        answer
    }

    #[test]
    fn a_review_is_sent_in_the_first_version_that_is_understood() {
        for (versions, expected) in
            [(&["v2", "v1beta1", "v1"][..], "admission.k8s.io/v1beta1"), (&["v1", "v1beta1"], "admission.k8s.io/v1")]
        {
            let review = review(&texts(versions), &shown()).map_err(str::to_string).expect("a review");
            assert_eq!(review.body["apiVersion"], expected);
            assert_eq!(review.body["request"]["object"], json!({"a": 1}));
            assert_eq!(review.body["request"]["oldObject"], Value::Null);
            assert_eq!(review.body["request"]["uid"], review.uid.as_str());
        }
        assert!(review(&texts(&["v2"]), &shown()).is_err());
    }

    #[test]
    fn an_answer_is_one_to_the_review_or_none() {
        let review = review(&texts(&["v1"]), &shown()).map_err(str::to_string).expect("a review");
        let refused = |answer: Value, is_mutating| review.answer(&answer, is_mutating).expect_err("refused");
        assert_eq!(refused(json!({}), true), "webhook response was absent");
        let mut other = answered(&review, json!({"allowed": true}));
        other["response"]["uid"] = json!("x");
        assert_eq!(refused(other, true), format!("expected response.uid={:?}, got \"x\"", review.uid));
        let mut other = answered(&review, json!({"allowed": true}));
        other["kind"] = json!("Review");
        assert!(refused(other, false).starts_with("expected webhook response of admission.k8s.io/v1"));
        let patch = STANDARD.encode(r#"[{"op":"add","path":"/b","value":2}]"#);
        for (is_mutating, response, expected) in [
            (false, json!({"patch": patch}), "validating webhook may not return response.patch"),
            (false, json!({"patchType": "JSONPatch"}), "validating webhook may not return response.patchType"),
            (true, json!({"patch": patch}), "webhook returned response.patch but not response.patchType"),
            (true, json!({"patchType": "JSONPatch"}), "webhook returned response.patchType but not response.patch"),
            (true, json!({"patch": patch, "patchType": "Other"}), "unsupported patch type \"Other\""),
        ] {
            assert_eq!(refused(answered(&review, response), is_mutating), expected);
        }
        assert!(
            refused(answered(&review, json!({"patch": "?", "patchType": "JSONPatch"})), true)
                .starts_with("received undecodable patch in webhook response: ")
        );
        let not_json = STANDARD.encode("no patch");
        let mut said = json!({"allowed": true, "patch": not_json, "patchType": "JSONPatch"});
        assert!(
            refused(answered(&review, said.clone()), true)
                .starts_with("received undecodable patch in webhook response: ")
        );
        said["allowed"] = json!(false);
        let answer = review.answer(&answered(&review, said), true).expect("a refusal, whatever it has for a patch");
        assert_eq!((answer.is_allowed, answer.patch), (false, None));
        let said = json!({"allowed": true, "patch": patch, "patchType": "JSONPatch", "warnings": ["w"],
            "auditAnnotations": {"k": "v"}});
        let answer = review.answer(&answered(&review, said), true).expect("an answer");
        assert_eq!(answer.patch, Some(json!([{"op": "add", "path": "/b", "value": 2}])));
        assert_eq!((answer.is_allowed, answer.warnings), (true, texts(&["w"])));
        assert_eq!(answer.annotations, [("k".to_string(), "v".to_string())]);
        let none = answered(&review, json!({"patch": STANDARD.encode("[]"), "patchType": "JSONPatch"}));
        assert_eq!(review.answer(&none, true).expect("an answer").patch, None);
    }

    #[test]
    fn refusals_speak_in_the_webhooks_words() {
        for (result, code, reason, message) in [
            (Value::Null, 400, "", "admission webhook \"a.b.c\" denied the request without explanation"),
            (json!({"message": "no"}), 400, "", "admission webhook \"a.b.c\" denied the request: no"),
            (json!({"reason": "Nope"}), 400, "Nope", "admission webhook \"a.b.c\" denied the request: Nope"),
            (
                json!({"message": "no", "reason": "Forbidden", "code": 403}),
                403,
                "Forbidden",
                "admission webhook \"a.b.c\" denied the request: no",
            ),
            (json!({"message": "no", "code": 200}), 400, "", "admission webhook \"a.b.c\" denied the request: no"),
        ] {
            let status = refusal("a.b.c", &result);
            assert_eq!((status.code(), status.reason(), status.message()), (code, reason, message));
        }
    }
}
