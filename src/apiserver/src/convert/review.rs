//! ConversionReview: what is asked of a conversion webhook, and what of its answer is believed. It converts what a
//! version says; whose object it is and who owns its fields it cannot change, but for labels and annotations.

use std::time::Duration;

use api::custom::Conversion;
use machinery::{meta, names};
use serde_json::{Map, Value, json};

use crate::status::{Result, Status};
use crate::storage;
use crate::webhook::{Bounds, Caller, Endpoint};

/// A conversion webhook that has not answered by then does not. Of all objects of a review it makes eight times what
/// they were at most.
const BOUNDS: Bounds = Bounds { within: Duration::from_secs(30), answer_bytes: 32 << 20 };
/// The largest object that is made of one: what is stored has managers besides what a request may have.
const OBJECT_BYTES_MAX: usize = 2 * storage::OBJECT_BYTES_MAX;
/// How many objects are converted by one review, and how many bytes they have about.
const OBJECTS_MAX: usize = 500;
const REVIEW_BYTES_MAX: usize = 4 << 20;

/// Has a webhook convert objects to `wanted` (`example.com/v2`).
///
/// # Errors
/// 500 in Kubernetes' words.
pub(super) async fn convert(
    caller: &Caller,
    conversion: &Conversion,
    wanted: &str,
    objects: Vec<Value>,
) -> Result<Vec<Value>> {
    let mut converted = Vec::with_capacity(objects.len());
    let mut rest = objects.as_slice();
    while !rest.is_empty() {
        let (some, others) = rest.split_at(batch(rest));
        converted.extend(one_review(caller, conversion, wanted, some).await?);
        rest = others;
    }
    Ok(converted)
}

/// How many of the objects the next review has: one at least.
fn batch(objects: &[Value]) -> usize {
    let mut bytes = 0;
    let fits = |object: &&Value| {
        bytes += object.to_string().len();
        bytes <= REVIEW_BYTES_MAX
    };
    objects.iter().take(OBJECTS_MAX).take_while(fits).count().max(1)
}

async fn one_review(caller: &Caller, conversion: &Conversion, wanted: &str, objects: &[Value]) -> Result<Vec<Value>> {
    let of = objects.first().map(of).unwrap_or_default();
    let failed = |why: String| Status::new(500, "", format!("conversion webhook for {of} failed: {why}"));
    let version = conversion.review_versions.iter().find(|version| ["v1", "v1beta1"].contains(&version.as_str()));
    let version = version.ok_or_else(|| failed("no supported conversion review versions".to_string()))?;
    let uid = uuid::Uuid::new_v4().to_string();
    let review = json!({
        "apiVersion": format!("apiextensions.k8s.io/{version}"),
        "kind": "ConversionReview",
        "request": {"uid": uid, "desiredAPIVersion": wanted, "objects": objects},
    });
    let endpoint = Endpoint::of_client_config(&conversion.client_config).map_err(failed)?;
    let answer = caller.post(&endpoint, None, &review, BOUNDS).await;
    let answer = answer.map_err(|failure| failed(failure.to_string()))?;
    let converted = believed(answer, version, &uid).map_err(failed)?;
    if converted.len() != objects.len() {
        let (came, sent) = (converted.len(), objects.len());
        let text = format!("conversion webhook for {of} returned {came} objects, expected {sent}");
        return Err(Status::new(500, "", text));
    }
    let pairs = objects.iter().zip(converted).enumerate();
    let checked = pairs.map(|(at, (original, converted))| {
        let wrong = |why: String| {
            let text = match objects.len() {
                1 => format!("conversion webhook for {of} returned invalid object: {why}"),
                _ => format!("conversion webhook for {of} returned invalid converted object at index {at}: {why}"),
            };
            Status::new(500, "", text)
        };
        checked(original, converted, wanted).map_err(wrong)
    });
    checked.collect()
}

/// `example.com/v1, Kind=A` of an object.
fn of(object: &Value) -> String {
    format!("{}, Kind={}", meta::api_version(object), meta::kind(object))
}

/// The objects of an answer that is one to this review.
fn believed(mut answer: Value, version: &str, uid: &str) -> std::result::Result<Vec<Value>, String> {
    // Of v1beta1 neither was looked at, and webhooks rely on it.
    if version == "v1" {
        let expected = "apiextensions.k8s.io/v1, Kind=ConversionReview";
        if of(&answer) != expected {
            return Err(format!("expected webhook response of {expected}, got {}", of(&answer)));
        }
    }
    let Some(response) = answer.get_mut("response").filter(|response| response.is_object()) else {
        return Err("no response provided".to_string());
    };
    let came = meta::text_at(response, &["uid"]);
    if version == "v1" && came != uid {
        return Err(format!("expected response.uid={uid:?}, got {came:?}"));
    }
    let (status, message) =
        (meta::text_at(response, &["result", "status"]), meta::text_at(response, &["result", "message"]));
    match (status, message) {
        ("Success", _) => {}
        (status, "") => return Err(format!("response.result.status was '{status}', not 'Success'")),
        (_, message) => return Err(message.to_string()),
    }
    match response["convertedObjects"].take() {
        Value::Array(objects) => Ok(objects),
        _ => Ok(Vec::new()),
    }
}

