use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::embedded::{Embedded, Options};
use crate::{Precondition, RangeOptions, Store, WatchItem};

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("state.db");
    (folder, path)
}

fn open_store(path: &Path) -> Arc<Embedded> {
    Embedded::open(path, Options::default()).expect("the store opens")
}

async fn fill(store: &Embedded, keys: std::ops::Range<u32>) -> u64 {
    let mut revision = 0;
    for number in keys {
        let value = Bytes::from(format!("the value of {number:06}"));
        let put = store.put(&format!("/k/{number:06}"), value, Precondition::Absent).await;
        revision = put.expect("the key is new").mod_revision;
    }
    revision
}

/// A closed store with fifty keys and a deletion.
async fn closed(path: &Path) {
    let store = open_store(path);
    fill(&store, 0..49).await;
    // With it the store's clock is noted.
    let (value, ttl) = (Bytes::from("the value of 000049"), Some(Duration::from_secs(3600)));
    store.put_with_ttl("/k/000049", value, Precondition::Absent, ttl).await.expect("the key is new");
    store.delete("/k/000007", 9).await.expect("deleted");
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn text(error: &Error) -> String {
    stdx::error::chain(error)
}

#[tokio::test]
async fn a_backup_under_writes_is_of_one_revision_and_can_be_put_back() {
    let (folder, path) = folder();
    let store = open_store(&path);
    let before = fill(&store, 0..200).await;
    let writing = tokio::spawn({
        let store = store.clone();
        async move { fill(&store, 200..600).await }
    });
    let copy = folder.path().join("backup.db");
    let (from, to) = (path.clone(), copy.clone());
    let taken = tokio::task::spawn_blocking(move || backup(&from, &to)).await.expect("runs").expect("a backup");
    let last = writing.await.expect("the writer");
    assert!(taken.wrong.is_empty() && (before..=last).contains(&taken.revision), "{taken:?}");
    // Keys were made one a revision, so a copy of one revision has exactly those up to it.
    assert_eq!(taken.keys, taken.revision - 1);
    assert_eq!(
        fs::read_dir(folder.path())
            .expect("a folder")
            .filter(|file| {
                file.as_ref().is_ok_and(|file| file.file_name().to_string_lossy().starts_with("backup.db"))
            })
            .count(),
        1,
        "the backup is one file"
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&copy).expect("is there").permissions());
    assert_eq!(mode & 0o777, 0o600, "it holds Secrets");
    let again = backup(&path, &copy).expect_err("is there");
    assert!(text(&again).contains("is there already"), "{}", text(&again));

    let held = restore(&copy, &path, true).expect_err("is held");
    assert!(text(&held).contains("held by another process"), "{}", text(&held));
    drop(store);
    let refused = restore(&copy, &path, false).expect_err("is there");
    assert!(text(&refused).contains("is there already"), "{}", text(&refused));
    let restored = restore(&copy, &path, true).expect("restored");
    assert!(restored.revision > last, "revisions that clients have seen do not come again");

    let store = open_store(&path);
    let list = store.range("/k/", RangeOptions::default()).await.expect("a list");
    assert_eq!((list.entries.len() as u64, list.revision), (taken.keys, restored.revision));
    let stale = store.watch("/k/", Some(last)).await;
    assert!(matches!(stale, Err(Error::Compacted { .. })), "watches from before begin anew");
    assert_eq!(fill(&store, 1000..1001).await, restored.revision + 1);
    drop(store);
    assert_eq!(check(&path).expect("readable").wrong, [] as [String; 0]);
    let kept = open_store(&restored.kept.expect("the old store is kept"));
    assert_eq!(kept.count("/k/").await.expect("a count"), 600);
}

