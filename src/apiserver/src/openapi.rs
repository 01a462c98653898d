//! OpenAPI: what `kubectl explain`, client-side validation and code generators read. Version 3 by group and version,
//! version 2 as one document in JSON or protobuf. Made from the registry's schemas on first use.

mod paths;
mod v2;
mod v3;

use bytes::Bytes;
use http::Response;

use crate::accept::clauses;
use crate::body::{Body, JSON};
use crate::cache::Cached;
use crate::handler::Context;
use crate::status::{Result, Status};

const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// What answers are called: an `@` is no part of a media type, and Go refuses to parse it.
const PROTOBUF_ANSWER: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Answers a path under `/openapi/`.
///
/// # Errors
/// 404 for a group or version that is not served; 406.
pub fn serve(context: &Context) -> Result<Response<Body>> {
    let path = context.info.path.trim_end_matches('/');
    let documents = &context.served.documents;
    match path {
        "/openapi/v2" => {
            let accepted = clauses(&context.headers);
            let binary =
                |media_type: &str| [PROTOBUF, PROTOBUF_ANSWER, "application/com.google.protobuf"].contains(&media_type);
            let first = accepted.iter().find(|clause| binary(&clause.media_type) || clause.covers(JSON));
            let first = first.ok_or_else(|| Status::not_acceptable(&[JSON, PROTOBUF]))?;
            let is_protobuf = binary(&first.media_type);
            let others = &context.state.kept.openapi;
            let joined =
                others.merged(&context.served, is_protobuf, |parts| v2::joined(&context.served, parts, is_protobuf));
            if let Some(joined) = joined {
                return Ok(joined.answer(&context.headers, if is_protobuf { PROTOBUF_ANSWER } else { JSON }));
            }
            if is_protobuf {
                let made = documents.get_or_make("openapi v2 protobuf", || Some(v2::protobuf(&context.served).into()));
                return Ok(made.ok_or_else(Status::no_such_resource)?.answer(&context.headers, PROTOBUF_ANSWER));
            }
            let made =
                documents.get_or_make("openapi v2", || Some(Bytes::from(v2::document(&context.served).to_string())));
            Ok(made.ok_or_else(Status::no_such_resource)?.answer(&context.headers, JSON))
        }
        "/openapi/v3" => {
            let others = context.state.kept.openapi.index(&context.served);
            if !others.is_empty() {
                let mut index = v3::index(&context.served);
                if let Some(paths) = index["paths"].as_object_mut() {
                    paths.extend(others);
                }
                return Ok(Cached::new(index.to_string().into()).answer(&context.headers, JSON));
            }
            let made = documents.get_or_make(path, || Some(Bytes::from(v3::index(&context.served).to_string())));
            Ok(made.ok_or_else(Status::no_such_resource)?.answer(&context.headers, JSON))
        }
        _ => {
            let rest = path.strip_prefix("/openapi/v3/").ok_or_else(Status::no_such_resource)?;
            let made = documents
                .get_or_make(path, || v3::document(&context.served, rest).map(|value| Bytes::from(value.to_string())));
            Ok(made.ok_or_else(Status::no_such_resource)?.answer(&context.headers, JSON))
        }
    }
}
