use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::*;

/// Work of so long, again and again.
async fn flood(pieces: Arc<AtomicUsize>) {
    loop {
        let began = Instant::now();
        while began.elapsed() < Duration::from_micros(200) {
            std::hint::spin_loop();
        }
        pieces.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
    }
}

fn flow(processor: &Processor, last: u8) -> Arc<Account> {
    processor.account(IpAddr::from([192, 0, 2, last]))
}

#[tokio::test]
async fn one_that_asks_for_little_overtakes_a_flood() {
    let processor = Processor::new(1);
    let pieces = Arc::new(AtomicUsize::new(0));
    let mut floods = tokio::task::JoinSet::new();
    for _ in 0..100 {
        floods.spawn(processor.share(flow(&processor, 1), flood(pieces.clone())));
    }
    let (asks, mut asked) = tokio::sync::mpsc::channel(1);
    let answering = pieces.clone();
    let answers = async move {
        let mut waited = Vec::new();
        while let Some(at) = asked.recv().await {
            waited.push(answering.load(Ordering::Relaxed) - at);
        }
        waited
    };
    let light = tokio::spawn(processor.share(flow(&processor, 2), answers));
    for round in 1..=50 {
        while pieces.load(Ordering::Relaxed) < round * 20 {
            tokio::task::yield_now().await;
        }
        asks.send(pieces.load(Ordering::Relaxed)).await.expect("somebody answers");
    }
    drop(asks);
    let mut waited = light.await.expect("it answers");
    waited.sort_unstable();
    // In the order of the runtime's queue each would wait for one piece of a hundred tasks.
    assert!(waited[45] <= 10, "pieces that were waited for: {waited:?}");
}

#[tokio::test]
async fn long_work_makes_a_pause_and_others_of_the_process_too() {
    let processor = Processor::new(1);
    let seen = Arc::new(AtomicUsize::new(0));
    let looking = seen.clone();
    let long = processor.share(flow(&processor, 1), async move {
        let before = looking.load(Ordering::Relaxed);
        pause().await;
        assert_eq!(looking.load(Ordering::Relaxed), before, "it has hardly worked");
        std::thread::sleep(QUANTUM * 2);
        pause().await;
        looking.load(Ordering::Relaxed) - before
    });
    let other = tokio::spawn(async move {
        loop {
            seen.fetch_add(1, Ordering::Relaxed);
            pause().await;
        }
    });
    let long = tokio::spawn(long);
    assert!(long.await.expect("it ends") > 0);
    other.abort();
}

#[tokio::test]
async fn whoever_is_dropped_or_panics_leaves_its_place_to_others() {
    let processor = Processor::new(1);
    let pieces = Arc::new(AtomicUsize::new(0));
    let floods: Vec<_> = (0..20)
        .map(|at| {
            let work = flood(pieces.clone());
            let broken = async move {
                for _ in 0..at {
                    tokio::task::yield_now().await;
                }
                std::thread::sleep(QUANTUM * 2);
                tokio::task::yield_now().await;
                std::panic::resume_unwind(Box::new("broken"));
            };
            (
                tokio::spawn(processor.share(flow(&processor, 1), work)),
                tokio::spawn(processor.share(flow(&processor, 1), broken)),
            )
        })
        .collect();
    for (flood, broken) in floods {
        assert!(broken.await.is_err_and(|error| error.is_panic()));
        flood.abort();
        assert!(flood.await.is_err_and(|error| error.is_cancelled()));
    }
    let after = processor.share(flow(&processor, 1), async { 7 });
    assert_eq!(tokio::spawn(after).await.expect("it works"), 7);
    let inner = processor.lock();
    assert!(inner.let_in == 0 && !inner.tags.has_waiting());
}

#[tokio::test]
async fn a_request_is_paid_for_by_its_flow_and_exempt_ones_by_nobody() {
    let processor = Processor::new(1);
    let account = flow(&processor, 1);
    let stream = account.of_stream();
    processor.share(stream.clone(), async { charge(Some(7)) }).await;
    assert_eq!((stream.flow(), account.flow()), (7, 7));
    processor.share(account.clone(), async { charge(None) }).await;
    assert!(account.is_exempt() && !stream.is_exempt());
    // Outside of connections there is nobody to pay.
    charge(Some(8));
    assert_eq!(account.flow(), 7);
}
