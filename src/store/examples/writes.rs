//! What writes of the embedded store cost, measured within this process: nothing but the store and SQLite compile, so
//! a change is measured in a minute. `make bench` compares the same with etcd.
//!
//! `writes FOLDER` measures in FOLDER, which is on the disk that counts: 64 and 1,000 writers, one writer beside
//! fdatasync, and how long 20,000 and 100,000 values take to open. `writes FOLDER NAME...` measures some of `64`,
//! `1000`, `one`, `open`.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use store::embedded::{Embedded, Options};
use store::{Precondition, Store as _};

const VALUE_BYTES: usize = 1024;
const PAGE_BYTES: usize = 4096;
const PAGES: u64 = 256;
/// How long one measurement takes.
const LIMIT: Duration = Duration::from_secs(4);
const ROUNDS: usize = 3;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("the folder to measure in");
    let mut wanted: Vec<String> = arguments.collect();
    if wanted.is_empty() {
        wanted = ["64", "1000", "one", "open"].map(str::to_string).to_vec();
    }
    for name in wanted {
        let folder = tempfile::tempdir_in(&folder).expect("a folder");
        match name.as_str() {
            "one" => one(folder.path()).await,
            "open" => {
                open(folder.path(), 20_000).await;
                open(folder.path(), 100_000).await;
            }
            writers => {
                for round in 0..ROUNDS {
                    let store = at(folder.path(), &format!("{writers}-{round}"));
                    many(store, writers.parse().expect("a number of writers"), Until::Elapsed(LIMIT)).await;
                }
            }
        }
    }
}

fn at(folder: &Path, name: &str) -> Arc<Embedded> {
    Embedded::open(&folder.join(name), Options::default()).expect("the store opens")
}

fn value() -> Bytes {
    (0..VALUE_BYTES).map(|index| (index.wrapping_mul(2_654_435_761) >> 7) as u8).collect()
}

fn key(worker: usize, sequence: u64) -> String {
    format!("/registry/configmaps/bench/{worker:04}-{sequence:08}")
}

#[derive(Clone, Copy)]
enum Until {
    Elapsed(Duration),
    Calls(u64),
}

/// Writers that each wait for their write.
async fn many(store: Arc<Embedded>, writers: usize, until: Until) {
    let (began, used_s, value) = (Instant::now(), cpu_s(), value());
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..writers {
        let (store, value) = (store.clone(), value.clone());
        tasks.spawn(async move {
            let mut took_ms = Vec::new();
            for sequence in 0.. {
                let over = match until {
                    Until::Elapsed(limit) => began.elapsed() >= limit,
                    Until::Calls(limit) => sequence >= limit,
                };
                if over {
                    break;
                }
                let asked = Instant::now();
                let put = store.put(&key(worker, sequence), value.clone(), Precondition::Absent).await;
                put.expect("the key is new");
                took_ms.push(asked.elapsed().as_secs_f64() * 1000.0);
            }
            took_ms
        });
    }
    let mut took_ms: Vec<f64> = tasks.join_all().await.into_iter().flatten().collect();
    let (elapsed_s, used_s, count) = (began.elapsed().as_secs_f64(), cpu_s() - used_s, took_ms.len() as f64);
    took_ms.sort_by(f64::total_cmp);
    println!(
        "{writers} writers: {:.0}/s, {:.0} per CPU-second ({:.2} us each), p50 {:.2} p99 {:.2} ms",
        count / elapsed_s,
        count / used_s,
        used_s * 1e6 / count,
        percentile(&took_ms, 0.5),
        percentile(&took_ms, 0.99)
    );
    close(store).await;
}

/// One writer, in turns with single pages that are made durable.
async fn one(folder: &Path) {
    let file = Arc::new(File::create(folder.join("page")).expect("a file"));
    file.write_all_at(&vec![1; PAGE_BYTES * PAGES as usize], 0).expect("written");
    file.sync_all().expect("synced");
    let (store, value) = (at(folder, "one"), value());
    let (began, mut puts_ms, mut syncs_ms) = (Instant::now(), Vec::new(), Vec::new());
    for sequence in 0.. {
        if began.elapsed() >= LIMIT * 2 {
            break;
        }
        let asked = Instant::now();
        store.put(&key(0, sequence), value.clone(), Precondition::Absent).await.expect("the key is new");
        puts_ms.push(asked.elapsed().as_secs_f64() * 1000.0);
        let (file, at) = (file.clone(), (sequence % PAGES) * PAGE_BYTES as u64);
        let sync = move || {
            let asked = Instant::now();
            file.write_all_at(&[2; PAGE_BYTES], at).and_then(|()| file.sync_data()).expect("synced");
            asked.elapsed().as_secs_f64() * 1000.0
        };
        syncs_ms.push(tokio::task::spawn_blocking(sync).await.expect("runs"));
    }
    puts_ms.sort_by(f64::total_cmp);
    syncs_ms.sort_by(f64::total_cmp);
    let (put_ms, sync_ms) = (percentile(&puts_ms, 0.5), percentile(&syncs_ms, 0.5));
    println!("one writer: p50 {put_ms:.3} ms, one fdatasync {sync_ms:.3} ms: {:.2}", put_ms / sync_ms);
    close(store).await;
}

async fn open(folder: &Path, count: u64) {
    let name = format!("open-{count}");
    many(at(folder, &name), 500, Until::Calls(count / 500)).await;
    for _ in 0..3 {
        let began = Instant::now();
        let store = at(folder, &name);
        println!("open with {count} values: {:.0} ms", began.elapsed().as_secs_f64() * 1000.0);
        close(store).await;
    }
}

async fn close(store: Arc<Embedded>) {
    tokio::task::spawn_blocking(move || store.close()).await.expect("closes");
}

fn percentile(sorted: &[f64], at: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * at) as usize]
}

/// Processor time of this process.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("readable");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    (11..13).map(|at| fields[at].parse::<f64>().expect("ticks")).sum::<f64>() / 100.0
}
