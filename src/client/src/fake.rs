//! A fake API for this crate's tests: answers by method and path, in order, and remembers what it was asked.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::StreamBody;
use kube::client::Body;
use serde_json::Value;
use tokio::sync::mpsc;

/// What is still to be answered, by method and path.
type Answers = HashMap<(String, String), VecDeque<Answer>>;
type Stream = futures::stream::BoxStream<'static, Result<http_body::Frame<Bytes>, Infallible>>;

/// One answer.
pub enum Answer {
    /// At once.
    Whole(u16, Value),
    /// Lines as they are sent; ends when the sender is dropped.
    Lines(mpsc::UnboundedReceiver<Value>),
}

/// An answer in one piece.
pub fn json(code: u16, body: Value) -> Answer {
    Answer::Whole(code, body)
}

/// A watch, and the hand that feeds it.
pub fn lines() -> (mpsc::UnboundedSender<Value>, Answer) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Answer::Lines(receiver))
}

/// A request that was made.
#[derive(Debug, Clone)]
pub struct Seen {
    pub uri: String,
    pub content_type: String,
}

/// The fake; clones are the same. The last answer of a path is given again and again when it is whole.
#[derive(Clone, Default)]
pub struct Fake {
    answers: Arc<Mutex<Answers>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    /// Adds an answer. Watches of `/x` are asked for under `/x?watch`.
    pub fn on(&self, method: &str, path: &str, answer: Answer) {
        let mut answers = self.answers.lock().unwrap();
        answers.entry((method.to_string(), path.to_string())).or_default().push_back(answer);
    }

    pub fn requests(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn client(&self) -> kube::Client {
        let fake = self.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let fake = fake.clone();
            async move { fake.answer(request).await }
        });
        kube::Client::new(service, "default")
    }

    async fn answer(&self, request: http::Request<Body>) -> Result<http::Response<StreamBody<Stream>>, Infallible> {
        let (parts, _) = request.into_parts();
        let content_type = parts.headers.get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
        self.seen.lock().unwrap().push(Seen { uri: parts.uri.to_string(), content_type: content_type.to_string() });
        let watch = parts.uri.query().is_some_and(|query| query.contains("watch=true"));
        let path = format!("{}{}", parts.uri.path(), if watch { "?watch" } else { "" });
        let answer = {
            let mut answers = self.answers.lock().unwrap();
            match answers.get_mut(&(parts.method.to_string(), path)) {
                Some(queue) => match queue.front() {
                    Some(Answer::Whole(code, body)) if queue.len() == 1 => Some(json(*code, body.clone())),
                    _ => queue.pop_front(),
                },
                None => None,
            }
        };
        let missing = serde_json::json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "not found"});
        let (code, stream): (u16, Stream) = match answer.unwrap_or(Answer::Whole(404, missing)) {
            Answer::Whole(code, body) => {
                let bytes = Bytes::from(body.to_string());
                (code, futures::stream::once(async { Ok(http_body::Frame::data(bytes)) }).boxed())
            }
            Answer::Lines(receiver) => {
                let frames = futures::stream::unfold(receiver, |mut receiver| async {
                    let line = receiver.recv().await?;
                    Some((Ok(http_body::Frame::data(Bytes::from(format!("{line}\n")))), receiver))
                });
                (200, frames.boxed())
            }
        };
        Ok(http::Response::builder().status(code).body(StreamBody::new(stream)).unwrap())
    }
}
