//! Closed-loop load: so many workers, each sending its next request when the one before is answered.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::stats::Samples;

/// Something that can be asked over and over by several workers.
pub trait Load: Send + Sync + 'static {
    /// One request. `sequence` counts a worker's requests from 0.
    fn call(&self, worker: usize, sequence: u64) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// When the workers stop.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// Once this much time has gone by.
    Elapsed(Duration),
    /// Once each worker has been answered so often.
    Calls(u64),
}

impl Until {
    /// Whether a worker that began then and was answered so often has done its part.
    pub fn is_over(self, began: Instant, answers: u64) -> bool {
        match self {
            Self::Elapsed(limit) => began.elapsed() >= limit,
            Self::Calls(limit) => answers >= limit,
        }
    }
}

/// What came of a load.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Answers for each second.
    pub per_s: f64,
    /// How long each answer took.
    pub latencies_ms: Samples,
}

/// Runs `workers` on `load`; the first failure of one ends the run.
pub async fn run(load: Arc<impl Load>, workers: usize, until: Until) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..workers {
        let load = load.clone();
        tasks.spawn(async move {
            let mut latencies_ms = Vec::new();
            for sequence in 0.. {
                if until.is_over(began, sequence) {
                    break;
                }
                let asked = Instant::now();
                load.call(worker, sequence).await?;
                latencies_ms.push(asked.elapsed().as_secs_f64() * 1000.0);
            }
            anyhow::Ok(latencies_ms)
        });
    }
    let mut all = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        all.extend(ended.context("a worker panicked")??);
    }
    let elapsed_s = began.elapsed().as_secs_f64();
    let latencies_ms = Samples::new(all).context("nothing was answered")?;
    Ok(Outcome { per_s: latencies_ms.count() as f64 / elapsed_s, latencies_ms })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    struct Counting(AtomicU64);

    impl Load for Counting {
        async fn call(&self, worker: usize, sequence: u64) -> anyhow::Result<()> {
            self.0.fetch_add(1, Ordering::Relaxed);
            anyhow::ensure!(worker < 4 && sequence < 100, "asked too often");
            tokio::task::yield_now().await;
            Ok(())
        }
    }

    #[tokio::test]
    async fn every_worker_asks_as_often_as_it_is_told() {
        let load = Arc::new(Counting(AtomicU64::new(0)));
        let outcome = run(load.clone(), 4, Until::Calls(25)).await.unwrap();
        assert_eq!((load.0.load(Ordering::Relaxed), outcome.latencies_ms.count()), (100, 100));
        assert!(outcome.per_s > 0.0);
    }

    #[tokio::test]
    async fn a_failure_is_told() {
        let load = Arc::new(Counting(AtomicU64::new(0)));
        let error = run(load, 4, Until::Calls(1000)).await.unwrap_err();
        assert_eq!(error.to_string(), "asked too often");
    }
}
