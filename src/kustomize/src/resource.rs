//! An object on its way through a build: what it is, and the names it has had.

use std::fmt;

use machinery::{meta, strict};
use serde_json::Value;

use crate::Error;

/// What an object is called.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Id {
    /// Empty for the core group.
    pub group: String,
    /// `v1`.
    pub version: String,
    /// `Deployment`.
    pub kind: String,
    /// Empty where the object names none.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl Id {
    pub(crate) fn of(object: &Value) -> Self {
        let api_version = meta::api_version(object);
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self {
            group: group.to_string(),
            version: version.to_string(),
            kind: meta::kind(object).to_string(),
            namespace: meta::namespace(object).to_string(),
            name: meta::name(object).to_string(),
        }
    }

    /// Objects of unknown kinds count as namespaced, as kustomize has it.
    pub(crate) fn is_cluster_scoped(&self) -> bool {
        let known = api::registry().by_kind(&self.group, &self.version, &self.kind);
        known.is_some_and(|resource| !resource.namespaced)
    }

    /// The namespace that counts: none for cluster-scoped kinds, `default` where none is named.
    pub(crate) fn effective_namespace(&self) -> &str {
        match self.namespace.as_str() {
            _ if self.is_cluster_scoped() => "",
            "" => "default",
            namespace => namespace,
        }
    }

    /// The same object.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.group, &self.kind, &self.name) == (&other.group, &other.kind, &other.name)
            && self.version == other.version
            && self.effective_namespace() == other.effective_namespace()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let namespace = if self.namespace.is_empty() { String::new() } else { format!("{}/", self.namespace) };
        write!(f, "{}{group} {namespace}{}", self.kind, self.name)
    }
}

/// An object and its history in this build.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    pub(crate) object: Value,
    /// What it was called before, oldest first.
    pub(crate) previous: Vec<Id>,
    /// What was put before and after its name, innermost first.
    pub(crate) prefixes: Vec<String>,
    pub(crate) suffixes: Vec<String>,
    /// A generated object whose name ends with the hash of its content.
    pub(crate) needs_hash: bool,
}

impl Resource {
    pub(crate) fn new(object: Value) -> Self {
        Self { object, previous: Vec::new(), prefixes: Vec::new(), suffixes: Vec::new(), needs_hash: false }
    }

    pub(crate) fn id(&self) -> Id {
        Id::of(&self.object)
    }

    /// What it was called in its file.
    pub(crate) fn original_id(&self) -> Id {
        self.previous.first().cloned().unwrap_or_else(|| self.id())
    }

    /// Every name it has and has had.
    pub(crate) fn ids(&self) -> Vec<Id> {
        let mut ids = self.previous.clone();
        ids.push(self.id());
        ids
    }

    /// Remembers what it is called now, before that changes.
    pub(crate) fn remember(&mut self) {
        let id = self.id();
        if self.previous.last() != Some(&id) {
            self.previous.push(id);
        }
    }
}

/// The objects of a YAML file; lists are taken apart.
pub(crate) fn parse(file: &str, bytes: &[u8]) -> Result<Vec<Value>, Error> {
    let wrong = |message: String| Error::File { file: file.to_string(), message };
    let mut objects = Vec::new();
    for document in strict::decode_yaml_documents(bytes, strict::MAX_BYTES, strict::Booleans::Yaml12)
        .map_err(|error| wrong(error.to_string()))?
    {
        if let Some(message) = document.messages().next() {
            return Err(wrong(message));
        }
        match document.value {
            Value::Null => {}
            Value::Object(mut fields) => {
                let is_list = fields.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
                match fields.get_mut("items") {
                    Some(Value::Array(items)) if is_list => objects.append(items),
                    _ => objects.push(Value::Object(fields)),
                }
            }
            other => return Err(wrong(format!("expected an object, got {}", kind_of(&other)))),
        }
    }
    for object in &objects {
        if meta::kind(object).is_empty() {
            return Err(wrong("an object has no kind".to_string()));
        }
        if meta::name(object).is_empty() {
            return Err(wrong(format!("an object of kind {} has no metadata.name", meta::kind(object))));
        }
    }
    Ok(objects)
}

pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
