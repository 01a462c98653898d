//! Cuts the power of the disk below the store at a random operation, over and over: of what was not synced, each
//! sector may be there or not. Whatever was acknowledged is there afterwards, nothing half-written is, revisions only
//! grow, and the store is never found damaged. What goes by itself goes, and what has time left stays.
//!
//! `STORE_ROUNDS` says how often, `STORE_SEED` where to begin: a failure names the seed that shows it again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use store::embedded::{self, Embedded, Options};
use store::{Entry, Error, Precondition, RangeOptions, Store, WatchItem};

#[path = "power/disk.rs"]
mod disk;
#[path = "power/vfs.rs"]
mod vfs;

const ROUNDS: u64 = 60;
/// Rounds on one disk before there is a new one.
const ROUNDS_PER_DISK: u64 = 8;
const KEYS_PER_WRITER: usize = 6;
/// Keys that go by themselves within a round begin so.
const GOING: &str = "/going/";
const GOING_AFTER: Duration = Duration::from_millis(5);
/// How long they may take when the store is open.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// What others go after that go by themselves.
const LONG_AFTER: Duration = Duration::from_secs(3600);

fn main() {
    vfs::install();
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let (rounds, seed) = (number("STORE_ROUNDS").unwrap_or(ROUNDS), number("STORE_SEED").unwrap_or(1));
    the_disk_keeps_what_is_synced();
    let (once, again) = (one_disk(seed, 5, Some(1)), one_disk(seed, 5, Some(1)));
    assert_eq!(once, again, "a seed shows the same each time");
    let mut total = Outcome::default();
    let mut done = 0;
    while done < rounds {
        let count = ROUNDS_PER_DISK.min(rounds - done);
        let outcome = one_disk(seed + done, count, None);
        total.acknowledged += outcome.acknowledged;
        total.surprised += outcome.surprised;
        total.refused_opens += outcome.refused_opens;
        done += count;
    }
    assert!(total.acknowledged > rounds, "hardly anything was written: {total:?}");
    println!(
        "power cut: {rounds} rounds, {} acknowledged writes, none lost; {} others had landed, {} starts were cut short",
        total.acknowledged, total.surprised, total.refused_opens
    );
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    acknowledged: u64,
    /// Writes that were durable although nobody was told.
    surprised: u64,
    refused_opens: u64,
    fingerprint: u64,
}

/// What a key holds, or would hold: the value and, where it is known, the revision.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    value: Option<Bytes>,
    goes: bool,
    revision: Option<u64>,
}

/// What is known of the keys.
#[derive(Debug, Default)]
struct Model {
    acknowledged: BTreeMap<String, Held>,
    /// Begun and not answered.
    attempted: BTreeMap<String, Held>,
    newest: u64,
    count: u64,
}

fn one_disk(seed: u64, rounds: u64, writers: Option<usize>) -> Outcome {
    vfs::replace(seed);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("state.db");
    let mut model = Model { newest: 1, ..Model::default() };
    let mut outcome = Outcome::default();
    let mut rng = StdRng::seed_from_u64(seed);
    // Leases are moments, which differ from one time to the next.
    let leases = writers.is_none();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for round in 0..rounds {
        let at = format!("STORE_SEED={seed} STORE_ROUNDS={rounds}, round {round}");
        let writers = writers.unwrap_or_else(|| [1, 4, 16][rng.random_range(0..3)]);
        // From a few operations to many, all orders of magnitude alike; sometimes within the start.
        let operations = 2f64.powf(rng.random_range(0.0..11.0)) as u64 + 1;
        if rng.random_bool(0.3) {
            vfs::with(|disk| disk.cut_after(operations.min(20)));
        }
        match Embedded::open(&path, small()) {
            Ok(store) => {
                let running = vfs::with(|disk| disk.operations);
                if vfs::with(|disk| !disk.is_off()) {
                    vfs::with(|disk| disk.cut_after(operations));
                }
                model = runtime.block_on(write_until_off(&store, model, writers, rng.random(), leases));
                drop(store);
                assert!(vfs::with(|disk| disk.operations) >= running);
            }
            Err(Error::Backend { .. }) if vfs::with(|disk| disk.is_off()) => outcome.refused_opens += 1,
            Err(error) => panic!("{at}: {}", stdx::error::chain(&error)),
        }
        vfs::with(|disk| disk.power_back(&mut rng));
        outcome.surprised += runtime.block_on(check(&path, &mut model, &at));
    }
    outcome.acknowledged = model.count;
    outcome.fingerprint = vfs::with(|disk| disk.fingerprint());
    outcome
}

