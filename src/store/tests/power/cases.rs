//! What holds of the disk of these tests, and of a store on one that refuses at a known place.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;
use store::embedded::{Embedded, Options};
use store::{Error, Precondition, RangeOptions, Store};

use crate::disk::{Disk, Failure, Target};
use crate::vfs;

/// The disk itself: synced bytes stay, sectors of others land or not.
pub fn the_disk_keeps_what_is_synced() {
    let mut halves = 0;
    for seed in 0..50 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut disk = Disk::default();
        disk.create("a").expect("on");
        disk.write("a", 0, &[1; 2048]).expect("on");
        disk.sync("a").expect("on");
        disk.write("a", 512, &[2; 1024]).expect("on");
        disk.cut_after(1);
        assert_eq!(disk.sync("a"), Err(Failure::Off));
        assert_eq!(disk.write("a", 0, &[3; 10]), Err(Failure::Off));
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

/// What a refused sync gave up is read until the power goes.
pub fn a_sync_that_is_refused_is_not_made_good_by_a_later_one() {
    let mut lost = 0;
    for seed in 0..20 {
        let mut disk = Disk::default();
        disk.create("a").expect("on");
        disk.write("a", 0, &[1; 512]).expect("on");
        disk.sync("a").expect("on");
        disk.write("a", 0, &[2; 512]).expect("on");
        disk.refuse(Target::Syncs, Failure::Refused, 0, 1, seed);
        assert_eq!(disk.sync("a"), Err(Failure::Refused));
        disk.sync("a").expect("is taken now");
        let mut bytes = [0; 512];
        assert_eq!((disk.read("a", 0, &mut bytes), bytes[0]), (Ok(512), 2));
        disk.power_back(&mut StdRng::seed_from_u64(seed));
        assert_eq!(disk.read("a", 0, &mut bytes), Ok(512));
        lost += usize::from(bytes[0] == 1);
    }
    assert!(lost > 0, "nothing was ever given up");
}

fn open(path: &Path) -> Arc<Embedded> {
    let options = Options { log_bytes: 64 << 10, ..Options::default() };
    Embedded::open(path, options).unwrap_or_else(|error| panic!("{}", stdx::error::chain(&error)))
}

async fn put(store: &Embedded, number: u64) -> Result<u64, Error> {
    let value = Bytes::from(vec![number as u8; 3000]);
    let put = store.put(&format!("/{number}"), value, Precondition::Absent).await;
    put.map(|entry| entry.mod_revision)
}

/// Each operation on the file by itself, and everything from it on.
pub fn a_checkpoint_that_is_refused_anywhere_loses_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("state.db");
    for (after, count) in (0..24).flat_map(|after| [(after, 1), (after, u64::MAX)]) {
        vfs::replace(after);
        let store = open(&path);
        vfs::with(|disk| disk.refuse(Target::Rest, Failure::Refused, after, count, after));
        let acknowledged: Vec<(u64, u64)> = runtime.block_on(async {
            let mut acknowledged = Vec::new();
            for number in 0..120 {
                acknowledged.extend(put(&store, number).await.ok().map(|revision| (number, revision)));
            }
            acknowledged
        });
        assert!(vfs::with(|disk| disk.refused) > 0, "operation {after} of a checkpoint is never come to");
        assert_eq!(acknowledged.len(), 120, "the log takes writes, so the store does");
        vfs::with(|disk| disk.cut_after(0));
        drop(store);
        vfs::with(|disk| disk.power_back(&mut StdRng::seed_from_u64(after)));
        let store = open(&path);
        let list = runtime.block_on(store.range("/", RangeOptions::default())).expect("a list");
        assert_eq!(list.entries.len(), 120, "refused: {count} operations after {after}");
        drop(store);
    }
}

/// Writes are refused with what to do, and so is the deletion that cannot happen by which a server looks after its store.
pub fn a_disk_that_takes_nothing_is_told_until_it_takes_something() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a temporary folder");
    vfs::replace(1);
    let store = open(&folder.path().join("state.db"));
    runtime.block_on(async {
        let first = put(&store, 0).await.expect("is taken");
        vfs::with(|disk| disk.refuse(Target::Log, Failure::Full, 0, u64::MAX, 1));
        assert!(matches!(store.delete("/none", 0).await, Err(Error::Conflict { .. })), "nobody has been refused yet");
        for _ in 0..3 {
            let refused = put(&store, 1).await.expect_err("is refused");
            let told = stdx::error::chain(&refused);
            assert!(told.contains("look for room") && told.contains("full"), "{told}");
            let looked = store.delete("/none", 0).await;
            assert!(matches!(looked, Err(Error::Backend { .. })), "{looked:?}");
            assert_eq!(store.count("/").await.expect("read"), 1);
        }
        vfs::with(Disk::obey);
        assert!(matches!(store.delete("/none", 0).await, Err(Error::Conflict { .. })), "the disk takes writes again");
        assert_eq!(put(&store, 1).await.expect("is taken"), first + 1);
    });
    drop(store);
}
