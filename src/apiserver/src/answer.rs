//! Writing answers: JSON, YAML or protobuf, pretty where asked for, compressed where it pays.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
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

/// A failure that was written as JSON, for a client that reads protobuf; every other answer as it is.
pub fn failure_in_protobuf(mut response: Response<Body>) -> Response<Body> {
    let Some(status) = response.extensions().get::<Status>() else { return response };
    // Where it had no such form it stays JSON, as its media type says.
    if let Ok(bytes) = protobuf::encode(&status.to_value()) {
        *response.body_mut() = body::full(bytes);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Format::Protobuf.media_type()));
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response
}