/// The converted object with the original's metadata; labels and annotations are the webhook's.
fn checked(original: &Value, mut converted: Value, wanted: &str) -> std::result::Result<Value, String> {
    storage::check_size(&converted, OBJECT_BYTES_MAX).map_err(|why| format!("it {why}"))?;
    if meta::api_version(&converted) != wanted {
        let received = meta::api_version(&converted);
        return Err(format!("invalid groupVersion (expected {wanted}, received {received})"));
    }
    if meta::kind(&converted) != meta::kind(original) {
        let (expected, received) = (meta::kind(original), meta::kind(&converted));
        return Err(format!("invalid kind (expected {expected}, received {received})"));
    }
    for (called, field) in [("name", "name"), ("namespace", "namespace"), ("UID", "uid")] {
        let [expected, came] = [original, &converted].map(|object| meta::text_at(object, &["metadata", field]));
        if expected != came {
            return Err(format!("must have the same {called}: {expected} != {came}"));
        }
    }
    let came = converted.get_mut("metadata").map(Value::take).unwrap_or_default();
    let Value::Object(mut came) = came else { return Err("missing metadata in converted object".to_string()) };
    let mut metadata = original["metadata"].as_object().cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        match came.remove(field) {
            None | Some(Value::Null) => {
                metadata.remove(field);
            }
            Some(Value::Object(texts)) => {
                check_texts(field, &texts)?;
                metadata.insert(field.to_string(), Value::Object(texts));
            }
            Some(_) => return Err(format!("invalid metadata.{field} in converted object: it is no map")),
        }
    }
    converted["metadata"] = Value::Object(metadata);
    Ok(converted)
}

fn check_texts(field: &str, texts: &Map<String, Value>) -> std::result::Result<(), String> {
    for (key, value) in texts {
        let Some(text) = value.as_str() else {
            return Err(format!("metadata.{field}[{key}] must be a string in converted object"));
        };
        let mut wrong = names::qualified_name(&key.to_lowercase());
        if field == "labels" {
            wrong.extend(names::label_value(text));
        }
        if let Some(wrong) = wrong.first() {
            return Err(format!("metadata.{field}: Invalid value: {key:?}: {wrong}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(version: &str) -> Value {
        json!({"apiVersion": format!("example.com/{version}"), "kind": "A",
            "metadata": {"name": "a", "uid": "1", "resourceVersion": "7", "labels": {"old": "label"}}})
    }

    #[test]
    fn metadata_stay_but_for_labels_and_annotations() {
        let mut converted = object("v2");
        converted["metadata"] =
            json!({"name": "a", "uid": "1", "generation": 9, "annotations": {"example.com/new": "x"}});
        converted["spec"] = json!({"host": "h"});
        let checked = checked(&object("v1"), converted, "example.com/v2").expect("an object");
        let expected =
            json!({"name": "a", "uid": "1", "resourceVersion": "7", "annotations": {"example.com/new": "x"}});
        assert_eq!((&checked["metadata"], &checked["spec"]), (&expected, &json!({"host": "h"})));
    }

    #[test]
    fn an_answer_that_is_another_object_is_none() {
        let with = |pointer: &str, value: Value| {
            let mut converted = object("v2");
            *converted.pointer_mut(pointer).expect("a field") = value;
            checked(&object("v1"), converted, "example.com/v2").expect_err("refused")
        };
        for (pointer, value, expected) in [
            (
                "/apiVersion",
                json!("example.com/v1"),
                "invalid groupVersion (expected example.com/v2, received example.com/v1)",
            ),
            ("/kind", json!("B"), "invalid kind (expected A, received B)"),
            ("/metadata/name", json!("b"), "must have the same name: a != b"),
            ("/metadata/uid", json!("2"), "must have the same UID: 1 != 2"),
            ("/metadata/labels", json!([]), "invalid metadata.labels in converted object: it is no map"),
            ("/metadata/labels", json!({"a": 1}), "metadata.labels[a] must be a string in converted object"),
        ] {
            assert_eq!(with(pointer, value), expected);
        }
        assert!(with("/metadata/labels", json!({"a": "not allowed!"})).starts_with("metadata.labels: Invalid value"));
    }

    #[test]
    fn an_answer_is_one_to_this_review() {
        let answer = |response: Value| json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response});
        let good = json!({"uid": "u", "result": {"status": "Success"}, "convertedObjects": [1, 2]});
        assert_eq!(believed(answer(good.clone()), "v1", "u"), Ok(vec![json!(1), json!(2)]));
        let refused = |answer: Value| believed(answer, "v1", "u").expect_err("refused");
        assert_eq!(refused(answer(Value::Null)), "no response provided");
        let mut other = good.clone();
        other["uid"] = json!("w");
        assert_eq!(refused(answer(other.clone())), "expected response.uid=\"u\", got \"w\"");
        assert!(believed(json!({"response": other}), "v1beta1", "u").is_ok());
        let failed = |result: Value| refused(answer(json!({"uid": "u", "result": result})));
        assert_eq!(failed(json!({"status": "Failure", "message": "no way"})), "no way");
        assert_eq!(failed(json!({"status": "Failure"})), "response.result.status was 'Failure', not 'Success'");
        assert!(refused(json!({"kind": "X", "response": good})).starts_with("expected webhook response of"));
    }

    #[test]
    fn an_object_becomes_no_larger_than_one_can_be() {
        let mut converted = object("v2");
        converted["spec"] = json!({"data": "x".repeat(OBJECT_BYTES_MAX)});
        let refused = checked(&object("v1"), converted, "example.com/v2").expect_err("refused");
        assert!(refused.contains("larger than 6291456 bytes"), "{refused}");
    }

    #[test]
    fn reviews_are_bounded() {
        let large = json!({"data": "x".repeat(REVIEW_BYTES_MAX / 2)});
        assert_eq!(batch(&[large.clone(), large.clone(), large]), 1);
        assert_eq!(batch(&vec![json!({}); OBJECTS_MAX + 1]), OBJECTS_MAX);
    }
}
