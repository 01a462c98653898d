//! Which form of an answer a client wants: the `Accept` header with Kubernetes' parameters
//! (`application/json;as=Table;v=v1;g=meta.k8s.io`).

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};

use crate::body::{JSON, PROTOBUF, YAML};
use crate::status::{Result, Status};

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Kubernetes' protobuf.
    Protobuf,
}

impl Format {
    /// The value of `Content-Type`.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Yaml => YAML,
            Self::Protobuf => PROTOBUF,
        }
    }
}

/// What an answer shows of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Objects as they are.
    Object,
    /// A `Table` for people.
    Table,
    /// `PartialObjectMetadata`, or its list.
    Metadata,
}

/// One clause of an Accept header.
#[derive(Debug, Clone, PartialEq)]
pub struct Clause {
    /// `application/json`, `*/*`.
    pub media_type: String,
    /// `as`, `v`, `g` and whatever else stands there, `q` apart.
    pub parameters: Vec<(String, String)>,
    quality: f32,
}

impl Clause {
    /// The value of a parameter; empty where it is missing.
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// The clause covers this media type.
    pub fn covers(&self, media_type: &str) -> bool {
        let own = self.media_type.as_str();
        own == "*/*"
            || own == media_type
            || own.strip_suffix("/*").is_some_and(|kind| media_type.starts_with(&format!("{kind}/")))
    }
}

/// The clauses of the Accept headers, best first; one `*/*` where there is none.
pub fn clauses(headers: &HeaderMap) -> Vec<Clause> {
    let mut clauses: Vec<Clause> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(parse_clause)
        .filter(|clause| clause.quality > 0.0)
        .collect();
    if clauses.is_empty() {
        clauses.push(Clause { media_type: "*/*".to_string(), parameters: Vec::new(), quality: 1.0 });
    }
    // Stable: equally good clauses stay in the client's order.
    clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    clauses
}

fn parse_clause(text: &str) -> Option<Clause> {
    let mut parts = text.split(';').map(str::trim);
    let media_type = parts.next().filter(|media_type| !media_type.is_empty())?.to_ascii_lowercase();
    let mut clause = Clause { media_type, parameters: Vec::new(), quality: 1.0 };
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim().trim_matches('"');
        match key.trim() {
            "q" => clause.quality = value.parse().unwrap_or(1.0),
            key => clause.parameters.push((key.to_string(), value.to_string())),
        }
    }
    Some(clause)
}

fn format_of(clause: &Clause, protobuf: bool) -> Option<Format> {
    if protobuf && clause.media_type == PROTOBUF {
        // Whoever accepts anything gets what people can read.
        Some(Format::Protobuf)
    } else if clause.covers(JSON) {
        Some(Format::Json)
    } else if clause.covers(YAML) || clause.covers("application/x-yaml") || clause.covers("text/yaml") {
        Some(Format::Yaml)
    } else {
        None
    }
}

/// Whether JSON is what is wanted first, where that is told without reading much: most clients say one of three things.
fn wants_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(ACCEPT).iter();
    match (values.next().map(HeaderValue::as_bytes), values.next()) {
        (None, _) => true,
        (Some(value), None) => matches!(value, b"application/json" | b"application/json, */*" | b"*/*"),
        _ => false,
    }
}

/// What the answer to a request for objects looks like; `protobuf` where these objects have that form.
///
/// # Errors
/// 406 where nothing the client accepts is offered.
pub fn negotiate(headers: &HeaderMap, protobuf: bool) -> Result<(Format, Form)> {
    if wants_json(headers) {
        return Ok((Format::Json, Form::Object));
    }
    for clause in clauses(headers) {
        let meta = clause.parameter("g") == "meta.k8s.io" && matches!(clause.parameter("v"), "v1" | "v1beta1");
        // Every object's metadata has the form, whatever the rest of it has.
        let only_metadata = meta && clause.parameter("as").starts_with("PartialObjectMetadata");
        let Some(format) = format_of(&clause, protobuf || only_metadata) else { continue };
        match clause.parameter("as") {
            "" => return Ok((format, Form::Object)),
            // A Table is for people, and has no protobuf form.
            "Table" if meta && format != Format::Protobuf => return Ok((format, Form::Table)),
            "PartialObjectMetadata" | "PartialObjectMetadataList" if meta => return Ok((format, Form::Metadata)),
            _ => {}
        }
    }
    Err(not_acceptable())
}

/// JSON or YAML, or protobuf where the answer has it, for answers that have one form only.
///
/// # Errors
/// 406 where the client accepts none.
pub fn negotiate_format(headers: &HeaderMap, protobuf: bool) -> Result<Format> {
    if wants_json(headers) {
        return Ok(Format::Json);
    }
    let clauses = clauses(headers);
    let plain = clauses.iter().filter(|clause| clause.parameter("as").is_empty());
    plain.filter_map(|clause| format_of(clause, protobuf)).next().ok_or_else(not_acceptable)
}

/// What a failure looks like: protobuf for those who want it first, JSON for everybody else. A clause that asks for a
/// Table or for metadata says nothing of failures.
pub fn of_failures(headers: &HeaderMap) -> Format {
    match negotiate_format(headers, true) {
        Ok(Format::Protobuf) => Format::Protobuf,
        _ => Format::Json,
    }
}

fn not_acceptable() -> Status {
    Status::not_acceptable(&[JSON, YAML, PROTOBUF])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &str) -> Option<(Format, Form)> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, value.parse().expect("a header"));
        negotiate(&headers, false).ok()
    }

    #[test]
    fn protobuf_is_for_those_who_name_it_and_kinds_that_have_it() {
        let asked = |value: &str, protobuf: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, value.parse().expect("a header"));
            negotiate(&headers, protobuf).ok()
        };
        let both = "application/vnd.kubernetes.protobuf,application/json";
        let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        let table = "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1,application/json";
        for (value, protobuf, expected) in [
            (both, true, Some((Format::Protobuf, Form::Object))),
            (both, false, Some((Format::Json, Form::Object))),
            ("application/json,application/vnd.kubernetes.protobuf", true, Some((Format::Json, Form::Object))),
            ("application/vnd.kubernetes.protobuf", false, None),
            ("*/*", true, Some((Format::Json, Form::Object))),
            (metadata, true, Some((Format::Protobuf, Form::Metadata))),
            (metadata, false, Some((Format::Protobuf, Form::Metadata))),
            (table, true, Some((Format::Json, Form::Object))),
        ] {
            assert_eq!(asked(value, protobuf), expected, "{value}");
        }
    }

    #[test]
    fn the_first_form_that_is_offered_wins() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        let cases = [
            ("*/*", Some((Format::Json, Form::Object))),
            ("application/json", Some((Format::Json, Form::Object))),
            ("application/yaml", Some((Format::Yaml, Form::Object))),
            ("application/vnd.kubernetes.protobuf,application/json", Some((Format::Json, Form::Object))),
            ("application/vnd.kubernetes.protobuf", None),
            (table, Some((Format::Json, Form::Table))),
            ("application/json;as=Other;v=v1;g=meta.k8s.io,application/json", Some((Format::Json, Form::Object))),
            ("application/json;as=Table;v=v9;g=meta.k8s.io", None),
            ("application/json;q=0.5,application/yaml", Some((Format::Yaml, Form::Object))),
            ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Some((Format::Json, Form::Metadata))),
        ];
        for (header, expected) in cases {
            assert_eq!(accept(header), expected, "{header}");
        }
    }
}
