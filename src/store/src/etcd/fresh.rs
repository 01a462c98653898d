//! Which revision etcd is at, asked of its quorum: whoever waits for the answer at the same time shares one question.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::connection::{Connection, failed};
use super::unsigned;
use super::wire::RangeRequest;
use crate::Error;

/// Readers that wait for their turn; more wait outside.
const QUEUE: usize = 1024;

/// Asks.
#[derive(Debug)]
pub(super) struct Fresh(mpsc::Sender<oneshot::Sender<Result<u64, Arc<Error>>>>);

impl Fresh {
    /// The questions, and the task that asks them.
    pub(super) fn new(connection: Arc<Connection>) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), answer(connection, receiver))
    }

    /// A revision that is no older than the moment at which this was called.
    pub(super) async fn revision(&self) -> Result<u64, Error> {
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).await.map_err(|_| Error::Closed)?;
        let revision = answered.await.map_err(|_| Error::Closed)?;
        revision.map_err(|error| Error::Backend { doing: "asking etcd for its revision", source: Box::new(error) })
    }
}

async fn answer(connection: Arc<Connection>, mut waiting: mpsc::Receiver<oneshot::Sender<Result<u64, Arc<Error>>>>) {
    // No key is empty but for its zero byte; what counts is the head of the answer.
    let question = RangeRequest { key: Bytes::from_static(&[0]), count_only: true, ..RangeRequest::default() };
    while let Some(first) = waiting.recv().await {
        let mut all = vec![first];
        while let Ok(more) = waiting.try_recv() {
            all.push(more);
        }
        let answer = connection.range(question.clone()).await;
        let answer = answer.map(|answer| answer.header.map_or(0, |header| unsigned(header.revision)));
        let answer = answer.map_err(|status| Arc::new(failed("reading etcd", status)));
        for one in all {
            // Whoever no longer waits does not need the answer.
            let _ = one.send(answer.clone());
        }
    }
}
