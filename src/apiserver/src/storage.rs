//! Objects as bytes: registry keys, the form in which objects are kept, and how a revision becomes the
//! `resourceVersion` of an answer without decoding. Knows the store's errors and turns them into failures.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use api::resource::Resource;
use bytes::Bytes;
use machinery::meta;
use machinery::selector::label::Labels;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use store::{Entry, Error, Store};

use crate::status::{Result, Status};

/// Where the object's metadata begin in stored bytes.
const METADATA: &[u8] = b"\"metadata\":{";
/// `apiVersion` and `kind` come before; a longer head is no object of ours.
const HEAD_BYTES_MAX: usize = 1024;

/// An object nested deeper is not kept. A body has at most 100 levels, and what is known of its managers some more;
/// what reads stored objects takes 127, and lists, watches and reviews are some levels around them.
pub const DEPTH_MAX: usize = 110;

/// The largest object that others may make of one, in bytes of JSON: as large as a request may be, so that whoever reads
/// it can write it back.
pub const OBJECT_BYTES_MAX: usize = 3 << 20;

/// Passes where the JSON of a value is no larger.
///
/// # Errors
/// How large it is, in words that go behind what made it.
pub fn check_size(value: &Value, bytes_max: usize) -> std::result::Result<(), String> {
    match size(value) {
        bytes if bytes > bytes_max => Err(format!("is {bytes} bytes, larger than {bytes_max} bytes")),
        _ => Ok(()),
    }
}

