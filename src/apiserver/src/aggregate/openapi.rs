//! What other servers publish of their kinds: joined to this server's own OpenAPI, version 2 in one document and
//! version 3 by an entry of the index, whose document is asked of them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use machinery::meta;
use serde_json::{Map, Value, json};

use crate::cache::Cached;
use crate::handler::Context;
use crate::served::Served;
use crate::state::State;
use crate::status::Result;

/// How often a server is asked; Kubernetes' period.
const ASK_EVERY: Duration = Duration::from_secs(60);
/// A server that takes longer publishes nothing.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A document that is larger is none: Kubernetes' own has less than half of it.
const DOCUMENT_BYTES_MAX: usize = 16 << 20;
/// An index that is larger is none.
const INDEX_BYTES_MAX: usize = 1 << 20;
/// Where the definitions of a document are.
const DEFINITIONS: &str = "#/definitions/";

/// What servers last published, by the names of APIServices.
#[derive(Default)]
pub struct Published {
    parts: Mutex<HashMap<String, Part>>,
    merged: Mutex<Option<Merged>>,
}

struct Part {
    uid: String,
    asked: Instant,
    /// `(group, version)`.
    of: (String, String),
    /// Of the document only what is about that version.
    v2: Option<Arc<Value>>,
    /// What the version 3 document is known by.
    v3: Option<String>,
}

/// The joined document, for as long as its parts are the same.
struct Merged {
    served: Weak<Served>,
    parts: Vec<Arc<Value>>,
    json: Option<Cached>,
    protobuf: Option<Cached>,
}

impl Published {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all others.
    pub fn retain(&self, names: &HashSet<&str>) {
        self.lock().retain(|name, _| names.contains(name.as_str()));
    }

    /// The joined document of version 2 in one of its forms, as `make` writes it; `None` where there is nothing to join.
    pub fn merged(
        &self,
        served: &Arc<Served>,
        is_protobuf: bool,
        make: impl FnOnce(&[Arc<Value>]) -> Vec<u8>,
    ) -> Option<Cached> {
        let parts: Vec<Arc<Value>> = {
            let parts = self.lock();
            let mut named: Vec<_> =
                parts.iter().filter(|(_, part)| served.of_version(&part.of.0, &part.of.1).next().is_none()).collect();
            named.sort_by_key(|(name, _)| *name);
            named.into_iter().filter_map(|(_, part)| part.v2.clone()).collect()
        };
        if parts.is_empty() {
            return None;
        }
        let mut merged = self.merged.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |merged: &Merged| {
            merged.served.upgrade().is_some_and(|known| Arc::ptr_eq(&known, served))
                && merged.parts.len() == parts.len()
                && merged.parts.iter().zip(&parts).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        if !merged.as_ref().is_some_and(is_same) {
            let served = Arc::downgrade(served);
            *merged = Some(Merged { served, parts: parts.clone(), json: None, protobuf: None });
        }
        let merged = merged.as_mut()?;
        let kept = if is_protobuf { &mut merged.protobuf } else { &mut merged.json };
        Some(kept.get_or_insert_with(|| Cached::new(make(&parts).into())).clone())
    }

    /// The entries of the index of version 3 that lead to other servers.
    pub fn index(&self, served: &Served) -> Map<String, Value> {
        let parts = self.lock();
        let elsewhere = parts.values().filter(|part| served.of_version(&part.of.0, &part.of.1).next().is_none());
        let entry = |part: &Part| {
            let (group, version) = &part.of;
            let hash = part.v3.as_ref()?;
            let path = format!("apis/{group}/{version}");
            let address = format!("/openapi/v3/{path}?hash={hash}");
            Some((path, json!({"serverRelativeURL": address})))
        };
        elsewhere.filter_map(entry).collect()
    }
}

/// Asks the server of an APIService what it publishes, where it has not been asked of late.
pub async fn fetch(state: &Arc<State>, service: &Value) {
    let (name, uid) = (meta::name(service), meta::uid(service));
    let published = &state.kept.openapi;
    let is_fresh = |part: &Part| part.uid == uid && part.asked.elapsed() < ASK_EVERY;
    if published.lock().get(name).is_some_and(is_fresh) {
        return;
    }
    let of = (text(service, "group").to_string(), text(service, "version").to_string());
    let ask = async |path: &str, limit| {
        let answer = tokio::time::timeout(ANSWER_WITHIN, super::fetch(state, service, path, limit)).await;
        serde_json::from_slice::<Value>(&answer.ok()?.ok()?).ok()
    };
    let index = ask("/openapi/v3", INDEX_BYTES_MAX).await;
    let document = ask("/openapi/v2", DOCUMENT_BYTES_MAX).await;
    let mut parts = published.lock();
    let before = parts.get(name).filter(|part| part.uid == uid && part.of == of);
    let v3 = index.map_or_else(|| before?.v3.clone(), |index| hash(&index, &of));
    let v2 = renewed(before.and_then(|before| before.v2.as_ref()), document.as_ref(), &of);
    parts.insert(name.to_string(), Part { uid: uid.to_string(), asked: Instant::now(), of, v2, v3 });
}

/// What a server says now, or said before where it does not answer: its kinds are known as long as it is. The same
/// content is the same document to those who keep it.
fn renewed(before: Option<&Arc<Value>>, document: Option<&Value>, of: &(String, String)) -> Option<Arc<Value>> {
    let Some(document) = document else { return before.cloned() };
    let now = part(document, of)?;
    Some(before.filter(|before| ***before == now).cloned().unwrap_or_else(|| Arc::new(now)))
}

fn text<'a>(service: &'a Value, field: &str) -> &'a str {
    meta::text_at(service, &["spec", field])
}