#[tokio::test]
async fn a_restore_that_was_interrupted_is_told_and_can_be_run_again() {
    let (folder, path) = folder();
    closed(&path).await;
    let copy = folder.path().join("backup.db");
    backup(&path, &copy).expect("a backup");
    // As it is when the machine stops between the two names: the old store is gone but for its log.
    fs::copy(&copy, beside(&path, RESTORING)).expect("the copy");
    fs::rename(&path, beside(&path, ".replaced-1")).expect("set aside");
    fs::write(beside(&path, "-wal"), "the log of the old one").expect("a log");
    let refused = Embedded::open(&path, Options::default()).map(drop).expect_err("half restored");
    assert!(text(&refused).contains("run `rkctl node store restore` again"), "{}", text(&refused));
    assert!(!path.exists(), "nothing is begun in its place");
    let restored = restore(&copy, &path, true).expect("restored");
    assert!(!beside(&path, "-wal").exists(), "the old log is not taken for the new one's");
    let kept = restored.kept.expect("what was left is kept");
    assert_eq!(fs::read_to_string(beside(&kept, "-wal")).expect("the log"), "the log of the old one");
    assert_eq!(open_store(&path).range("/k/", RangeOptions::default()).await.expect("a list").entries.len(), 49);
}

#[tokio::test]
async fn a_store_that_is_lost_to_a_restore_is_never_begun_anew() {
    let (folder, path) = folder();
    closed(&path).await;
    let copy = folder.path().join("backup.db");
    backup(&path, &copy).expect("a backup");
    fs::copy(&copy, beside(&path, RESTORING)).expect("the copy");
    fs::rename(&path, beside(&path, ".replaced-1")).expect("set aside");
    // A second try fails as well: at the backup, which is damaged, or while it is copied.
    let damaged = folder.path().join("damaged.db");
    let mut bytes = fs::read(&copy).expect("readable");
    bytes[4096 * 2..].fill(0xff);
    fs::write(&damaged, bytes).expect("written");
    restore(&damaged, &path, true).expect_err("is damaged");
    fs::create_dir(beside(&path, ".restoring.partial")).expect("in the way");
    restore(&copy, &path, true).expect_err("the copy cannot be made");
    fs::remove_dir(beside(&path, ".restoring.partial")).expect("out of the way");
    for left in [RESTORING, ".replaced-1", "-wal"] {
        let refused = Embedded::open(&path, Options::default()).map(drop).expect_err("half restored");
        assert!(text(&refused).contains("run `rkctl node store restore` again"), "{left}: {}", text(&refused));
        // Whoever made an empty file there did not make a store.
        fs::write(&path, "").expect("written");
        let refused = Embedded::open(&path, Options::default()).map(drop).expect_err("half restored");
        assert!(text(&refused).contains("run `rkctl node store restore` again"), "{left}: {}", text(&refused));
        fs::remove_file(&path).expect("removed");
        fs::remove_file(beside(&path, left)).expect("is left");
        if left == ".replaced-1" {
            fs::write(beside(&path, "-wal"), "the log of the old one").expect("a log");
        }
    }
    assert_eq!(open_store(&path).revision().await.expect("a revision"), 1, "nothing is left of any store");
}

#[tokio::test]
async fn a_journal_is_not_taken_for_that_of_another_store() {
    let (folder, path) = folder();
    closed(&path).await;
    let copy = folder.path().join("backup.db");
    backup(&path, &copy).expect("a backup");
    fs::write(beside(&path, "-journal"), "of the old one").expect("a journal");
    let kept = restore(&copy, &path, true).expect("restored").kept.expect("the old store is kept");
    assert!(!beside(&path, "-journal").exists());
    assert_eq!(fs::read_to_string(beside(&kept, "-journal")).expect("readable"), "of the old one");
}

#[test]
fn a_name_that_is_taken_meanwhile_is_not_overwritten() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs::write(&from, "new").expect("written");
    fs::write(&to, "old").expect("written");
    move_to(&from, &to).expect_err("is there");
    assert_eq!(fs::read_to_string(&to).expect("readable"), "old");
    fs::remove_file(&to).expect("removed");
    move_to(&from, &to).expect("is free");
    assert_eq!(fs::read_to_string(&to).expect("readable"), "new");
}