/// How long the JSON of a value is.
pub fn size(value: &Value) -> usize {
    /// Counts what is written.
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting cannot fail.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

/// The prefix of a resource's keys, of one namespace or (empty) of all: `/registry/apps/deployments/default/`.
pub fn prefix(resource: &Resource, namespace: &str) -> String {
    let group = resource.storage.as_ref().unwrap_or(&resource.group_version).group.as_str();
    let mut prefix = String::from("/registry/");
    if !group.is_empty() {
        prefix.push_str(group);
        prefix.push('/');
    }
    prefix.push_str(&resource.plural);
    prefix.push('/');
    if !namespace.is_empty() {
        prefix.push_str(namespace);
        prefix.push('/');
    }
    prefix
}

/// The key of an object; `namespace` is empty for cluster-scoped resources.
pub fn key(resource: &Resource, namespace: &str, name: &str) -> String {
    prefix(resource, namespace) + name
}

/// An object as it is kept: `apiVersion`, `kind` and `metadata` first, no resourceVersion, no selfLink. The bytes are kept
/// as long as the object is, and take no more room than they are long.
pub fn encode(object: &Value) -> Bytes {
    thread_local! {
        /// Written into again and again: only the exact copy is allocated for each object.
        static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    BUFFER.with_borrow_mut(|buffer| {
        buffer.clear();
        write(buffer, object);
        let bytes = Bytes::copy_from_slice(buffer);
        buffer.shrink_to(BUFFER_BYTES_MAX);
        bytes
    })
}

/// A thread keeps a buffer of this size for writing objects; most are much smaller.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

fn write(out: &mut Vec<u8>, object: &Value) {
    // Writing JSON to memory cannot fail: keys are strings and there is no I/O.
    let write = |out: &mut Vec<u8>, value: &Value| drop(serde_json::to_writer(out, value));
    out.extend_from_slice(b"{\"apiVersion\":");
    write(out, &object["apiVersion"]);
    out.extend_from_slice(b",\"kind\":");
    write(out, &object["kind"]);
    out.extend_from_slice(b",\"metadata\":{");
    let mut first = true;
    for (name, value) in object["metadata"].as_object().into_iter().flatten() {
        if name == "resourceVersion" || name == "selfLink" {
            continue;
        }
        member(out, &mut first, name, value);
    }
    out.push(b'}');
    first = false;
    for (name, value) in object.as_object().into_iter().flatten() {
        if !matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            member(out, &mut first, name, value);
        }
    }
    out.push(b'}');
}

fn member(out: &mut Vec<u8>, first: &mut bool, name: &str, value: &Value) {
    if !std::mem::replace(first, false) {
        out.push(b',');
    }
    // See `write` on why these cannot fail.
    let _ = serde_json::to_writer(&mut *out, name);
    out.push(b':');
    let _ = serde_json::to_writer(&mut *out, value);
}

/// A stored object decoded, with its resourceVersion.
///
/// # Errors
/// 500 where the bytes are no JSON object.
pub fn decode(entry: &Entry) -> Result<Value> {
    decode_at(&entry.value, entry.mod_revision)
}

/// Stored bytes decoded, with `revision` as their resourceVersion.
///
/// # Errors
/// 500 where the bytes are no JSON object.
pub fn decode_at(bytes: &[u8], revision: u64) -> Result<Value> {
    let mut object: Value = serde_json::from_slice(bytes)
        .map_err(|error| Status::internal(format!("a stored object cannot be decoded: {error}")))?;
    meta::set_resource_version(&mut object, &revision.to_string());
    Ok(object)
}

fn metadata_starts(bytes: &[u8]) -> Option<usize> {
    let head = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    head.windows(METADATA.len()).position(|window| window == METADATA).map(|at| at + METADATA.len())
}

/// Whether two stored objects are of one version and kind. What is stored in another version is written anew even where
/// nothing of it changes.
pub fn is_stored_alike(one: &[u8], other: &[u8]) -> bool {
    let head = |bytes: &'_ [u8]| metadata_starts(bytes).map(|at| bytes[..at].to_vec());
    head(one) == head(other)
}

const RESOURCE_VERSION: &[u8] = b"\"resourceVersion\":\"";

/// How many bytes [`splice`] appends.
pub fn spliced_bytes(bytes: &[u8], revision: u64) -> usize {
    let Some(at) = metadata_starts(bytes) else { return bytes.len() };
    let digits = revision.checked_ilog10().map_or(1, |log| log as usize + 1);
    let comma = usize::from(bytes.get(at) != Some(&b'}'));
    bytes.len() + RESOURCE_VERSION.len() + digits + 1 + comma
}

/// Appends stored bytes with `revision` as resourceVersion: two copies and a number, no decoding.
pub fn splice(out: &mut Vec<u8>, bytes: &[u8], revision: u64) {
    let Some(at) = metadata_starts(bytes) else { return out.extend_from_slice(bytes) };
    out.extend_from_slice(&bytes[..at]);
    splice_behind(out, &bytes[at..], revision);
}

/// Appends the revision and what comes behind the brace that metadata begin with.
fn splice_behind(out: &mut Vec<u8>, behind: &[u8], revision: u64) {
    out.extend_from_slice(RESOURCE_VERSION);
    out.extend_from_slice(revision.to_string().as_bytes());
    out.extend_from_slice(if behind.first() == Some(&b'}') { b"\"" } else { b"\"," });
    out.extend_from_slice(behind);
}

/// How many bytes [`splice_item`] appends.
pub fn spliced_item_bytes(bytes: &[u8], revision: u64) -> usize {
    // Everything before the metadata goes but for the brace.
    let type_bytes = metadata_starts(bytes).map_or(0, |at| at - METADATA.len() - 1);
    spliced_bytes(bytes, revision) - type_bytes
}

/// As [`splice`] without `apiVersion` and `kind`, as items of lists are.
pub fn splice_item(out: &mut Vec<u8>, bytes: &[u8], revision: u64) {
    let Some(at) = metadata_starts(bytes) else { return out.extend_from_slice(bytes) };
    out.push(b'{');
    out.extend_from_slice(METADATA);
    splice_behind(out, &bytes[at..], revision);
}

/// Appends the PartialObjectMetadata of stored bytes with `revision` as resourceVersion, without decoding either; answers
/// whether they are an object's.
pub fn splice_metadata(out: &mut Vec<u8>, bytes: &[u8], revision: u64) -> bool {
    const HEAD: &[u8] = b"{\"apiVersion\":\"meta.k8s.io/v1\",\"kind\":\"PartialObjectMetadata\",\"metadata\":{";
    let Some(at) = metadata_starts(bytes) else { return false };
    // From the opening brace on: where the value that begins there ends.
    let mut values = serde_json::Deserializer::from_slice(&bytes[at - 1..]).into_iter::<IgnoredAny>();
    let Some(Ok(_)) = values.next() else { return false };
    let end = at - 1 + values.byte_offset();
    out.extend_from_slice(HEAD);
    out.extend_from_slice(RESOURCE_VERSION);
    out.extend_from_slice(revision.to_string().as_bytes());
    out.extend_from_slice(if bytes.get(at) == Some(&b'}') { b"\"" } else { b"\"," });
    out.extend_from_slice(&bytes[at..end]);
    out.push(b'}');
    true
}

/// The labels of an object, as text of its stored bytes.
#[derive(Debug, Default)]
pub struct StoredLabels<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl Labels for StoredLabels<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == key).map(|(_, value)| &**value)
    }
}

