//! The scale subresource: autoscaling/v1 Scale as a view of `spec.replicas` of a workload.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use machinery::field::{FieldError, Path};
use machinery::{meta, patch as patches};
use serde_json::{Value, json};

use super::options::WriteOptions;
use super::patch::{Form, names_version, read, refusal};
use super::target::Target;
use super::update::{Changed, Written, transact};
use super::{decode, managed};
use crate::accept;
use crate::answer;
use crate::body::{self, Body};
use crate::status::{Result, Status};
use crate::storage;

const API_VERSION: &str = "autoscaling/v1";
const KIND: &str = "Scale";

/// The Scale of a workload.
fn of(object: &Value) -> Value {
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(field) {
            metadata[field] = value.clone();
        }
    }
    json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": metadata,
        "spec": {"replicas": object["spec"]["replicas"].as_i64().unwrap_or(0)},
        "status": {
            "replicas": object["status"]["replicas"].as_i64().unwrap_or(0),
            "selector": selector_text(&object["spec"]["selector"]),
        },
    })
}

/// A selector as text; a ReplicationController's is a plain map of labels.
fn selector_text(selector: &Value) -> String {
    let is_plain = selector.get("matchLabels").is_none() && selector.get("matchExpressions").is_none();
    let labels = if is_plain { selector } else { &selector["matchLabels"] };
    let mut terms: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = meta::text_at(expression, &["key"]);
        let values: Vec<&str> =
            expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        terms.push(match meta::text_at(expression, &["operator"]) {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_string(),
        });
    }
    terms.sort();
    terms.join(",")
}

/// Answers with the Scale.
///
/// # Errors
/// 404.
pub async fn get(target: &Target<'_>) -> Result<Response<Body>> {
    let format = accept::negotiate_format(&target.context.headers)?;
    let object = storage::read(target.state().store.as_ref(), &target.key(target.name)).await?;
    let object = object.ok_or_else(|| target.not_found())?;
    answer::value(target.context, StatusCode::OK, format, &of(&object))
}

/// Answers an update of the Scale.
///
/// # Errors
/// As for an update of the workload.
pub async fn update(target: &Target<'_>, request: Request<Body>) -> Result<Response<Body>> {
    let options = WriteOptions::read(target.context, "UpdateOptions")?;
    let bytes: Bytes = body::read(request.into_body(), target.state().config.limits.body_bytes).await?;
    let mut scale = decode::body(&target.context.headers, &bytes, bytes.len())?.value;
    decode::set_type_to(API_VERSION, KIND, &mut scale)?;
    let pinned = !matches!(meta::resource_version(&scale), "" | "0");
    change(target, &options, "UpdateOptions", pinned, |_| Ok(scale.clone())).await
}

/// Answers a patch of the Scale.
///
/// # Errors
/// As for a patch of the workload; 415 for server-side apply.
pub async fn patch(target: &Target<'_>, request: Request<Body>) -> Result<Response<Body>> {
    let form = Form::of(&decode::media_type(&target.context.headers))?;
    let options = WriteOptions::read(target.context, "PatchOptions")?;
    let bytes: Bytes = body::read(request.into_body(), target.state().config.limits.body_bytes).await?;
    let patch = read(target, &bytes, options.validation)?;
    change(target, &options, "PatchOptions", names_version(form, &patch), |current| {
        let mut scale = current.clone();
        let outcome = match form {
            Form::Json => patches::json(&mut scale, &patch),
            // A Scale has no lists, so all merges are one.
            Form::Merge | Form::Strategic | Form::Apply => patches::merge(&mut scale, &patch),
        };
        outcome.map_err(|error| refusal(target, error))?;
        decode::set_type_to(API_VERSION, KIND, &mut scale)?;
        Ok(scale)
    })
    .await
}

async fn change(
    target: &Target<'_>,
    options: &WriteOptions,
    options_kind: &str,
    pinned: bool,
    make: impl Fn(&Value) -> Result<Value> + Send + Sync,
) -> Result<Response<Body>> {
    // To the workload it is an update of its spec.
    let parent = Target { subresource: None, ..*target };
    let written = transact(&parent, options, options_kind, |old| {
        let scale = make(&of(old))?;
        let replicas = replicas(&scale, target.name)?;
        let mut object = old.clone();
        object["spec"]["replicas"] = replicas.into();
        if pinned {
            meta::set_resource_version(&mut object, meta::resource_version(&scale));
        }
        Ok(Changed { object, pinned, by: managed::By::Update })
    })
    .await?;
    let object = match written {
        Written::Stored(entry) => parent.present(&entry)?,
        Written::Dry(object) | Written::Gone(object) => object,
    };
    let format = accept::negotiate_format(&target.context.headers)?;
    answer::value(target.context, StatusCode::OK, format, &of(&object))
}

fn replicas(scale: &Value, name: &str) -> Result<i64> {
    let path = Path::new("spec").child("replicas");
    let wrong = |value: &Value, why: &str| {
        Err(Status::invalid("autoscaling", KIND, name, &vec![FieldError::invalid(&path, value.clone(), why)]))
    };
    match &scale["spec"]["replicas"] {
        Value::Null => Ok(0),
        value => match value.as_i64() {
            Some(replicas) if i32::try_from(replicas).is_ok() && replicas >= 0 => Ok(replicas),
            Some(_) => wrong(value, "must be greater than or equal to 0"),
            None => wrong(value, "must be a number"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_shows_replicas_and_the_selector_as_text() {
        let workload = json!({
            "metadata": {"name": "d", "namespace": "n", "resourceVersion": "7", "labels": {"a": "b"}},
            "spec": {"replicas": 3, "selector": {
                "matchLabels": {"b": "2", "a": "1"},
                "matchExpressions": [{"key": "t", "operator": "In", "values": ["x", "y"]}],
            }},
            "status": {"replicas": 2},
        });
        let scale = of(&workload);
        assert_eq!(scale["spec"]["replicas"], 3);
        assert_eq!(scale["status"], json!({"replicas": 2, "selector": "a=1,b=2,t in (x,y)"}));
        assert_eq!(scale["metadata"], json!({"name": "d", "namespace": "n", "resourceVersion": "7"}));
        assert_eq!(selector_text(&json!({"app": "x"})), "app=x");
    }
}
