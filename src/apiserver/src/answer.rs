//! Writing answers: JSON, YAML or protobuf, pretty where asked for, compressed where it pays.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;

use crate::accept::Format;
use crate::body::{self, Body};
use crate::handler::Context;
use crate::rest::protobuf;
use crate::status::{Result, Status};

/// Answers with a value.
///
/// # Errors
/// 500 where it cannot be written as YAML.
pub fn value(context: &Context, code: StatusCode, format: Format, value: &Value) -> Result<Response<Body>> {
    let bytes = match format {
        Format::Json if context.query.flag("pretty") => {
            let mut text = serde_json::to_vec_pretty(value).map_err(Status::internal)?;
            text.push(b'\n');
            Bytes::from(text)
        }
        Format::Json => body::json_line(value),
        Format::Protobuf => Bytes::from(protobuf::encode(value).map_err(Status::internal)?),
        Format::Yaml => Bytes::from(serde_yaml::to_string(value).map_err(Status::internal)?),
    };
    Ok(body::compressed(&context.headers, code, format.media_type(), bytes))
}

/// Answers with JSON that is there already; it is decoded only where the client wants another form of it.
///
/// # Errors
/// 500 where the bytes are no JSON.
pub fn json(context: &Context, code: StatusCode, format: Format, bytes: Bytes) -> Result<Response<Body>> {
    if format == Format::Json && !context.query.flag("pretty") {
        return Ok(body::compressed(&context.headers, code, format.media_type(), bytes));
    }
    let decoded: Value = serde_json::from_slice(&bytes).map_err(Status::internal)?;
    value(context, code, format, &decoded)
}
