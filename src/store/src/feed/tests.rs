use bytes::Bytes;

use super::*;

fn bounds(watch_queue: usize) -> FeedBounds {
    FeedBounds { ring_events: 100, ring_bytes: 1 << 20, watch_queue, progress_every: Duration::from_secs(60) }
}

fn gone(key: &str, revision: u64) -> Arc<Event> {
    let entry = Entry { key: key.into(), value: Bytes::new(), create_revision: 2, mod_revision: 2, lease: None };
    Arc::new(Event { revision, current: None, previous: Some(Arc::new(entry)) })
}

#[tokio::test]
async fn what_goes_in_one_revision_is_seen_whole_or_not_at_all() {
    let mut feed = Feed::new(bounds(3), 2);
    let mut all = feed.watch("/", None).expect("a watch");
    let mut some = feed.watch("/b/", None).expect("a watch");
    feed.publish(vec![gone("/a/1", 3)], 3, Instant::now());
    // There is room for two more, and three come at once.
    let together = ["/a/2", "/b/1", "/b/2"].map(|key| gone(key, 4)).to_vec();
    feed.publish(together, 4, Instant::now());
    assert!(matches!(all.next().await, Ok(WatchItem::Event(event)) if event.revision == 3));
    assert!(matches!(all.next().await, Err(Error::Slow)));
    for key in ["/b/1", "/b/2"] {
        let item = some.next().await.expect("the watch goes on");
        assert!(matches!(item, WatchItem::Event(event) if event.revision == 4 && key_of(&event) == Some(key)));
    }
    assert!(matches!(some.next().await, Ok(WatchItem::Progress(4))));
    let mut resumed = feed.watch("/", Some(3)).expect("a watch");
    for key in ["/a/2", "/b/1", "/b/2"] {
        let item = resumed.next().await.expect("the watch goes on");
        assert!(matches!(item, WatchItem::Event(event) if key_of(&event) == Some(key)));
    }
}
