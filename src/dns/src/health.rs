//! `/health` and `/ready` over HTTP, for the pod's probes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::run::Cluster;

/// Probes at a time; more wait.
const MAX_CONNECTIONS: usize = 16;

/// Answers until `shutdown`.
pub async fn serve(address: SocketAddr, cluster: Arc<Cluster>, shutdown: CancellationToken) -> Result<(), Error> {
    let listener = TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else { continue };
        let Ok(place) = places.clone().acquire_owned().await else { return Ok(()) };
        let cluster = cluster.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let answer = answer(&request, cluster.is_ready());
                async move { Ok::<_, Infallible>(answer) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), answer)
                .await;
            drop(place);
        });
    }
}

fn answer(request: &Request<hyper::body::Incoming>, ready: bool) -> Response<Full<Bytes>> {
    let (status, text) = match request.uri().path() {
        "/health" => (StatusCode::OK, "OK"),
        "/ready" if ready => (StatusCode::OK, "OK"),
        "/ready" => (StatusCode::SERVICE_UNAVAILABLE, "waiting for the API"),
        _ => (StatusCode::NOT_FOUND, "not found"),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}
