//! Bodies of requests by their media types, and the options of deletions: what is read is as deep as objects may be, and
//! as any reader of JSON reads it.
#![no_main]

use apiserver::decoders::{DeleteOptions, body, media_type};
use apiserver::request::Query;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use machinery::strict;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let (Some(type_), Some(query), Some(rest)) = (parts.next(), parts.next(), parts.next()) else { return };
    let Ok(value) = HeaderValue::from_bytes(type_) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, value);
    let read = body(&headers, &Bytes::copy_from_slice(rest), strict::MAX_BYTES);
    let query = Query::parse(&String::from_utf8_lossy(query));
    let _ = DeleteOptions::read(&query, None);
    let Ok(read) = read else { return };
    assert!(strict::depth(&read.value) <= strict::MAX_DEPTH);
    if media_type(&headers) == "application/json" {
        assert_eq!(serde_json::from_slice::<Value>(rest).ok().as_ref(), Some(&read.value));
    }
    if let Ok(options) = DeleteOptions::read(&query, Some(read.value)) {
        // As admission is shown them they are the same options.
        let again = DeleteOptions::read(&Query::default(), Some(options.value.clone())).expect("they were options");
        assert_eq!((again.dry_run, again.grace_period_seconds), (options.dry_run, options.grace_period_seconds));
        assert_eq!((again.uid, again.resource_version), (options.uid, options.resource_version));
    }
});