/// What an index says a document is known by.
fn hash(index: &Value, (group, version): &(String, String)) -> Option<String> {
    let address = index["paths"][format!("apis/{group}/{version}")]["serverRelativeURL"].as_str()?;
    let query = address.split_once('?').map_or("", |(_, query)| query);
    let hash = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "hash")?.1;
    hash.bytes().all(|byte| byte.is_ascii_alphanumeric()).then(|| hash.into_owned())
}

/// The APIService whose server has the version 3 document that is asked for; `None` where this server has it.
///
/// # Errors
/// What the store answers.
pub async fn behind(context: &Context) -> Result<Option<Value>> {
    let path = context.info.path.trim_end_matches('/');
    let Some(rest) = path.strip_prefix("/openapi/v3/apis/") else { return Ok(None) };
    let Some((group, version)) = rest.split_once('/') else { return Ok(None) };
    if version.contains('/') {
        return Ok(None);
    }
    super::find_version(context, group, version).await
}

/// What a document of version 2 says of one group and version: its paths, and every definition that they lead to.
fn part(document: &Value, (group, version): &(String, String)) -> Option<Value> {
    let prefix = format!("/apis/{group}/{version}");
    let is_own = |path: &str| path.strip_prefix(&prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let all = document["paths"].as_object()?;
    let paths: Map<String, Value> =
        all.iter().filter(|(path, _)| is_own(path)).map(|(path, item)| (path.clone(), item.clone())).collect();
    let definitions = document["definitions"].as_object();
    let mut wanted = BTreeSet::new();
    let mut open: Vec<String> = Vec::new();
    paths.values().for_each(|item| references(item, &mut open));
    for (name, definition) in definitions.into_iter().flatten() {
        let mut kinds = definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten();
        if kinds.any(|kind| kind["group"] == **group && kind["version"] == **version) {
            open.push(name.clone());
        }
    }
    while let Some(name) = open.pop() {
        if let Some(definition) = definitions.and_then(|all| all.get(&name))
            && wanted.insert(name)
        {
            references(definition, &mut open);
        }
    }
    let definitions: Map<String, Value> = definitions
        .into_iter()
        .flatten()
        .filter(|(name, _)| wanted.contains(*name))
        .map(|(name, definition)| (name.clone(), definition.clone()))
        .collect();
    (!paths.is_empty()).then(|| json!({"paths": paths, "definitions": definitions}))
}

/// Collects the names of the definitions that a value refers to.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(name) = fields.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix(DEFINITIONS)) {
                found.push(name.to_string());
            }
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

fn rename(value: &mut Value, names: &HashMap<String, String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(to)) = fields.get_mut("$ref")
                && let Some(new) = to.strip_prefix(DEFINITIONS).and_then(|name| names.get(name))
            {
                *to = format!("{DEFINITIONS}{new}");
            }
            fields.values_mut().for_each(|value| rename(value, names));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| rename(value, names)),
        _ => {}
    }
}