#[tokio::test]
async fn a_restore_into_nothing_makes_the_store() {
    let (folder, path) = folder();
    closed(&path).await;
    let new = folder.path().join("new.db");
    let restored = restore(&path, &new, false).expect("restored");
    assert_eq!(restored.kept, None);
    assert_eq!(open_store(&new).count("/k/").await.expect("a count"), 49);
    let missing = restore(&folder.path().join("none.db"), &new, true).expect_err("there is none");
    assert!(matches!(missing, Error::Backend { .. }));
}

#[tokio::test]
async fn whatever_is_damaged_is_named_never_served_and_never_backed_up() {
    let sql: &[(&str, &str)] = &[
        ("UPDATE log SET value = CAST('other' AS BLOB) WHERE revision = 5", "revision 5 (/k/000003) differs"),
        ("UPDATE log SET key = '/k/x' WHERE revision = 5", "revision 5 (/k/x) differs"),
        ("UPDATE log SET checksum = -1 WHERE revision = 5", "revision 5 (/k/000003) differs"),
        ("UPDATE log SET lease = 77 WHERE revision = 5", "revision 5 (/k/000003) differs"),
        ("DELETE FROM log WHERE revision = 5", "after revision 4 comes 6"),
        ("DELETE FROM log WHERE revision = 52", "the checksums do not add up"),
        ("UPDATE meta SET value = 20 WHERE name = 'floor'; DELETE FROM log WHERE revision = 5", "do not add up"),
        ("DELETE FROM meta WHERE name = 'floor'", "no rows"),
        ("UPDATE meta SET value = value + (1 << 40) WHERE name = 'clock'", "clock differs"),
        ("UPDATE meta SET value = value + 1000 WHERE name = 'floor'", "floor differs"),
        ("UPDATE meta SET name = 'cloak' WHERE name = 'clock'", "cloak differs"),
        ("UPDATE log SET value = 7 WHERE revision = 5", "STRICT"),
    ];
    for (statement, expected) in sql {
        let (folder, path) = folder();
        closed(&path).await;
        let raw = Connection::open(&path).expect("opens");
        // SQLite itself refuses the last.
        if raw.execute_batch(statement).is_err() {
            assert_eq!(*expected, "STRICT");
            continue;
        }
        drop(raw);
        let found = check(&path).expect("readable");
        let named = found.wrong.iter().any(|wrong| wrong.contains(expected));
        // The newest row alone can be missing without a trace: what is there is the state before it.
        if *statement == "DELETE FROM log WHERE revision = 52" {
            assert!(found.wrong.is_empty() && found.revision == 51, "{found:?}");
            continue;
        }
        assert!(named, "{statement}: {:?}", found.wrong);
        let refused = Embedded::open(&path, Options::default()).expect_err("is damaged");
        assert!(matches!(refused, Error::Corrupt { .. }), "{statement}: {refused:?}");
        assert!(text(&refused).contains("rkctl node store restore"), "{}", text(&refused));
        let to = folder.path().join("backup.db");
        assert!(matches!(backup(&path, &to), Err(Error::Corrupt { .. })), "{statement}");
        assert!(!to.exists() && !beside(&to, ".partial").exists());
        let other = folder.path().join("other.db");
        assert!(matches!(restore(&path, &other, false), Err(Error::Corrupt { .. })), "{statement}");
        assert!(!other.exists(), "{statement}");
    }
}

#[tokio::test]
async fn a_single_bit_anywhere_in_a_value_is_noticed() {
    let (_folder, path) = folder();
    closed(&path).await;
    let sound = fs::read(&path).expect("readable");
    let needle = b"the value of 000031";
    let at = sound.windows(needle.len()).position(|window| window == needle).expect("the value is in the file");
    for bit in 0..8 {
        let mut damaged = sound.clone();
        damaged[at + 3] ^= 1 << bit;
        fs::write(&path, damaged).expect("written");
        let found = check(&path).expect("readable");
        assert!(found.wrong.iter().any(|wrong| wrong.contains("/k/000031")), "bit {bit}: {:?}", found.wrong);
        assert!(matches!(Embedded::open(&path, Options::default()), Err(Error::Corrupt { .. })));
    }
}

