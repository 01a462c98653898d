//! The in-process transport: a kube client whose requests are function calls. No sockets, no TLS, and bodies move
//! without being copied; watches stream through it.

use std::convert::Infallible;
use std::sync::Arc;

use http::Request;
use http_body_util::BodyExt;
use tower::service_fn;

use crate::handler::{self, Caller};
use crate::request::User;
use crate::state::State;

/// A client that acts as `user`.
pub fn client(state: &Arc<State>, user: User) -> kube::Client {
    let (state, user) = (state.clone(), Arc::new(user));
    let service = service_fn(move |request: Request<kube::client::Body>| {
        let (state, user) = (state.clone(), user.clone());
        async move {
            let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
            Ok::<_, Infallible>(handler::serve(state, Caller::User(user), request).await)
        }
    });
    kube::Client::new(service, "default")
}
