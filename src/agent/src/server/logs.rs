//! `/containerLogs`: a container's log, as a whole or as it grows.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame, Incoming};
use tokio::sync::mpsc;

use super::{Answer, Body, Server, query, refuse};
use crate::logs::format::Wanted;
use crate::logs::reader;
use crate::pod::find_container;
use crate::pod::observed::Phase;

/// Pieces that wait for a slow client.
const PIECES_MAX: usize = 4;

/// Answers with a log.
pub fn answer(server: &Server, request: &Request<Incoming>, namespace: &str, pod: &str, container: &str) -> Answer {
    let bad = |message: String| refuse(StatusCode::BAD_REQUEST, message);
    let wanted = Wanted::parse(&query(request), jiff::Timestamp::now()).map_err(bad)?;
    let worker = server.pods.find(namespace, pod);
    let worker = worker.ok_or_else(|| refuse(StatusCode::NOT_FOUND, format!("pod {pod:?} does not exist\n")))?;
    if find_container(&worker.pod(), container).is_none() {
        let message = format!("container {container:?} not found in pod {pod:?}\n");
        return Err(refuse(StatusCode::NOT_FOUND, message));
    }
    let observed = worker.observed();
    let run = if wanted.previous { observed.previous(container) } else { observed.latest(container) };
    let Some(run) = run.cloned() else {
        let message = if wanted.previous {
            format!("previous terminated container {container:?} in pod {pod:?} not found\n")
        } else {
            format!("container {container:?} in pod {pod:?} is waiting to start: {}\n", waiting(&worker, container))
        };
        return Err(bad(message));
    };
    let (sender, receiver) = mpsc::channel::<Bytes>(PIECES_MAX);
    let id = run.id.clone();
    let alive = move || {
        let observed = worker.observed();
        observed.containers.iter().any(|instance| instance.id == id && instance.phase == Phase::Running)
    };
    tokio::spawn(reader::read(run.log_path.into(), wanted, sender, alive));
    let body: Body = BodyExt::boxed(Pieces(receiver));
    let mut response = Response::new(body);
    let plain = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    Ok(response)
}

/// A body made of what the reader sends.
struct Pieces(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

fn waiting(worker: &crate::pod::worker::Worker, container: &str) -> String {
    let status = worker.status().unwrap_or_default();
    let mut all = status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
    let state = all.find(|status| status.name == container).and_then(|status| status.state.clone());
    state
        .and_then(|state| state.waiting)
        .and_then(|waiting| waiting.reason)
        .unwrap_or_else(|| "ContainerCreating".into())
}
