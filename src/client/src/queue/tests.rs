use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[derive(Debug, thiserror::Error)]
#[error("failed")]
struct Failed;

#[tokio::test]
async fn a_key_added_many_times_is_worked_on_once_and_never_twice_at_a_time() {
    let queue = WorkQueue::new("test");
    for _ in 0..10 {
        queue.add("a");
    }
    let calls = Arc::new(AtomicUsize::new(0));
    let at_once = Arc::new(AtomicUsize::new(0));
    let runner = {
        let (queue, calls, at_once) = (queue.clone(), calls.clone(), at_once.clone());
        tokio::spawn(async move {
            let shut = queue.clone();
            queue
                .run(4, move |key| {
                    let (shut, calls, at_once) = (shut.clone(), calls.clone(), at_once.clone());
                    async move {
                        assert_eq!(at_once.fetch_add(1, Ordering::SeqCst), 0);
                        let call = calls.fetch_add(1, Ordering::SeqCst);
                        if call == 0 {
                            // Added while worked on: comes again, once.
                            shut.add(key);
                            shut.add(key);
                        }
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        at_once.fetch_sub(1, Ordering::SeqCst);
                        Ok::<_, Failed>(Outcome::Done)
                    }
                })
                .await;
        })
    };
    let started = Instant::now();
    while calls.load(Ordering::SeqCst) < 2 || at_once.load(Ordering::SeqCst) > 0 {
        assert!(started.elapsed() < Duration::from_secs(30), "the key did not come again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    queue.shut_down();
    runner.await.unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn failures_come_back_later_and_later_and_a_panic_is_a_failure() {
    let queue = WorkQueue::with_retry("test", Duration::from_millis(20), Duration::from_millis(80));
    queue.add(());
    let times = Arc::new(Mutex::new(Vec::new()));
    let (shut, seen) = (queue.clone(), times.clone());
    queue
        .run(1, move |()| {
            let (shut, seen) = (shut.clone(), seen.clone());
            async move {
                let count = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(Instant::now());
                    seen.len()
                };
                match count {
                    2 => panic!("on purpose"),
                    6 => shut.shut_down(),
                    _ => {}
                }
                Err::<Outcome, _>(Failed)
            }
        })
        .await;
    let times = times.lock().unwrap();
    let pauses: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, least_ms) in pauses.iter().zip([20, 40, 80, 80, 80]) {
        assert!(*pause >= Duration::from_millis(least_ms), "{pauses:?}");
    }
    assert_eq!(pauses.len(), 5);
}

#[tokio::test]
async fn delayed_keys_come_at_the_earliest_time_asked_for() {
    let queue = WorkQueue::new("test");
    queue.add_after("a", Duration::from_secs(600));
    queue.add_after("a", Duration::from_millis(20));
    queue.add_after("a", Duration::from_secs(600));
    queue.add_after("b", Duration::from_millis(60));
    let shutdown = CancellationToken::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (log, stop) = (seen.clone(), shutdown.clone());
    queue
        .run_until(&shutdown, 3, move |key| {
            let count = {
                let mut log = log.lock().unwrap();
                log.push(key);
                log.len()
            };
            if count == 3 {
                stop.cancel();
            }
            let outcome = if key == "b" { Outcome::After(Duration::from_millis(20)) } else { Outcome::Done };
            async move { Ok::<_, Failed>(outcome) }
        })
        .await;
    assert_eq!(*seen.lock().unwrap(), ["a", "b", "b"]);
}
