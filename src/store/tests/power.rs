//! Cuts the power of the disk below the store at a random operation, over and over: of what was not synced, each
//! sector may be there or not. And has it refuse what it is asked, a few times or for long, with the power on. Whatever
//! was acknowledged is there afterwards, nothing half-written is, revisions only grow, and the store is never found
//! damaged. A store that was refused something goes on or ends, and serves nothing that could be lost. What goes by
//! itself goes, and what has time left stays.
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

#[path = "power/cases.rs"]
mod cases;
#[path = "power/disk.rs"]
mod disk;
#[path = "power/model.rs"]
mod model;
#[path = "power/vfs.rs"]
mod vfs;

use disk::{Failure, Target};
use model::{Held, Model};

const ROUNDS: u64 = 60;
/// Rounds on one disk before there is a new one.
const ROUNDS_PER_DISK: u64 = 8;
const KEYS_PER_WRITER: usize = 6;
/// Keys that go by themselves within a round begin so.
const GOING: &str = "/going/";
const GOING_AFTER: Duration = Duration::from_millis(5);
/// How long they may take when the store is open. Its clock goes on where it was noted last, which is ten seconds ago at
/// most where somebody writes and a minute where nobody does: on a machine with no time to spare a round can be as long.
const GONE_WITHIN: Duration = Duration::from_secs(120);
/// What others go after that go by themselves.
const LONG_AFTER: Duration = Duration::from_secs(3600);

fn main() {
    vfs::install();
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let (rounds, seed) = (number("STORE_ROUNDS").unwrap_or(ROUNDS), number("STORE_SEED").unwrap_or(1));
    cases::the_disk_keeps_what_is_synced();
    cases::a_sync_that_is_refused_is_not_made_good_by_a_later_one();
    cases::a_checkpoint_that_is_refused_anywhere_loses_nothing();
    cases::a_disk_that_takes_nothing_is_told_until_it_takes_something();
    let (once, again) = (one_disk(seed, 5, Some(1)), one_disk(seed, 5, Some(1)));
    // When a store notices that it has to end is the scheduler's: what it did before is not.
    let told = |outcome: Outcome| Outcome { ended: 0, ..outcome };
    assert_eq!(told(once), told(again), "a seed shows the same each time");
    let mut total = Outcome::default();
    let mut done = 0;
    while done < rounds {
        let count = ROUNDS_PER_DISK.min(rounds - done);
        let outcome = one_disk(seed + done, count, None);
        total.acknowledged += outcome.acknowledged;
        total.surprised += outcome.surprised;
        total.refused_opens += outcome.refused_opens;
        total.refused += outcome.refused;
        total.after_refusals += outcome.after_refusals;
        total.ended += outcome.ended;
        done += count;
    }
    assert!(total.acknowledged > rounds, "hardly anything was written: {total:?}");
    assert!(rounds < ROUNDS || total.after_refusals > 0, "no store went on: {total:?}");
    println!(
        "power cut: {rounds} rounds, {} acknowledged writes, none lost; {} others had landed, {} starts were cut short; \
         {} operations were refused, {} writes acknowledged after that, {} stores ended",
        total.acknowledged, total.surprised, total.refused_opens, total.refused, total.after_refusals, total.ended
    );
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    acknowledged: u64,
    /// Writes that were durable although nobody was told.
    surprised: u64,
    refused_opens: u64,
    /// Operations of the disk.
    refused: u64,
    /// Writes that were acknowledged after others had been refused, with the same store.
    after_refusals: u64,
    /// Stores that ended by themselves.
    ended: u64,
    fingerprint: u64,
}

fn one_disk(seed: u64, rounds: u64, writers: Option<usize>) -> Outcome {
    vfs::replace(seed);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("state.db");
    let mut model = Model::new();
    let mut outcome = Outcome::default();
    let mut rng = StdRng::seed_from_u64(seed);
    // Leases are moments, which differ from one time to the next.
    let leases = writers.is_none();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for round in 0..rounds {
        let at = format!("STORE_SEED={seed} STORE_ROUNDS={rounds}, round {round}");
        let writers = writers.unwrap_or_else(|| [1, 4, 16][rng.random_range(0..3)]);
        let operations = many(&mut rng);
        if rng.random_bool(0.3) {
            vfs::with(|disk| disk.cut_after(operations.min(20)));
        }
        let refuses = rng.random_bool(0.6);
        if refuses {
            refuse_some(&mut rng);
        }
        match Embedded::open(&path, small()) {
            Ok(store) => {
                let running = vfs::with(|disk| disk.operations);
                // A disk that refuses may keep its power.
                if vfs::with(|disk| !disk.is_off()) && !(refuses && rng.random_bool(0.5)) {
                    vfs::with(|disk| disk.cut_after(operations));
                }
                model = runtime.block_on(write_until_off(&store, model, writers, rng.random(), leases));
                let ended = async { tokio::time::timeout(Duration::ZERO, store.ended()).await.is_ok() };
                outcome.ended += u64::from(runtime.block_on(ended));
                drop(store);
                assert!(vfs::with(|disk| disk.operations) >= running);
            }
            Err(Error::Backend { .. }) if refuses || vfs::with(|disk| disk.is_off()) => outcome.refused_opens += 1,
            Err(error) => panic!("{at}: {}", stdx::error::chain(&error)),
        }
        if refuses && vfs::with(|disk| !disk.is_off()) && rng.random_bool(0.7) {
            // The process is started again, and what it finds is not yet on the disk. The power goes after it has
            // served that.
            vfs::with(disk::Disk::obey);
            outcome.surprised += runtime.block_on(check(&path, &mut model, &format!("{at}, started again"), true));
        }
        vfs::with(|disk| disk.power_back(&mut rng));
        outcome.surprised += runtime.block_on(check(&path, &mut model, &at, false));
    }
    outcome.acknowledged = model.count;
    outcome.after_refusals = model.after_refusals;
    outcome.refused = vfs::with(|disk| disk.refused);
    outcome.fingerprint = vfs::with(|disk| disk.fingerprint());
    outcome
}

