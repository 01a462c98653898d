//! Bodies of requests and answers, as they stand in an event.

use bytes::Bytes;
use http::HeaderMap;
use machinery::strict;
use serde_json::Value;

use crate::rest::decode;

/// The longest body that is written, in bytes: two of them are in memory for each request that is being answered. Of
/// a longer one the event says that it was left out.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;

/// Said of an event whose bodies were left out because they are too long; Kubernetes' own word for it.
pub const TRUNCATED: &str = "audit.k8s.io/truncated";

/// The object or patch of a body; `None` of what is no JSON, YAML or Kubernetes' protobuf.
pub fn read(headers: &HeaderMap, bytes: &Bytes, omit_managed_fields: bool) -> Option<Value> {
    if bytes.is_empty() {
        return None;
    }
    let media_type = decode::media_type(headers);
    let mut value = if media_type.ends_with("+json") {
        // Patches are read so: what is no JSON may be YAML.
        let json = serde_json::from_slice(bytes);
        json.or_else(|_| strict::decode_yaml(bytes, BODY_MAX_BYTES).map(|decoded| decoded.value)).ok()?
    } else if media_type.ends_with("+yaml") {
        strict::decode_yaml(bytes, BODY_MAX_BYTES).ok()?.value
    } else {
        decode::body(headers, bytes, BODY_MAX_BYTES).ok()?.value
    };
    if omit_managed_fields {
        strip(&mut value);
    }
    Some(value)
}

/// Takes `managedFields` off an object and off those of a list.
fn strip(value: &mut Value) {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    for item in value.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(metadata) = item.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;
    use serde_json::json;

    use super::*;

    #[test]
    fn bodies_are_read_by_their_media_type() {
        let read = |media_type: &str, body: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, media_type.parse().expect("a header"));
            read(&headers, &Bytes::from(body.to_string()), true)
        };
        let object = json!({"metadata": {"name": "a"}});
        let managed = r#"{"metadata": {"name": "a", "managedFields": []}}"#;
        for (media_type, body, expected) in [
            ("application/json", managed, Some(object.clone())),
            ("application/json; charset=utf-8", managed, Some(object.clone())),
            ("application/yaml", "metadata: {name: a}", Some(object.clone())),
            ("application/apply-patch+yaml", "metadata: {name: a}", Some(object.clone())),
            ("application/json-patch+json", r#"[{"op": "remove"}]"#, Some(json!([{"op": "remove"}]))),
            ("application/merge-patch+json", "metadata: {name: a}", Some(object.clone())),
            ("application/apply-patch+json", "metadata: {name: a}", Some(object.clone())),
            ("application/json", "", None),
            ("application/json", "{", None),
            ("application/merge-patch+json", "{", None),
            ("text/plain", "a", None),
        ] {
            assert_eq!(read(media_type, body), expected, "{media_type} {body}");
        }
        let list = json!({"items": [{"metadata": {"name": "a", "managedFields": []}}]}).to_string();
        assert_eq!(read("application/json", &list), Some(json!({"items": [object]})));
    }
}