/// A small ring, so that compaction is at work too.
fn small() -> Options {
    Options { ring_events: 200, ..Options::default() }
}

/// Every writer has keys of its own and writes until the power goes, or until it has done enough.
async fn write_until_off(store: &Arc<Embedded>, model: Model, writers: usize, seed: u64, leases: bool) -> Model {
    let model = Arc::new(Mutex::new(model));
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let (store, model) = (store.clone(), model.clone());
        tasks.spawn(async move {
            let mut rng = StdRng::seed_from_u64(seed.wrapping_add(writer as u64));
            for _ in 0..400 {
                let key = format!("/{writer}/{}", rng.random_range(0..KEYS_PER_WRITER));
                if leases && rng.random_bool(0.1) && write_going(&store, writer, &mut rng).await.is_err() {
                    return;
                }
                let goes = leases && rng.random_bool(0.3);
                if write(&store, &model, key, goes, &mut rng).await.is_err() {
                    return;
                }
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.expect("a writer");
    }
    Arc::into_inner(model).expect("every writer has ended").into_inner().expect("no writer panicked")
}

/// Writes a value that may be gone when the power is back, or not.
async fn write_going(store: &Embedded, writer: usize, rng: &mut StdRng) -> Result<(), Error> {
    let key = format!("{GOING}{writer}/{}", rng.random_range(0..KEYS_PER_WRITER));
    let current = store.get(&key).await?;
    let precondition = current.map_or(Precondition::Absent, |entry| Precondition::Revision(entry.mod_revision));
    match store.put_with_ttl(&key, value(rng), precondition, Some(GOING_AFTER)).await {
        Ok(_) | Err(Error::Conflict { current: None }) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn write(store: &Embedded, model: &Mutex<Model>, key: String, goes: bool, rng: &mut StdRng) -> Result<(), Error> {
    let current = store.get(&key).await?;
    let value = (current.is_none() || rng.random_bool(0.8)).then(|| value(rng));
    let goes = goes && value.is_some();
    let attempt = Held { value: value.clone(), goes, revision: None };
    model.lock().expect("sound").attempted.insert(key.clone(), attempt);
    let precondition =
        current.as_ref().map_or(Precondition::Absent, |entry| Precondition::Revision(entry.mod_revision));
    let done = match (&value, &current) {
        (Some(value), _) => {
            let put = store.put_with_ttl(&key, value.clone(), precondition, goes.then_some(LONG_AFTER)).await;
            put.map(|entry| entry.mod_revision)
        }
        (None, Some(entry)) => store.delete(&key, entry.mod_revision).await,
        (None, None) => return Ok(()),
    };
    let mut model = model.lock().expect("sound");
    match done {
        Ok(revision) => {
            assert!(revision > model.newest || model.acknowledged.values().all(|held| held.revision != Some(revision)));
            model.attempted.remove(&key);
            model.acknowledged.insert(key, Held { value, goes, revision: Some(revision) });
            model.newest = model.newest.max(revision);
            model.count += 1;
            Ok(())
        }
        Err(error) => {
            assert!(matches!(error, Error::Backend { .. } | Error::Closed), "{error}");
            Err(error)
        }
    }
}

/// Mostly small, sometimes over several pages, now and then large enough to bring a checkpoint near.
fn value(rng: &mut StdRng) -> Bytes {
    let size = match rng.random_range(0..20) {
        0 => rng.random_range(50_000..400_000),
        1..4 => rng.random_range(2_000..20_000),
        _ => rng.random_range(0..1_500),
    };
    let mut bytes = vec![0; size];
    rng.fill(&mut bytes[..]);
    bytes.into()
}

/// Opens what is left and compares it with what is known; answers how many unanswered writes had happened.
async fn check(path: &Path, model: &mut Model, at: &str) -> u64 {
    let store = match Embedded::open(path, small()) {
        Ok(store) => store,
        Err(error) => panic!("{at}: {}", stdx::error::chain(&error)),
    };
    let began = Instant::now();
    while store.count(GOING).await.expect("a count") > 0 {
        assert!(began.elapsed() < GONE_WITHIN, "{at}: values do not go");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let list = store.range("", RangeOptions::default()).await.expect("a list");
    assert!(list.revision >= model.newest, "{at}: acknowledged {}, found {}", model.newest, list.revision);
    let mut found: BTreeMap<&str, &Entry> = list.entries.iter().map(|entry| (&*entry.key, entry)).collect();
    let mut surprised = 0;
    for (key, attempt) in std::mem::take(&mut model.attempted) {
        let before = model.acknowledged.get(&key);
        let entry = found.get(&*key);
        let landed = match (&attempt.value, entry) {
            (Some(value), Some(entry)) => entry.value == *value,
            (None, None) => true,
            _ => false,
        };
        let unchanged = before.is_some_and(|before| before.value.is_none()) || before.is_none();
        if landed && !(attempt.value.is_none() && unchanged) {
            surprised += 1;
            let revision = entry.map(|entry| entry.mod_revision);
            assert!(revision.is_none_or(|revision| revision <= list.revision), "{at}");
            model.acknowledged.insert(key, Held { revision, ..attempt });
        }
    }
    for (key, held) in &model.acknowledged {
        let entry = found.remove(&**key);
        assert_eq!(entry.map(|entry| &entry.value), held.value.as_ref(), "{at}: {key} is not what was acknowledged");
        if let (Some(entry), Some(revision)) = (entry, held.revision) {
            assert_eq!((entry.mod_revision, entry.lease.is_some()), (revision, held.goes), "{at}: {key}");
        }
    }
    assert!(found.is_empty(), "{at}: nobody wrote {:?}", found.keys());
    events_lead_here(&store, &list, at).await;
    model.newest = list.revision;
    store.close();
    let report = embedded::check(path).expect("readable");
    assert_eq!(report.wrong, [] as [String; 0], "{at}");
    assert_eq!(report.revision, list.revision, "{at}");
    surprised
}

/// The events that are kept have no gap, and lead from the oldest state to the newest.
async fn events_lead_here(store: &Embedded, list: &store::Range, at: &str) {
    let mut low = 1.max(list.revision.saturating_sub(200));
    let mut watch = loop {
        match store.watch("", Some(low)).await {
            Ok(watch) => break watch,
            Err(Error::Compacted { oldest, .. }) => low = oldest,
            Err(error) => panic!("{at}: {error}"),
        }
    };
    let before = RangeOptions { at_revision: Some(low), ..Default::default() };
    let before = store.range("", before).await.expect("the oldest state");
    let mut state: BTreeMap<Arc<str>, Entry> =
        before.entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
    loop {
        match watch.next().await.expect("the watch goes on") {
            WatchItem::Progress(revision) if revision == list.revision => break,
            WatchItem::Progress(_) => {}
            WatchItem::Event(event) => {
                low += 1;
                assert_eq!(event.revision, low, "{at}: a gap in the events");
                match (&event.current, &event.previous) {
                    (Some(entry), _) => drop(state.insert(entry.key.clone(), Entry::clone(entry))),
                    (None, Some(entry)) => drop(state.remove(&entry.key)),
                    (None, None) => panic!("{at}: an event of nothing"),
                }
            }
        }
    }
    assert_eq!(low, list.revision, "{at}");
    assert!(state.into_values().eq(list.entries.iter().cloned()), "{at}: the events lead elsewhere");
}

/// The disk itself: synced bytes stay, sectors of others land or not.
fn the_disk_keeps_what_is_synced() {
    let mut halves = 0;
    for seed in 0..50 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut disk = disk::Disk::default();
        disk.create("a").expect("on");
        disk.write("a", 0, &[1; 2048]).expect("on");
        disk.sync("a").expect("on");
        disk.write("a", 512, &[2; 1024]).expect("on");
        disk.cut_after(1);
        assert_eq!(disk.sync("a"), Err(disk::Off));
        assert_eq!(disk.write("a", 0, &[3; 10]), Err(disk::Off));
        disk.power_back(&mut rng);
        let mut bytes = [0; 2048];
        assert_eq!(disk.read("a", 0, &mut bytes), Ok(2048));
        assert!(bytes[..512].iter().chain(&bytes[1536..]).all(|byte| *byte == 1));
        let sectors: Vec<&[u8]> = bytes[512..1536].chunks(512).collect();
        assert!(sectors.iter().all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        halves += usize::from(sectors[0][0] != sectors[1][0]);
    }
    assert!(halves > 0, "no write was torn");
}
