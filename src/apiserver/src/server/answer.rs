//! The body of an answer on its way to its client: in pieces, so that no more of it than one leaves this server's hand
//! before the client has taken what came before; and what one connection holds of such answers.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::pace::Pace;
use crate::body::{Body, BoxError, Unhurried};
use crate::flow::sending::Held;
use crate::processor;

/// One piece: what the HTTP library holds of a stream whose client has closed its window.
const PIECE_BYTES: usize = 64 << 10;
/// The last piece of an answer: the library has done with a stream when it was given the last, and nobody looks any
/// more whether the client takes it.
const LAST_PIECE_BYTES: usize = 4 << 10;
/// A connection that holds as much of answers that were not taken has its next requests wait.
const UNTAKEN_BYTES_MAX: usize = 32 << 20;
/// So many streams of one connection may end since their client did not read: then the connection ends, and with it
/// what the library still holds of them.
const STALLED_MAX: usize = 20;

/// What a connection has open.
pub struct Load {
    began: Instant,
    open: AtomicUsize,
    last_ms: AtomicU64,
    untaken_bytes: AtomicUsize,
    taken: Notify,
    stalled: AtomicUsize,
    /// Too many of its streams stood still.
    pub overrun: CancellationToken,
}

impl Load {
    /// Nothing is open.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            open: AtomicUsize::new(0),
            last_ms: AtomicU64::new(0),
            untaken_bytes: AtomicUsize::new(0),
            taken: Notify::new(),
            stalled: AtomicUsize::new(0),
            overrun: CancellationToken::new(),
        })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// `None` while a request is open.
    pub fn idle_for(&self) -> Option<Duration> {
        let last = Duration::from_millis(self.last_ms.load(Ordering::Acquire));
        (self.open.load(Ordering::Acquire) == 0).then(|| self.began.elapsed().saturating_sub(last))
    }

    /// Waits until the client has taken enough of what it was answered to be answered more.
    pub async fn room(&self) {
        let has_room = || self.untaken_bytes.load(Ordering::Acquire) < UNTAKEN_BYTES_MAX;
        while !has_room() {
            let mut taken = std::pin::pin!(self.taken.notified());
            taken.as_mut().enable();
            // What was taken before it is listened for is not told.
            if has_room() {
                return;
            }
            taken.await;
        }
    }

    /// A stream was ended since its client did not read.
    pub fn stalled(&self) {
        if self.stalled.fetch_add(1, Ordering::AcqRel) >= STALLED_MAX {
            self.overrun.cancel();
        }
    }

    fn hold(&self, bytes: usize) {
        self.untaken_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    fn give(&self, bytes: usize) {
        if self.untaken_bytes.fetch_sub(bytes, Ordering::AcqRel) >= UNTAKEN_BYTES_MAX {
            self.taken.notify_waiters();
        }
    }
}

/// A request that is open until its answer is sent.
pub struct Open(Arc<Load>);

impl Open {
    /// From now on.
    pub fn begin(load: &Arc<Load>) -> Self {
        load.open.fetch_add(1, Ordering::AcqRel);
        Self(load.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.last_ms.store(self.0.now_ms(), Ordering::Release);
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The body of an answer, with which its request ends.
pub struct Answer {
    body: Body,
    /// What the body has given and the library has not.
    rest: Bytes,
    /// Of what is known of the answer's size, what was not handed over yet.
    untaken_bytes: usize,
    /// `None` where the client may take its time.
    pace: Option<Arc<Pace>>,
    /// The seats of the request, as long as much of the answer is left.
    held: Option<Held>,
    open: Open,
}

impl Answer {
    /// What `response` says, going out at the pace of its stream, or else that of its connection.
    pub fn of(response: Response<Body>, pace: &Arc<Pace>, open: Open) -> Response<Self> {
        let (mut parts, body) = response.into_parts();
        let pace = parts.extensions.get::<Unhurried>().is_none().then(|| Pace::own_or(pace));
        let held = parts.extensions.remove::<Held>();
        Response::from_parts(parts, Self::new(body, pace, held, open))
    }

    fn new(body: Body, pace: Option<Arc<Pace>>, held: Option<Held>, open: Open) -> Self {
        let size = body.size_hint().exact().and_then(|size| usize::try_from(size).ok()).unwrap_or_default();
        open.0.hold(size);
        Self { body, rest: Bytes::new(), untaken_bytes: size, pace, held, open }
    }

    fn hand(&mut self, mut data: Bytes) -> Bytes {
        let is_last = self.body.is_end_stream();
        let length = match data.len() {
            length if length > PIECE_BYTES + LAST_PIECE_BYTES || !is_last => length.min(PIECE_BYTES),
            length if length > LAST_PIECE_BYTES => length - LAST_PIECE_BYTES,
            length => length,
        };
        let piece = data.split_to(length);
        self.rest = data;
        let known = piece.len().min(self.untaken_bytes);
        self.untaken_bytes -= known;
        self.open.0.give(known);
        if let Some(pace) = &self.pace {
            pace.handed();
        }
        if self.held.as_ref().is_some_and(|held| !held.holds(self.size_hint().exact())) {
            self.held = None;
        }
        piece
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.open.0.give(self.untaken_bytes);
        if let Some(pace) = &self.pace {
            pace.rests();
        }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(pace) = &self.pace {
            pace.rests();
        }
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            return Poll::Ready(Some(Ok(Frame::data(self.hand(rest)))));
        }
        ready!(processor::poll_pause(cx));
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| match frame?.into_data() {
            Ok(data) => Ok(Frame::data(self.hand(data))),
            Err(other) => Ok(other),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn an_answer_goes_out_in_pieces_whose_last_is_small_and_counts_what_is_left() {
        for (size, pieces) in [
            (0, vec![]),
            (100, vec![100]),
            (LAST_PIECE_BYTES + 1, vec![1, LAST_PIECE_BYTES]),
            (PIECE_BYTES, vec![PIECE_BYTES - LAST_PIECE_BYTES, LAST_PIECE_BYTES]),
            (2 * PIECE_BYTES, vec![PIECE_BYTES, PIECE_BYTES - LAST_PIECE_BYTES, LAST_PIECE_BYTES]),
        ] {
            let load = Load::new();
            let mut answer = Answer::new(crate::body::full(vec![7; size]), None, None, Open::begin(&load));
            let (mut seen, mut left) = (Vec::new(), size);
            while left > 0 {
                assert_eq!((answer.size_hint().exact(), answer.is_end_stream()), (Some(left as u64), false));
                assert_eq!(load.untaken_bytes.load(Ordering::Relaxed), left);
                let piece = answer.frame().await.expect("a frame").expect("bytes").into_data().expect("data");
                left -= piece.len();
                seen.push(piece.len());
            }
            assert!(answer.is_end_stream());
            assert_eq!(seen, pieces);
        }
    }

    #[tokio::test]
    async fn a_connection_that_holds_too_much_waits_until_its_client_takes_or_leaves_it() {
        let load = Load::new();
        let full = Answer::new(crate::body::full(vec![7; UNTAKEN_BYTES_MAX]), None, None, Open::begin(&load));
        let waits = tokio::spawn({
            let load = load.clone();
            async move { load.room().await }
        });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished() && load.idle_for().is_none());
        drop(full);
        waits.await.expect("there is room");
        assert!(load.idle_for().is_some());
    }
}