/// Reads the labels of stored bytes, and nothing that comes behind them: who owns which field comes there, most of what
/// the metadata of many objects are.
pub fn labels(bytes: &[u8]) -> StoredLabels<'_> {
    let mut found = StoredLabels::default();
    if let Some(at) = metadata_starts(bytes) {
        // From the opening brace on. It ends early, which the deserializer takes for a failure.
        let mut deserializer = serde_json::Deserializer::from_slice(&bytes[at - 1..]);
        let _ended = deserializer.deserialize_map(Metadata(&mut found));
    }
    found
}

/// Looks for the labels among metadata.
struct Metadata<'b, 'a>(&'b mut StoredLabels<'a>);

impl<'de> Visitor<'de> for Metadata<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("metadata")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        while let Some(Text(key)) = map.next_key()? {
            if key == "labels" {
                let labels: Pairs<'de> = map.next_value()?;
                self.0.0 = labels.0;
                return Ok(());
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// A map of text to text.
struct Pairs<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of text")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Text(key), Text(value))) = map.next_entry()? {
                    pairs.push((key, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// Text that is borrowed where nothing in it is escaped.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> std::result::Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> std::result::Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_string())))
            }
        }
        deserializer.deserialize_str(Each)
    }
}

/// Namespace (empty for cluster-scoped resources) and name of the object under a key of the resource.
pub fn place<'a>(resource: &Resource, key: &'a str) -> (&'a str, &'a str) {
    let (before, name) = key.rsplit_once('/').unwrap_or(("", key));
    let namespace = before.rsplit('/').next().filter(|_| resource.namespaced).unwrap_or_default();
    (namespace, name)
}

/// Reads the live object of a key, with its resourceVersion.
///
/// # Errors
/// What the store answers, and bytes that are no object.
pub async fn read(store: &dyn Store, key: &str) -> Result<Option<Value>> {
    store.get(key).await.map_err(failure)?.map(|entry| decode(&entry)).transpose()
}

/// The failure a client gets when the store does not do what was asked; conflicts are handled where they can happen.
pub fn failure(error: Error) -> Status {
    match error {
        Error::Compacted { requested, oldest } => {
            Status::expired(format!("too old resource version: {requested} ({oldest})"))
        }
        Error::Future { requested, current } => {
            let text = format!("Too large resource version: {requested}, current: {current}");
            Status::timeout(text.clone(), 1).with_cause("ResourceVersionTooLarge", "Too large resource version", "")
        }
        Error::Closed => Status::unavailable("the server is shutting down"),
        Error::Slow => Status::expired("the watcher was too slow"),
        other => {
            let text = stdx::error::chain(&other);
            tracing::error!("store: {text}");
            Status::internal(text)
        }
    }
}

