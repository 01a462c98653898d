//! Whether a client takes what it is answered. What is handed to the HTTP library is handed over in pieces, and the
//! next piece is asked for when the client has taken enough of those before: how long that lasts is what counts here.
//!
//! Over HTTP/2 a stream that stands still is ended by itself, over HTTP/1.1 with its connection.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

tokio::task_local! {
    /// That of the HTTP/2 stream whose task this is.
    static OWN: Arc<Pace>;
}

/// How an answer goes out.
pub struct Pace {
    began: Instant,
    /// When the last piece was handed over that the next one is waiting for, in ms since `began` and one more; 0 where
    /// nothing waits for the client.
    handed_ms: AtomicU64,
}

impl Pace {
    /// Nothing is handed over yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), handed_ms: AtomicU64::new(0) })
    }

    /// That of the stream whose task this is, or else this one.
    pub fn own_or(other: &Arc<Self>) -> Arc<Self> {
        OWN.try_with(Arc::clone).unwrap_or_else(|_| other.clone())
    }

    /// A piece was handed over, and it is the client's turn.
    pub fn handed(&self) {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.handed_ms.store(now_ms + 1, Ordering::Release);
    }

    /// The client is not waited for: there is nothing to hand over, or nothing any more.
    pub fn rests(&self) {
        self.handed_ms.store(0, Ordering::Release);
    }

    /// Until when the client has to take something; `None` where it is not waited for.
    fn due(&self, within: Duration) -> Option<Instant> {
        let handed_ms = self.handed_ms.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.began + Duration::from_millis(handed_ms) + within)
    }

    /// Returns once the client has taken nothing for so long; looked at as often as that.
    pub async fn stalls(&self, within: Duration) {
        loop {
            match self.due(within) {
                Some(due) if due <= Instant::now() => return,
                Some(due) => tokio::time::sleep_until(due).await,
                None => tokio::time::sleep(within).await,
            }
        }
    }
}

/// Runs the task of a stream with a pace of its own; `None` where its client has taken nothing for so long, and the
/// stream is to end.
pub async fn keeping<F: Future>(work: F, within: Duration) -> Option<F::Output> {
    let pace = Pace::new();
    OWN.scope(pace.clone(), while_taken(work, &pace, within)).await
}

async fn while_taken<F: Future>(work: F, pace: &Pace, within: Duration) -> Option<F::Output> {
    let mut work = pin!(work);
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        poll_due(&mut timer, pace.due(within), cx).map(|()| None)
    })
    .await
}

/// Most streams never wait for their client, and have no timer.
fn poll_due(timer: &mut Option<Pin<Box<Sleep>>>, due: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
    let Some(due) = due else {
        *timer = None;
        return Poll::Pending;
    };
    let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
    if timer.deadline() != due {
        timer.as_mut().reset(due);
    }
    timer.as_mut().poll(cx)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn a_stream_ends_where_its_client_takes_nothing_and_not_where_it_is_slow() {
        let slow = keeping(
            async {
                let own = Pace::own_or(&Pace::new());
                for _ in 0..10 {
                    own.handed();
                    tokio::time::sleep(WITHIN / 4).await;
                }
                // Nothing to send for a long time is not the client's fault.
                own.rests();
                tokio::time::sleep(WITHIN * 2).await;
            },
            WITHIN,
        );
        assert_eq!(slow.await, Some(()));
        let began = Instant::now();
        let stalled = keeping(
            async {
                Pace::own_or(&Pace::new()).handed();
                std::future::pending::<()>().await;
            },
            WITHIN,
        );
        assert_eq!(stalled.await, None);
        assert!(began.elapsed() >= WITHIN);
        // The pace of a connection, where there are no streams.
        let pace = Pace::new();
        pace.handed();
        pace.stalls(WITHIN).await;
        pace.rests();
        assert!(tokio::time::timeout(WITHIN * 2, pace.stalls(WITHIN)).await.is_err());
    }
}
