//! Changes of the store as the lines of a watch: which of them are about objects that are meant, and in which form and
//! format the client has asked for them.

use std::sync::Arc;

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
/// What an event has beside its object.
const LINE_OVERHEAD_BYTES: usize = 128;

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
    /// Appends the line of a change; `false` where it is about no object that is meant. An object that comes to match is
    /// ADDED, and one that no longer does DELETED.
    pub(super) fn event(&mut self, event: &Event, out: &mut Vec<u8>) -> Result<bool> {
        let matching = |entry: &Option<Arc<Entry>>| match entry {
            Some(entry) => self.selection.matches(&self.resource, entry),
            None => Ok(false),
        };
        let Some(type_) = type_of(matching(&event.previous)?, matching(&event.current)?) else { return Ok(false) };
        let entry = if type_ == DELETED { &event.previous } else { &event.current };
        let Some(entry) = entry else { return Ok(false) };
        self.line(type_, entry, event.revision, out)?;
        Ok(true)
    }

    /// The same where a webhook converts objects, which may change what selectors ask for.
    pub(super) async fn converted_event(
        &mut self,
        state: &Arc<State>,
        event: &Event,
        out: &mut Vec<u8>,
    ) -> Result<bool> {
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
        let Some(type_) = type_of(is_meant(&previous), is_meant(&current)) else { return Ok(false) };
        let object = if type_ == DELETED { previous } else { current };
        let Some(object) = object else { return Ok(false) };
        self.shown(type_, object, out)?;
        Ok(true)
    }

    /// Appends the event of a stored object; nothing where that fails.
    pub(super) fn line(&mut self, type_: &str, entry: &Entry, revision: u64, line: &mut Vec<u8>) -> Result<()> {
        if self.format == Format::Json && self.resource.storage.is_none() && self.form != Form::Table {
            let before = line.len();
            line.reserve(entry.value.len() + LINE_OVERHEAD_BYTES);
            line.extend_from_slice(b"{\"type\":\"");
            line.extend_from_slice(type_.as_bytes());
            line.extend_from_slice(b"\",\"object\":");
            let is_written = match self.form {
                Form::Metadata => storage::splice_metadata(line, &entry.value, revision),
                _ => {
                    storage::splice(line, &entry.value, revision);
                    true
                }
            };
            if is_written {
                line.extend_from_slice(b"}\n");
                return Ok(());
            }
            line.truncate(before);
        }
        let mut object = storage::decode_at(&entry.value, revision)?;
        if self.resource.storage.is_some() {
            object = self.resource.behaviour.to_served(object);
        }
        self.shown(type_, object, line)
    }

    /// Appends the event of an object that is as the resource has it.
    pub(super) fn shown(&mut self, type_: &str, object: Value, out: &mut Vec<u8>) -> Result<()> {
        let shaped = match self.form {
            Form::Object => object,
            Form::Metadata => table::partial_object_metadata(&object),
            Form::Table => {
                let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                let row = shape::row(&self.resource, object, self.include);
                self.table(metadata, vec![row])
            }
        };
        self.write(type_, &shaped, out)
    }

    /// Appends an event in the client's format.
    fn write(&self, type_: &str, object: &Value, out: &mut Vec<u8>) -> Result<()> {
        match self.format {
            Format::Protobuf => {
                out.extend_from_slice(&protobuf::watch_event(type_, object).map_err(Status::internal)?);
            }
            Format::Json | Format::Yaml => write_line(type_, object, out),
        }
        Ok(())
    }

    /// Appends the event that ends a watch.
    pub(super) fn error(&self, status: &Status, out: &mut Vec<u8>) {
        let status = status.to_value();
        if self.write("ERROR", &status, out).is_err() {
            write_line("ERROR", &status, out);
        }
    }

    fn table(&mut self, metadata: Value, rows: Vec<Value>) -> Value {
        let columns = match std::mem::replace(&mut self.columns_sent, true) {
            true => Vec::new(),
            false => shape::columns(&self.resource),
        };
        table::table(metadata, columns, rows)
    }

    /// Appends a bookmark.
    pub(super) fn bookmark(&mut self, revision: u64, initial_events_end: bool, out: &mut Vec<u8>) {
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
                return self.tell("BOOKMARK", &table, out);
            }
        };
        self.tell("BOOKMARK", &json!({"apiVersion": api_version, "kind": kind, "metadata": metadata}), out);
    }

    /// Appends an event, or why it cannot be written.
    fn tell(&self, type_: &str, object: &Value, out: &mut Vec<u8>) {
        if let Err(status) = self.write(type_, object, out) {
            self.error(&status, out);
        }
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

fn write_line(type_: &str, object: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(&crate::body::json_line(&json!({"type": type_, "object": object})));
}