#[tokio::test]
async fn pages_that_are_overwritten_are_named_and_reading_changes_nothing() {
    let (_folder, path) = folder();
    let store = open_store(&path);
    fill(&store, 0..400).await;
    drop(store);
    let mut bytes = fs::read(&path).expect("readable");
    bytes[4096 * 2..4096 * 3].fill(0xff);
    fs::write(&path, &bytes).expect("written");
    assert!(!check(&path).expect("readable").wrong.is_empty());
    assert!(fs::read(&path).expect("readable") == bytes, "check does not write");
    fs::write(&path, "x".repeat(8192)).expect("written");
    let found = check(&path).expect("readable");
    assert!(found.wrong[0].contains("not a database"), "{found:?}");
}

#[tokio::test]
async fn stores_of_every_layout_are_read_and_brought_to_the_newest() {
    for name in ["layout-1.db", "layout-2.db", "layout-3.db", "layout-4.db"] {
        let (folder, path) = folder();
        fs::copy(fixture(name), &path).expect("a fixture");
        let old = check(&path).expect("readable");
        assert_eq!((old.wrong.len(), old.keys, old.revision), (0, 3, 7), "{name}");
        let copy = folder.path().join("backup.db");
        assert_eq!(backup(&path, &copy).expect("a backup").revision, 7, "{name}");

        let store = open_store(&path);
        let list = store.range("", RangeOptions::default()).await.expect("a list");
        let found: Vec<_> = list
            .entries
            .iter()
            .map(|entry| (&*entry.key, &*entry.value, entry.create_revision, entry.mod_revision))
            .collect();
        let expected: [(&str, &[u8], u64, u64); 3] = [
            ("/registry/configmaps/default/a", b"{\"kind\":\"ConfigMap\",\"n\":1}", 2, 5),
            ("/registry/configmaps/default/b", b"{\"kind\":\"ConfigMap\",\"n\":2}", 3, 3),
            ("/registry/secrets/default/s", b"\x00\xff\x10", 6, 6),
        ];
        assert_eq!((found.as_slice(), list.revision), (expected.as_slice(), 7), "{name}");
        let going: Vec<_> =
            list.entries.iter().filter(|entry| entry.lease.is_some()).map(|entry| &*entry.key).collect();
        let leases = ["layout-3.db", "layout-4.db"].contains(&name);
        let expected: &[&str] = if leases { &["/registry/configmaps/default/b"] } else { &[] };
        assert_eq!(going, expected, "{name}: what goes by itself");
        let put = store.put("/new", Bytes::new(), Precondition::Absent).await.expect("is new");
        assert_eq!(put.mod_revision, 8, "{name}");
        drop(store);
        let new = check(&path).expect("readable");
        assert_eq!((new.layout, new.wrong.len(), new.keys), (layout::NEWEST, 0, 4), "{name}");
        // A backup of an earlier version is put back by this one.
        let restored = restore(&copy, &path, true).expect("restored");
        let store = open_store(&path);
        assert_eq!(store.count("").await.expect("a count"), 3, "{name}");
        let mut watch = store.watch("", None).await.expect("a watch");
        assert!(matches!(watch.next().await, Ok(WatchItem::Progress(at)) if at == restored.revision), "{name}");
    }
}

#[test]
fn a_layout_that_is_not_known_is_left_alone_with_the_remedy() {
    let (folder, path) = folder();
    fs::copy(fixture("layout-2.db"), &path).expect("a fixture");
    let raw = Connection::open(&path).expect("opens");
    raw.pragma_update(None, "user_version", layout::NEWEST + 1).expect("written");
    drop(raw);
    let before = fs::read(&path).expect("readable");
    let other = folder.path().join("other.db");
    let refusals = [
        Embedded::open(&path, Options::default()).map(drop),
        check(&path).map(drop),
        backup(&path, &other).map(drop),
        restore(&path, &other, false).map(drop),
    ];
    for refused in refusals {
        let refused = text(&refused.expect_err("is newer"));
        assert!(refused.contains("layout 5") && refused.contains("use the newer program"), "{refused}");
    }
    assert!(fs::read(&path).expect("readable") == before, "it is not changed");
    assert!(!other.exists());
}
