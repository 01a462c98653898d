//! OpenAPI version 2: one document of everything, as JSON and as the protobuf that kubectl asks for.

mod gnostic;

use std::sync::Arc;

use api::definitions::openapi::Dialect;
use api::resource::Resource;
use prost::Message;
use serde_json::{Map, Value, json};

use super::{paths, v3};
use crate::aggregate::openapi;
use crate::served::Served;
use crate::version::GIT_VERSION;

/// The document.
pub fn document(served: &Served) -> Value {
    let resources: Vec<&Resource> = served.resources().collect();
    let all: Map<String, Value> = resources.iter().flat_map(|resource| paths::of(resource, Dialect::V2)).collect();
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": GIT_VERSION},
        "paths": all,
        "definitions": v3::components(&resources, Dialect::V2),
    })
}

/// The document with what other servers publish, as JSON or in gnostic's protobuf form.
pub fn joined(served: &Served, parts: &[Arc<Value>], is_protobuf: bool) -> Vec<u8> {
    let mut document = document(served);
    parts.iter().for_each(|part| openapi::join(&mut document, part));
    match is_protobuf {
        true => gnostic::Document::from_json(&document).encode_to_vec(),
        false => document.to_string().into_bytes(),
    }
}

/// The document in gnostic's protobuf form.
pub fn protobuf(served: &Served) -> Vec<u8> {
    gnostic::Document::from_json(&document(served)).encode_to_vec()
}
