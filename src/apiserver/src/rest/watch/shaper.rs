//! Changes of the store as the lines of a watch: which of them are about objects that are meant, and in which form and
//! format the client has asked for them.

use std::sync::Arc;

use bytes::Bytes;
use machinery::table::{self, IncludeObject};
use serde_json::{Value, json};
use store::{Entry, Event};

use crate::accept::{Form, Format};
use crate::convert::shared::Shared;
use crate::rest::select::Selection;
use crate::rest::{protobuf, shape};
use crate::served::Held;
use crate::state::State;
use crate::status::{Result, Status};
use crate::storage;

const DELETED: &str = "DELETED";

/// Turns changes of the store into lines of the stream.
pub(super) struct Shaper {
    pub(super) resource: Held,
    pub(super) selection: Selection,
    pub(super) format: Format,
    pub(super) form: Form,
    pub(super) include: IncludeObject,
    /// Of a Table only the first event has column definitions.
    pub(super) columns_sent: bool,
}

impl Shaper {
    /// The line of a change; `None` where it is about no object that is meant. An object that comes to match is
    /// ADDED, and one that no longer does DELETED.
    pub(super) fn event(&mut self, event: &Event) -> Result<Option<Bytes>> {
        let matching = |entry: &Option<Arc<Entry>>| match entry {
            Some(entry) => self.selection.matches(&self.resource, entry),
            None => Ok(false),
        };
        let Some(type_) = type_of(matching(&event.previous)?, matching(&event.current)?) else { return Ok(None) };
        let entry = if type_ == DELETED { &event.previous } else { &event.current };
        match entry {
            Some(entry) => self.line(type_, entry, event.revision).map(Some),
            None => Ok(None),
        }
    }

    /// The same where a webhook converts objects, which may change what selectors ask for.
    pub(super) async fn converted_event(&mut self, state: &Arc<State>, event: &Event) -> Result<Option<Bytes>> {
        let mut converted = [None, None];
        for (entry, converted) in [&event.previous, &event.current].into_iter().zip(&mut converted) {
            if let Some(entry) = entry {
                *converted = Some(Shared::to_served(state, &self.resource, entry, event.revision).await?);
            }
        }
        let [previous, current] = converted;
        let is_meant = |object: &Option<Value>| {
            object.as_ref().is_some_and(|object| self.selection.matches_object(&self.resource, object))
        };
        let Some(type_) = type_of(is_meant(&previous), is_meant(&current)) else { return Ok(None) };
        let object = if type_ == DELETED { previous } else { current };
        object.map(|object| self.shown(type_, object)).transpose()
    }

    pub(super) fn line(&mut self, type_: &str, entry: &Entry, revision: u64) -> Result<Bytes> {
        if self.format == Format::Json && self.resource.storage.is_none() && self.form != Form::Table {
            let mut line = Vec::with_capacity(entry.value.len() + 128);
            line.extend_from_slice(b"{\"type\":\"");
            line.extend_from_slice(type_.as_bytes());
            line.extend_from_slice(b"\",\"object\":");
            let is_written = match self.form {
                Form::Metadata => storage::splice_metadata(&mut line, &entry.value, revision),
                _ => {
                    storage::splice(&mut line, &entry.value, revision);
                    true
                }
            };
            if is_written {
                line.extend_from_slice(b"}\n");
                return Ok(Bytes::from(line));
            }
        }
        let mut object = storage::decode_at(&entry.value, revision)?;
        if self.resource.storage.is_some() {
            object = self.resource.behaviour.to_served(object);
        }
        self.shown(type_, object)
    }

    /// The event of an object that is as the resource has it.
    pub(super) fn shown(&mut self, type_: &str, object: Value) -> Result<Bytes> {
        let shaped = match self.form {
            Form::Object => object,
            Form::Metadata => table::partial_object_metadata(&object),
            Form::Table => {
                let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                let row = shape::row(&self.resource, object, self.include);
                self.table(metadata, vec![row])
            }
        };
        self.write(type_, &shaped)
    }

    /// An event in the client's format.
    fn write(&self, type_: &str, object: &Value) -> Result<Bytes> {
        match self.format {
            Format::Protobuf => protobuf::watch_event(type_, object).map(Bytes::from).map_err(Status::internal),
            Format::Json | Format::Yaml => Ok(line(type_, object)),
        }
    }

    /// The event that ends a watch.
    pub(super) fn error(&self, status: &Status) -> Bytes {
        let status = status.to_value();
        self.write("ERROR", &status).unwrap_or_else(|_| line("ERROR", &status))
    }

    fn table(&mut self, metadata: Value, rows: Vec<Value>) -> Value {
        let columns = match std::mem::replace(&mut self.columns_sent, true) {
            true => Vec::new(),
            false => shape::columns(&self.resource),
        };
        table::table(metadata, columns, rows)
    }

    pub(super) fn bookmark(&mut self, revision: u64, initial_events_end: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if initial_events_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let (api_version, kind) = match self.form {
            Form::Object => (self.resource.group_version.to_string(), self.resource.kind.as_ref()),
            Form::Metadata => (table::API_VERSION.to_string(), "PartialObjectMetadata"),
            Form::Table => {
                let mut object = json!({"kind": self.resource.kind, "metadata": metadata});
                object["apiVersion"] = self.resource.group_version.to_string().into();
                let row = table::row(Vec::new(), object, IncludeObject::Metadata);
                let table = self.table(json!({"resourceVersion": revision.to_string()}), vec![row]);
                return self.told("BOOKMARK", &table);
            }
        };
        self.told("BOOKMARK", &json!({"apiVersion": api_version, "kind": kind, "metadata": metadata}))
    }

    /// An event, or why it cannot be written.
    fn told(&self, type_: &str, object: &Value) -> Bytes {
        self.write(type_, object).unwrap_or_else(|status| self.error(&status))
    }
}

/// What a change is to who asked for the objects that match: whether it matched, and whether it does.
fn type_of(was: bool, is: bool) -> Option<&'static str> {
    match (was, is) {
        (false, false) => None,
        (false, true) => Some("ADDED"),
        (true, true) => Some("MODIFIED"),
        // The last state that matched, at the revision at which it ceased to.
        (true, false) => Some(DELETED),
    }
}

fn line(type_: &str, object: &Value) -> Bytes {
    crate::body::json_line(&json!({"type": type_, "object": object}))
}
