//! The list `metadata.managedFields`: one entry a manager, operation, version and subresource.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Operation, Set};

/// More entries of updates than this are merged, oldest first.
const MAX_UPDATE_ENTRIES: usize = 10;
/// The manager of merged entries.
const ANCIENT_CHANGES: &str = "ancient-changes";
/// The manager of writes that name none.
const UNKNOWN_MANAGER: &str = "unknown";

/// `operation` of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Apply,
    Update,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What makes two entries the same: an applier is the same in every version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Id {
    kind: Kind,
    manager: String,
    subresource: String,
    api_version: Option<String>,
}

/// The entry's identity that an operation writes to.
pub(super) fn id(kind: Kind, operation: &Operation<'_>) -> Id {
    Id {
        kind,
        manager: manager_name(operation).to_string(),
        subresource: operation.subresource.to_string(),
        api_version: (kind == Kind::Update).then(|| operation.api_version.to_string()),
    }
}

fn manager_name<'a>(operation: &Operation<'a>) -> &'a str {
    if operation.manager.is_empty() { UNKNOWN_MANAGER } else { operation.manager }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) kind: Kind,
    pub(super) subresource: String,
    pub(super) api_version: String,
    /// As it is written; RFC 3339 in UTC, so that texts sort as times.
    pub(super) time: Option<String>,
    pub(super) fields: Set,
}

impl Entry {
    pub(super) fn id(&self) -> Id {
        Id {
            kind: self.kind,
            manager: self.manager.clone(),
            subresource: self.subresource.clone(),
            api_version: (self.kind == Kind::Update).then(|| self.api_version.clone()),
        }
    }

    fn decode(entry: &Value) -> Result<Self, String> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_string();
        let kind = match text("operation").as_str() {
            "Apply" => Kind::Apply,
            "Update" => Kind::Update,
            _ => return Err("operation must be `Apply` or `Update`".to_string()),
        };
        if text("apiVersion").is_empty() {
            return Err("apiVersion must not be empty".to_string());
        }
        if text("fieldsType") != "FieldsV1" {
            return Err(format!("invalid fieldsType {:?} in managed fields", text("fieldsType")));
        }
        let fields = entry.get("fieldsV1").filter(|fields| !fields.is_null());
        Ok(Self {
            manager: text("manager"),
            kind,
            subresource: text("subresource"),
            api_version: text("apiVersion"),
            time: entry.get("time").and_then(Value::as_str).map(ToString::to_string),
            fields: fields.map_or_else(|| Ok(Set::default()), Set::decode)?,
        })
    }

    fn encode(&self) -> Value {
        let mut entry = Map::new();
        let mut put = |name: &str, value: Value| {
            entry.insert(name.to_string(), value);
        };
        put("apiVersion", json!(self.api_version));
        put("fieldsType", json!("FieldsV1"));
        put("fieldsV1", self.fields.encode());
        put("manager", json!(self.manager));
        put("operation", json!(self.kind.name()));
        if !self.subresource.is_empty() {
            put("subresource", json!(self.subresource));
        }
        if let Some(time) = &self.time {
            put("time", json!(time));
        }
        Value::Object(entry)
    }
}

/// A client that sends `[]` or `[{}]` wants the list gone.
pub(super) fn is_reset(entries: &[Value]) -> bool {
    match entries {
        [] => true,
        [entry] => entry.as_object().is_some_and(Map::is_empty),
        _ => false,
    }
}

/// All entries of an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Managers(pub(super) Vec<Entry>);

impl Managers {
    pub(super) fn decode(entries: &[Value]) -> Result<Self, String> {
        entries.iter().map(Entry::decode).collect::<Result<_, _>>().map(Self)
    }

    /// The list in Kubernetes' order: appliers first, then by time and name. Null where it is empty.
    pub(super) fn encode(&self) -> Value {
        let mut entries: Vec<&Entry> = self.0.iter().filter(|entry| !entry.fields.is_empty()).collect();
        if entries.is_empty() {
            return Value::Null;
        }
        entries.sort_by(|a, b| {
            let key = |entry: &Entry| (entry.kind, entry.time.clone());
            let names = |entry: &Entry| (entry.manager.clone(), entry.api_version.clone(), entry.subresource.clone());
            key(a).cmp(&key(b)).then_with(|| names(a).cmp(&names(b)))
        });
        Value::Array(entries.into_iter().map(Entry::encode).collect())
    }

    /// The entry that an operation writes to; made where it is missing. An applier takes on the operation's version.
    pub(super) fn entry(&mut self, kind: Kind, operation: &Operation<'_>) -> &mut Entry {
        let id = id(kind, operation);
        let at = match self.0.iter().position(|entry| entry.id() == id) {
            Some(at) => at,
            None => {
                self.0.push(Entry {
                    manager: manager_name(operation).to_string(),
                    kind,
                    subresource: operation.subresource.to_string(),
                    api_version: String::new(),
                    time: None,
                    fields: Set::default(),
                });
                self.0.len() - 1
            }
        };
        let entry = &mut self.0[at];
        if entry.api_version != operation.api_version {
            entry.api_version = operation.api_version.to_string();
        }
        entry
    }

    /// Takes fields from everyone but `spared`.
    pub(super) fn take_away(&mut self, fields: &Set, spared: Option<&Id>) {
        if fields.is_empty() {
            return;
        }
        for entry in &mut self.0 {
            if spared.is_none_or(|spared| entry.id() != *spared) {
                entry.fields.take(fields);
            }
        }
        self.drop_empty();
    }

    pub(super) fn drop_empty(&mut self) {
        self.0.retain(|entry| !entry.fields.is_empty());
    }

    /// Everything that anyone owns.
    pub(super) fn union(&self) -> Set {
        let mut set = Set::default();
        self.0.iter().for_each(|entry| set.add(&entry.fields));
        set
    }

    /// Merges the oldest entries of updates of one version until there are few enough.
    pub(super) fn cap(&mut self) {
        let mut updates: Vec<Entry> = Vec::new();
        let mut kept: Vec<Entry> = Vec::new();
        let count = self.0.iter().filter(|entry| entry.kind == Kind::Update).count();
        if count <= MAX_UPDATE_ENTRIES {
            return;
        }
        for entry in self.0.drain(..) {
            if entry.kind == Kind::Update { updates.push(entry) } else { kept.push(entry) }
        }
        updates.sort_by(|a, b| (&a.time, &a.manager).cmp(&(&b.time, &b.manager)));
        let mut excess = count - MAX_UPDATE_ENTRIES;
        let mut buckets: BTreeMap<String, usize> = BTreeMap::new();
        for entry in updates {
            match buckets.get(&entry.api_version) {
                Some(at) if excess > 0 => {
                    let bucket = &mut kept[*at];
                    bucket.manager = ANCIENT_CHANGES.to_string();
                    bucket.subresource = String::new();
                    bucket.time = entry.time;
                    bucket.fields.add(&entry.fields);
                    excess -= 1;
                }
                Some(_) => kept.push(entry),
                None => {
                    buckets.insert(entry.api_version.clone(), kept.len());
                    kept.push(entry);
                }
            }
        }
        self.0 = kept;
    }
}
