//! Concurrent histories of registers and lists on both stores, under faults, checked against a model; and watches
//! under the same faults, checked for gaps, duplicates and order.
//!
//! `STORE_ROUNDS` says how many histories of each store, `STORE_SEED` where to begin.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use store::Store;
use store::embedded::{Embedded, Options};
use tokio::sync::RwLock;
use tokio::task::JoinSet;

#[path = "linear/check.rs"]
mod check;
#[path = "linear/clients.rs"]
mod clients;
#[allow(dead_code, reason = "the power cuts use all of it")]
#[path = "power/disk.rs"]
mod disk;
#[allow(dead_code, reason = "the suite uses all of it")]
#[path = "suite/member.rs"]
mod member;
#[path = "suite/proxy.rs"]
mod proxy;
#[path = "linear/tests.rs"]
mod tests;
#[path = "power/vfs.rs"]
mod vfs;

use clients::{Notes, Server};

const ROUNDS: u64 = 2;
const CALLERS: usize = 8;
const CALLS: usize = 200;

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let first = number("STORE_SEED").unwrap_or(1);
    first..first + number("STORE_ROUNDS").unwrap_or(ROUNDS)
}

/// Callers and watchers of some servers.
struct Run {
    notes: Arc<Notes>,
    first: u64,
    callers: JoinSet<()>,
    watchers: JoinSet<Result<Vec<check::Change>, String>>,
}

impl Run {
    async fn start(servers: &[Server], seed: u64) -> Self {
        let notes = Arc::new(Notes::default());
        let first = servers[0].read().await.as_ref().expect("runs").revision().await.expect("a revision");
        let (mut callers, mut watchers) = (JoinSet::new(), JoinSet::new());
        for caller in 0..CALLERS {
            let server = servers[caller % servers.len()].clone();
            callers.spawn(clients::call(server, notes.clone(), seed * 1000 + caller as u64, CALLS));
        }
        for server in servers {
            watchers.spawn(clients::watch(server.clone(), notes.clone(), first));
        }
        Self { notes, first, callers, watchers }
    }

    fn goes_on(&mut self) -> bool {
        while self.callers.try_join_next().is_some() {}
        !self.callers.is_empty()
    }

    /// Waits for all, and checks what they saw.
    async fn end(mut self, seed: u64) {
        while let Some(caller) = self.callers.join_next().await {
            caller.expect("a caller");
        }
        self.notes.over.store(true, Ordering::SeqCst);
        let mut logs = Vec::new();
        while let Some(watcher) = self.watchers.join_next().await {
            logs.push(watcher.expect("a watcher").unwrap_or_else(|why| panic!("STORE_SEED={seed}: a watch: {why}")));
        }
        assert!(logs.iter().all(|log| *log == logs[0]), "STORE_SEED={seed}: watchers saw different changes");
        let calls = self.notes.take();
        let answered = calls.iter().filter(|call| call.answer != check::Answer::Unknown).count();
        assert!(
            answered > calls.len() / 4,
            "STORE_SEED={seed}: only {answered} of {} calls were answered",
            calls.len()
        );
        if let Err(why) = check::check(self.first, &logs[0], &calls, &self.notes.take_gone_ms()) {
            panic!("STORE_SEED={seed}: {why}");
        }
    }
}

async fn some_time(rng: &mut StdRng) {
    tokio::time::sleep(Duration::from_millis(rng.random_range(5..120))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_does_one_thing_after_the_other_while_its_power_is_cut() {
    vfs::install();
    for seed in seeds() {
        vfs::replace(seed);
        let mut rng = StdRng::seed_from_u64(seed);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("state.db");
        let open = || -> Arc<dyn Store> { Embedded::open(&path, Options::default()).expect("the store opens") };
        let server: Server = Arc::new(RwLock::new(Some(open())));
        let mut run = Run::start(std::slice::from_ref(&server), seed).await;
        let mut cuts = 0;
        while run.goes_on() {
            vfs::with(|disk| disk.cut_after(rng.random_range(2..80)));
            while run.goes_on() && !vfs::with(|disk| disk.is_off()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let mut held = server.write().await;
            // The old server is gone before the new one comes, as processes are.
            drop(held.take());
            vfs::with(|disk| disk.power_back(&mut rng));
            *held = Some(open());
            cuts += 1;
        }
        run.end(seed).await;
        assert!(cuts > 3, "the power was cut {cuts} times only");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_on_etcd_do_one_thing_after_the_other_while_members_die_and_connections_break() {
    for seed in seeds() {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut member = member::Member::start(false);
        let (mut servers, mut proxies) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let proxy = proxy::Proxy::start(member.port()).await;
            let options = store::etcd::Options { endpoints: vec![proxy.url()], ..member.options() };
            let store: Arc<dyn Store> = member.open(options).await;
            servers.push(Arc::new(RwLock::new(Some(store))));
            proxies.push(proxy);
        }
        let mut run = Run::start(&servers, seed).await;
        while run.goes_on() {
            some_time(&mut rng).await;
            if rng.random_bool(0.3) {
                member.kill();
                some_time(&mut rng).await;
                member.run();
                // Time to do something before the next fault.
                tokio::time::sleep(Duration::from_millis(600)).await;
            } else {
                let proxy = &proxies[rng.random_range(0..proxies.len())];
                proxy.cut();
                some_time(&mut rng).await;
                proxy.heal();
            }
        }
        run.end(seed).await;
    }
}