/// From a few operations to many, all orders of magnitude alike; sometimes within the start.
fn many(rng: &mut StdRng) -> u64 {
    2f64.powf(rng.random_range(0.0..11.0)) as u64 + 1
}

/// Has the disk refuse something from some time on, once, a few times, or until it is told otherwise.
fn refuse_some(rng: &mut StdRng) {
    let target = [Target::Everything, Target::Log, Target::Rest, Target::Syncs][rng.random_range(0..4)];
    let why = [Failure::Refused, Failure::Full][rng.random_range(0..2)];
    // Other files than the log are written to once in a while only.
    let after = if target == Target::Rest { rng.random_range(0..20) } else { many(rng) };
    let count = [1, 2, 10, u64::MAX][rng.random_range(0..4)];
    let seed = rng.random();
    vfs::with(|disk| disk.refuse(target, why, after, count, seed));
}

/// A small ring, so that compaction is at work too, and a log that is put in its place often.
fn small() -> Options {
    Options { ring_events: 200, log_bytes: 512 << 10, ..Options::default() }
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
                if leases && rng.random_bool(0.1) && !goes_on(&write_going(&store, writer, &mut rng).await) {
                    return;
                }
                let goes = leases && rng.random_bool(0.3);
                if !goes_on(&write(&store, &model, key, goes, &mut rng).await) {
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
    let begun = model.lock().expect("sound").begin(key.clone(), current.as_ref(), attempt);
    let precondition =
        current.as_ref().map_or(Precondition::Absent, |entry| Precondition::Revision(entry.mod_revision));
    let done = match (value, &current) {
        (Some(value), _) => {
            let put = store.put_with_ttl(&key, value, precondition, goes.then_some(LONG_AFTER)).await;
            put.map(|entry| entry.mod_revision)
        }
        (None, Some(entry)) => store.delete(&key, entry.mod_revision).await,
        (None, None) => return Ok(()),
    };
    let mut model = model.lock().expect("sound");
    match done {
        Ok(revision) => model.acknowledge(begun, revision),
        Err(error) => {
            assert!(matches!(error, Error::Backend { .. } | Error::Closed), "{error}");
            model.refuse(&begun);
            return Err(error);
        }
    }
    Ok(())
}

/// Whether a writer goes on after what it was answered: what is refused while the power is on may be taken later.
fn goes_on(answer: &Result<(), Error>) -> bool {
    match answer {
        Ok(()) => true,
        Err(Error::Backend { .. }) => vfs::with(|disk| !disk.is_off()),
        Err(_) => false,
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

/// Opens what is left and compares it with what is known; answers how many unanswered writes had happened. With `cut`
/// the power goes when all was looked at, so that the store cannot make it durable when it is closed.
async fn check(path: &Path, model: &mut Model, at: &str, cut: bool) -> u64 {
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
    let surprised = model.settle(&found);
    for (key, held) in &model.acknowledged {
        let entry = found.remove(&**key);
        assert_eq!(
            entry.map(|entry| shown(&entry.value)),
            held.value.as_deref().map(shown),
            "{at}: {key} is not what was acknowledged"
        );
        if let (Some(entry), Some(revision)) = (entry, held.revision) {
            assert_eq!((entry.mod_revision, entry.lease.is_some()), (revision, held.goes), "{at}: {key}");
        }
    }
    assert!(found.is_empty(), "{at}: nobody wrote {:?}", found.keys());
    events_lead_here(&store, &list, at).await;
    model.newest = list.revision;
    if cut {
        vfs::with(|disk| disk.cut_after(0));
        store.close();
        return surprised;
    }
    store.close();
    let report = embedded::check(path).expect("readable");
    assert_eq!(report.wrong, [] as [String; 0], "{at}");
    assert_eq!(report.revision, list.revision, "{at}");
    surprised
}

/// A value in few words.
fn shown(value: &[u8]) -> (usize, &[u8]) {
    (value.len(), &value[..value.len().min(8)])
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