/// An object that could be read again wherever it comes is nested no deeper than [`DEPTH_MAX`].
///
/// # Errors
/// 422.
pub fn check_depth(object: &Value) -> Result<()> {
    match machinery::strict::depth(object) {
        levels if levels > DEPTH_MAX => {
            let text = format!("the object is nested {levels} levels deep, exceeding the limit {DEPTH_MAX}");
            Err(Status::new(422, "Invalid", text))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn stored_bytes_begin_with_the_type_and_metadata_and_have_no_revision() {
        let object = json!({
            "data": {"a": "b"},
            "metadata": {"name": "x", "resourceVersion": "7", "labels": {"l": "v"}},
            "kind": "ConfigMap",
            "apiVersion": "v1",
        });
        let bytes = encode(&object);
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        assert_eq!(
            text,
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"labels":{"l":"v"},"name":"x"},"data":{"a":"b"}}"#
        );
        let mut spliced = Vec::new();
        splice(&mut spliced, &bytes, 9);
        let spliced: Value = serde_json::from_slice(&spliced).expect("JSON");
        assert_eq!(spliced["metadata"]["resourceVersion"], "9");
        assert_eq!(spliced, decode_at(&bytes, 9).expect("an object"));
        assert_eq!(labels(&bytes).label("l"), Some("v"));
    }

    #[test]
    fn what_is_stored_in_another_version_is_not_stored_alike() {
        let stored = |version: &str, name: &str| {
            encode(&json!({"apiVersion": format!("a.example.com/{version}"), "kind": "X", "metadata": {"name": name}}))
        };
        assert!(is_stored_alike(&stored("v1", "a"), &stored("v1", "b")));
        assert!(!is_stored_alike(&stored("v1", "a"), &stored("v2", "a")));
    }

    #[test]
    fn empty_metadata_are_spliced_too() {
        let mut out = Vec::new();
        splice(&mut out, &encode(&json!({"apiVersion": "v1", "kind": "X", "metadata": {}})), 3);
        let value: Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(value["metadata"]["resourceVersion"], "3");
    }

    #[test]
    fn items_are_spliced_without_their_type() {
        for metadata in [json!({}), json!({"name": "x", "labels": {"kind": "\"metadata\":{"}})] {
            let bytes = encode(&json!({"apiVersion": "v1", "kind": "X", "metadata": metadata, "data": {"kind": "b"}}));
            let mut spliced = Vec::new();
            splice_item(&mut spliced, &bytes, 10);
            assert_eq!(spliced.len(), spliced_item_bytes(&bytes, 10));
            let mut expected = decode_at(&bytes, 10).expect("an object");
            meta::remove_type(&mut expected);
            assert_eq!(serde_json::from_slice::<Value>(&spliced).expect("JSON"), expected);
        }
    }

    #[test]
    fn metadata_are_spliced_as_they_would_be_decoded() {
        for metadata in
            [json!({}), json!({"name": "x", "annotations": {"a": "}{\"\\"}, "managedFields": [{"f:a": {}}]})]
        {
            let bytes = encode(&json!({"apiVersion": "v1", "kind": "X", "metadata": metadata, "data": {"a": "b"}}));
            let mut spliced = Vec::new();
            assert!(splice_metadata(&mut spliced, &bytes, 9));
            let spliced: Value = serde_json::from_slice(&spliced).expect("JSON");
            let decoded = decode_at(&bytes, 9).expect("an object");
            assert_eq!(spliced, machinery::table::partial_object_metadata(&decoded));
        }
        assert!(!splice_metadata(&mut Vec::new(), b"no object", 9));
        assert!(!splice_metadata(&mut Vec::new(), br#"{"metadata":{"name":"#, 9));
    }

    #[test]
    fn labels_are_read_wherever_they_are_and_whatever_they_hold() {
        let of = |metadata: Value| {
            let bytes = encode(&json!({"apiVersion": "v1", "kind": "X", "metadata": metadata, "labels": {"l": "no"}}));
            labels(&bytes).label("l").map(str::to_string)
        };
        let cases = [
            (json!({}), None),
            (json!({"annotations": {"labels": "{", "l": "no"}, "labels": {"k": "w", "l": "v"}}), Some("v")),
            (
                json!({"labels": {"l": "quoted \" and \n"}, "managedFields": [{"f:labels": {"l": "no"}}]}),
                Some("quoted \" and \n"),
            ),
            (json!({"name": "l"}), None),
        ];
        for (metadata, expected) in cases {
            assert_eq!(of(metadata.clone()).as_deref(), expected, "{metadata}");
        }
        assert_eq!(labels(b"no object").label("l"), None);
    }

    #[test]
    fn keys_tell_the_place_of_their_objects() {
        let resource = |plural: &str| api::registry().get("", "v1", plural).expect("a resource");
        let (pods, nodes) = (resource("pods"), resource("nodes"));
        assert_eq!(place(pods, &key(pods, "default", "web-0")), ("default", "web-0"));
        assert_eq!(place(nodes, &key(nodes, "", "w1")), ("", "w1"));
    }

    #[test]
    fn what_could_not_be_read_again_is_not_kept() {
        let nested = |levels: usize| (2..levels).fold(json!({}), |inner, _| json!({"n": inner}));
        let object = |levels: usize| json!({"apiVersion": "v1", "kind": "X", "metadata": {}, "x": nested(levels)});
        assert!(check_depth(&object(DEPTH_MAX)).is_ok());
        let refused = check_depth(&object(DEPTH_MAX + 1)).expect_err("too deep");
        assert_eq!((refused.code(), refused.reason()), (422, "Invalid"));
        // Lists, watches and reviews put the object some levels deeper, and their readers take no more than 127.
        let list = json!({"items": [{"object": {"object": object(DEPTH_MAX)}}]}).to_string();
        assert!(serde_json::from_str::<Value>(&list).is_ok());
    }
}
