//! Questions to others that many may have at once: each is asked once for all who wait for its answer, as a task of its
//! own that does not end with whoever began it, and only so many at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

type Key = [u8; 32];
type Open<V> = HashMap<Key, Shared<BoxFuture<'static, Option<V>>>>;

/// Questions that are open, by what is asked.
pub struct Flights<V> {
    open: Arc<Mutex<Open<V>>>,
    places: Arc<Semaphore>,
}

impl<V: Clone + Send + Sync + 'static> Flights<V> {
    /// At most so many at a time.
    pub fn new(open_max: usize) -> Self {
        Self { open: Arc::default(), places: Arc::new(Semaphore::new(open_max)) }
    }

    /// The answer that `work` finds, or that somebody else's finds who has asked the same; `None` where too many others
    /// are asked for as long as `wait_at_most`, or it came to no end.
    pub async fn ask(
        &self,
        question: &[u8],
        wait_at_most: Duration,
        work: impl Future<Output = V> + Send + 'static,
    ) -> Option<V> {
        let key: Key = Sha256::digest(question).into();
        let begun = lock(&self.open).get(&key).cloned();
        if let Some(begun) = begun {
            return begun.await;
        }
        let place = tokio::time::timeout(wait_at_most, self.places.clone().acquire_owned()).await.ok()?.ok()?;
        let flight = {
            let mut open = lock(&self.open);
            // Somebody may have begun it meanwhile.
            open.get(&key).cloned().unwrap_or_else(|| {
                let ends = Ends { open: self.open.clone(), key };
                let task = tokio::spawn(async move {
                    let _place = place;
                    let _ends = ends;
                    work.await
                });
                let flight = task.map(Result::ok).boxed().shared();
                open.insert(key, flight.clone());
                flight
            })
        };
        flight.await
    }
}

/// Takes a question away when it is answered, or comes to no end.
struct Ends<V> {
    open: Arc<Mutex<Open<V>>>,
    key: Key,
}

impl<V> Drop for Ends<V> {
    fn drop(&mut self) {
        let gone = lock(&self.open).remove(&self.key);
        // What it holds is let go without the lock.
        drop(gone);
    }
}

fn lock<V>(open: &Mutex<Open<V>>) -> MutexGuard<'_, Open<V>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_question_is_asked_once_for_all_and_goes_on_without_who_began_it() {
        let flights = Arc::new(Flights::new(1));
        let asked = Arc::new(AtomicUsize::new(0));
        let ask = |what: &'static str| {
            let (flights, asked) = (flights.clone(), asked.clone());
            async move {
                let work = async move {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    asked.fetch_add(1, Ordering::SeqCst) + 1
                };
                flights.ask(what.as_bytes(), LONG, work).await
            }
        };
        // Whoever gives up soon does not take the question with it.
        assert!(tokio::time::timeout(Duration::from_millis(20), ask("a")).await.is_err());
        let (one, two, other) = tokio::join!(ask("a"), ask("a"), ask("b"));
        assert_eq!((one, two, other), (Some(1), Some(1), Some(2)));
        assert_eq!(ask("a").await, Some(3), "an answer is for those who wait for it");
        assert!(lock(&flights.open).is_empty());
    }

    #[tokio::test]
    async fn so_many_are_asked_at_a_time_and_one_that_fails_ends() {
        let flights = Flights::new(1);
        let never = flights.ask(b"a", LONG, std::future::pending::<u8>());
        let late = async {
            tokio::task::yield_now().await;
            flights.ask(b"b", Duration::from_millis(50), async { 1 }).await
        };
        tokio::select! {
            _ = never => panic!("it never ends"),
            refused = late => assert_eq!(refused, None),
        }
        let flights = Flights::<u8>::new(1);
        assert_eq!(flights.ask(b"a", LONG, async { panic!("a bug") }).await, None);
        assert_eq!(flights.ask(b"a", LONG, async { 2 }).await, Some(2));
    }
}