/// Joins a part to a document. Definitions of Kubernetes' own that both have are this server's; others of the same name
/// that say something else have another name.
pub fn join(document: &mut Value, part: &Value) {
    let mut part = part.clone();
    let mut names = HashMap::new();
    for (name, definition) in part["definitions"].as_object().into_iter().flatten() {
        let own = document["definitions"].get(name);
        if name.starts_with("io.k8s.") || own.is_none_or(|own| own == definition) {
            continue;
        }
        let taken = |candidate: &String| document["definitions"].get(candidate).is_some();
        if let Some(free) = (2..100).map(|number| format!("{name}_v{number}")).find(|candidate| !taken(candidate)) {
            names.insert(name.clone(), free);
        }
    }
    if !names.is_empty() {
        rename(&mut part, &names);
    }
    for field in ["paths", "definitions"] {
        let Some(Value::Object(added)) = part.get_mut(field).map(Value::take) else { continue };
        let Some(kept) = document[field].as_object_mut() else { continue };
        for (name, value) in added {
            let name = if field == "definitions" { names.get(&name).cloned().unwrap_or(name) } else { name };
            kept.entry(name).or_insert(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of() -> (String, String) {
        ("m.io".to_string(), "v1".to_string())
    }

    fn other() -> Value {
        let refers = |name: &str| json!({"$ref": format!("#/definitions/{name}")});
        json!({
            "swagger": "2.0",
            "paths": {
                "/apis/m.io/v1/things": {"get": {"responses": {"200": {"schema": refers("io.m.Thing")}}}},
                "/apis/m.io/v1": {"get": {}},
                "/apis/m.io/v1beta1/things": {"get": {"schema": refers("io.m.Old")}},
                "/apis/other.io/v1/x": {"get": {}},
            },
            "definitions": {
                "io.m.Thing": {"properties": {"metadata": refers("io.k8s.Meta"), "part": refers("io.m.Part")}},
                "io.m.Part": {"type": "string", "description": "theirs"},
                "io.m.Old": {"type": "object"},
                "io.m.Kind": {"x-kubernetes-group-version-kind": [{"group": "m.io", "version": "v1", "kind": "Kind"}]},
                "io.k8s.Meta": {"description": "theirs"},
            },
        })
    }

    #[test]
    fn only_what_is_about_the_version_is_taken() {
        let found = part(&other(), &of()).expect("a part");
        let names = |field: &str| found[field].as_object().expect("fields").keys().cloned().collect::<Vec<_>>();
        assert_eq!(names("paths"), ["/apis/m.io/v1", "/apis/m.io/v1/things"]);
        assert_eq!(names("definitions"), ["io.k8s.Meta", "io.m.Kind", "io.m.Part", "io.m.Thing"]);
        assert_eq!(part(&json!({"paths": {}}), &of()), None);
        assert_eq!(part(&json!({}), &of()), None);
    }

    #[test]
    fn definitions_that_differ_have_another_name_and_shared_ones_are_this_servers() {
        let mut document = json!({"paths": {"/api/v1": {}}, "definitions": {
            "io.k8s.Meta": {"description": "ours"}, "io.m.Part": {"type": "integer"}}});
        join(&mut document, &part(&other(), &of()).expect("a part"));
        let definitions = &document["definitions"];
        assert_eq!(definitions["io.k8s.Meta"]["description"], "ours");
        assert_eq!(definitions["io.m.Part"]["type"], "integer");
        assert_eq!(definitions["io.m.Part_v2"]["description"], "theirs");
        assert_eq!(definitions["io.m.Thing"]["properties"]["part"]["$ref"], "#/definitions/io.m.Part_v2");
        assert!(document["paths"]["/apis/m.io/v1/things"].is_object() && document["paths"]["/api/v1"].is_object());
    }

    #[test]
    fn what_a_server_published_stays_while_it_does_not_answer() {
        let first = renewed(None, Some(&other()), &of()).expect("a part");
        for document in [None, Some(&other())] {
            let again = renewed(Some(&first), document, &of()).expect("a part");
            assert!(Arc::ptr_eq(&first, &again));
        }
        assert_eq!(renewed(Some(&first), Some(&json!({"paths": {}})), &of()), None, "it says that it has nothing");
    }

    #[test]
    fn the_hash_of_a_document_is_the_other_servers() {
        let index = json!({"paths": {"apis/m.io/v1": {"serverRelativeURL": "/openapi/v3/apis/m.io/v1?hash=AB12"}}});
        assert_eq!(hash(&index, &of()).as_deref(), Some("AB12"));
        for address in ["/openapi/v3/apis/m.io/v1", "/x?hash=<script>"] {
            let index = json!({"paths": {"apis/m.io/v1": {"serverRelativeURL": address}}});
            assert_eq!(hash(&index, &of()), None, "{address}");
        }
    }
}
