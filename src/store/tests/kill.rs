//! Kills the process that holds the store, at random moments and over and over: whatever it had acknowledged is
//! there afterwards, nothing half-written is, and revisions only grow. What goes by itself is there until its time is
//! over, and gone soon after. `STORE_ROUNDS` says how often.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::Rng;
use store::embedded::{Embedded, Options};
use store::{Error, Precondition, Store};

const ROUNDS: usize = 25;
const WRITERS: usize = 6;
/// Keys of one writer; small, so that keys are changed and deleted again and again.
const KEYS: usize = 5;
/// Keys that go by themselves begin so, and live so long: some do while the process lives, some after it.
const GOING: &str = "/going/";
const TTL: Duration = Duration::from_millis(60);
/// Values that go by themselves long after all this begin so.
const LONG: &str = "long-";
const LONG_TTL: Duration = Duration::from_secs(3600);
/// How long they may take when the store is open. Its clock goes on where it was noted last, which is ten seconds ago at
/// most where somebody writes and a minute where nobody does: on a machine with no time to spare a round can be as long.
const GONE_WITHIN: Duration = Duration::from_secs(120);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, path] = arguments.as_slice()
        && role == "child"
    {
        runtime().block_on(write_for_ever(Path::new(path)));
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary folder");
    let path = directory.path().join("state.db");
    let mut acknowledged = 0;
    let mut newest = 0;
    let rounds = std::env::var("STORE_ROUNDS").map_or(ROUNDS, |text| text.parse().expect("a number"));
    for round in 0..rounds {
        let acks = run_and_kill(&path);
        acknowledged += acks.len();
        newest = check(&path, &acks, newest, round);
    }
    assert!(acknowledged > rounds, "the child hardly wrote: {acknowledged} acknowledgements");
    println!("kill -9: {rounds} rounds, {acknowledged} acknowledged writes, none lost, revision {newest}");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// A write that the child was told is durable.
struct Ack {
    key: String,
    revision: u64,
    /// `None` for a deletion.
    value: Option<String>,
}

/// Runs the child for a random while, kills it, and answers its acknowledgements.
fn run_and_kill(path: &Path) -> Vec<Ack> {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .arg("child")
        .arg(path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let output = child.stdout.take().expect("is piped");
    let lifetime = Duration::from_millis(rand::rng().random_range(15..250));
    let reader = std::thread::spawn(move || {
        let mut acks = Vec::new();
        for line in BufReader::new(output).split(b'\n') {
            let line = String::from_utf8(line.expect("readable")).expect("text");
            let parts: Vec<&str> = line.split(' ').collect();
            // The last line may be cut short by the kill; whole ones end in a full stop.
            assert_ne!(parts[0], "early", "a value went before its time was over: {parts:?}");
            if let [key, revision, value, "."] = parts.as_slice() {
                let value = (*value != "deleted").then(|| value.to_string());
                acks.push(Ack { key: key.to_string(), revision: revision.parse().expect("a number"), value });
            }
        }
        acks
    });
    let end = Instant::now() + lifetime;
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().expect("SIGKILL");
    child.wait().expect("is gone");
    reader.join().expect("the reader")
}

fn check(path: &Path, acks: &[Ack], before: u64, round: usize) -> u64 {
    let store = Embedded::open(path, Options::default()).expect("opens after a kill");
    runtime().block_on(async {
        let began = Instant::now();
        while store.count(GOING).await.expect("a count") > 0 {
            assert!(began.elapsed() < GONE_WITHIN, "round {round}: values do not go");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let revision = store.revision().await.expect("a revision");
        assert!(revision >= before, "round {round}: revision fell from {before} to {revision}");
        let mut last: HashMap<&str, &Ack> = HashMap::new();
        for ack in acks {
            let at = ack.revision;
            assert!(at > before && at <= revision, "round {round}: acknowledged {at}, found {revision}");
            let earlier = last.insert(&ack.key, ack);
            assert!(earlier.is_none_or(|earlier| earlier.revision < at), "round {round}: revisions must grow");
        }
        for (key, Ack { revision: at, value, .. }) in last {
            let found = store.get(key).await.expect("read");
            match (found, value) {
                (Some(entry), Some(value)) if entry.mod_revision == *at => {
                    assert_eq!(entry.value, value.as_bytes());
                    assert_eq!(entry.lease.is_some(), value.starts_with(LONG), "round {round}: {key}");
                }
                // A later write may be durable although nobody read its acknowledgement.
                (Some(entry), _) => assert!(entry.mod_revision > *at, "round {round}: {key} at {at} is lost"),
                // What goes by itself has gone by a change of its own.
                (None, Some(_)) => assert!(revision > *at, "round {round}: {key} at {at} is lost"),
                (None, None) => {}
            }
        }
        store.close();
        revision
    })
}

/// Each writer owns its keys, so it knows what is there; no value is written twice.
async fn write_for_ever(path: &Path) {
    let store = Embedded::open(path, Options::default()).expect("opens");
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            let mut going = HashMap::new();
            for step in 0.. {
                if step % 5 == 4 {
                    let key = format!("{GOING}{writer}/{}", step / 5 % KEYS);
                    write_going(&store, key, &mut going).await;
                }
                let key = format!("/{writer}/{}", step % KEYS);
                let current = store.get(&key).await.expect("read");
                let line = match current {
                    Some(entry) if step % 7 == 3 => {
                        store.delete(&key, entry.mod_revision).await.map(|at| format!("{key} {at} deleted .\n"))
                    }
                    current => {
                        let ttl = (step % 3 == 0).then_some(LONG_TTL);
                        let value = format!("{}{:x}", if ttl.is_some() { LONG } else { "" }, rand::random::<u128>());
                        let precondition =
                            current.map_or(Precondition::Absent, |entry| Precondition::Revision(entry.mod_revision));
                        let put = store.put_with_ttl(&key, Bytes::from(value.clone()), precondition, ttl).await;
                        put.map(|entry| format!("{key} {} {value} .\n", entry.mod_revision))
                    }
                };
                match line {
                    Ok(line) => std::io::stdout().write_all(line.as_bytes()).expect("the parent reads"),
                    Err(error) => panic!("{}", stdx::error::chain(&error)),
                }
            }
        });
    }
    writers.join_next().await;
}

/// Writes a value that goes by itself, and says so where the one that this process wrote before it went early.
async fn write_going(store: &Embedded, key: String, written: &mut HashMap<String, Instant>) {
    let current = store.get(&key).await.expect("read");
    let mut line = String::new();
    if let (None, Some(at)) = (&current, written.get(&key))
        && at.elapsed() < TTL
    {
        line = format!("early {key}\n");
    }
    let at = Instant::now();
    let value = format!("{:x}", rand::random::<u128>());
    let precondition = current.map_or(Precondition::Absent, |entry| Precondition::Revision(entry.mod_revision));
    match store.put_with_ttl(&key, Bytes::from(value.clone()), precondition, Some(TTL)).await {
        Ok(entry) => {
            line += &format!("{key} {} {value} .\n", entry.mod_revision);
            written.insert(key, at);
        }
        // It has gone meanwhile.
        Err(Error::Conflict { current: None }) => drop(written.remove(&key)),
        Err(error) => panic!("{}", stdx::error::chain(&error)),
    }
    std::io::stdout().write_all(line.as_bytes()).expect("the parent reads");
}
