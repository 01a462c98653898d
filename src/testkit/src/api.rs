//! An API in memory that holds still: for tests of what follows objects and needs none of them to change.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use kube::client::Body;
use serde_json::{Value, json};

/// A client that finds these objects under their lists' paths (`/api/v1/services`) and nothing under others. Watches
/// tell nothing and do not end. What else is asked is not found.
pub fn still(lists: &[(&str, Vec<Value>)]) -> kube::Client {
    let lists: BTreeMap<String, Vec<Value>> =
        lists.iter().map(|(path, list)| (path.to_string(), list.clone())).collect();
    let lists = Arc::new(lists);
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let lists = lists.clone();
        async move {
            if request.uri().query().is_some_and(|query| query.contains("watch=true")) {
                std::future::pending::<()>().await;
            }
            let (code, body) = match lists.get(request.uri().path()) {
                Some(items) => (200, json!({"metadata": {"resourceVersion": "1"}, "items": items})),
                None => (
                    404,
                    json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "not found"}),
                ),
            };
            let mut answer = http::Response::new(Body::from(body.to_string().into_bytes()));
            *answer.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
            Ok::<_, Infallible>(answer)
        }
    });
    kube::Client::new(service, "default")
}
