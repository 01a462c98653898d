//! `Accept` headers, a line each: what is chosen is accepted, and protobuf goes to nobody who did not name it.
#![no_main]

use apiserver::decoders::{Form, Format, accepts_gzip, clauses, negotiate, negotiate_format, of_failures};
use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(ACCEPT, value.clone());
            headers.append(ACCEPT_ENCODING, value);
        }
    }
    let accepted = clauses(&headers);
    assert!(!accepted.is_empty());
    accepts_gzip(&headers);
    assert!(
        of_failures(&headers) != Format::Protobuf
            || accepted.iter().any(|clause| clause.media_type.contains("protobuf"))
    );
    for protobuf in [false, true] {
        for format in negotiate(&headers, protobuf)
            .map(|(format, _)| format)
            .into_iter()
            .chain(negotiate_format(&headers, protobuf))
        {
            let yaml = ["application/x-yaml", "text/yaml"];
            let is_named = |media_type: &str| accepted.iter().any(|clause| clause.covers(media_type));
            assert!(is_named(format.media_type()) || format == Format::Yaml && yaml.into_iter().any(is_named));
            assert!(
                format != Format::Protobuf || accepted.iter().any(|clause| clause.media_type == format.media_type())
            );
        }
        if let Ok((Format::Protobuf, form)) = negotiate(&headers, protobuf) {
            assert!(protobuf || form == Form::Metadata);
        }
    }
});
