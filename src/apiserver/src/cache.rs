//! Documents that are made once and answered with an ETag: discovery and OpenAPI.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use http::header::{ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use sha2::{Digest, Sha512};

use crate::body::{self, Body};

/// A document's bytes and what they are known by.
#[derive(Debug, Clone)]
pub struct Cached {
    /// The body.
    pub bytes: Bytes,
    /// The hash of the bytes in hex, upper case as Kubernetes writes it.
    pub hash: std::sync::Arc<str>,
}

impl Cached {
    /// A document of these bytes.
    pub fn new(bytes: Bytes) -> Self {
        let hash = hex::encode_upper(Sha512::digest(&bytes)).into();
        Self { bytes, hash }
    }

    /// The document, or 304 where the client has it.
    pub fn answer(&self, request: &HeaderMap, media_type: &'static str) -> Response<Body> {
        let etag = format!("\"{}\"", self.hash);
        let known = request
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|value| value.trim().trim_start_matches("W/") == etag);
        let mut response = if known {
            let mut response = Response::new(body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            body::compressed(request, StatusCode::OK, media_type, self.bytes.clone())
        };
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            response.headers_mut().insert(ETAG, etag);
        }
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
        response
    }
}

/// Documents by name. Only names whose document exists are kept, so clients cannot fill it.
#[derive(Debug, Default)]
pub struct Documents(Mutex<HashMap<String, Cached>>);

impl Documents {
    /// The document of that name, made on first use; `None` where `make` knows none.
    pub fn get_or_make(&self, name: &str, make: impl FnOnce() -> Option<Bytes>) -> Option<Cached> {
        if let Some(found) = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get(name) {
            return Some(found.clone());
        }
        // Made without the lock: two at once make the same.
        let made = Cached::new(make()?);
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(name.to_string(), made.clone());
        Some(made)
    }
}
