//! Rows of the store's file: a log that a store could have written is found sound, and of every other that is found
//! sound, what is live is what the rows say.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use store::fuzz::{MadeUp, read_log};

/// What happens to a key, which has a number: the value, `None` for a deletion, and the lease.
type Step = (u8, Option<Vec<u8>>, u32);

/// What is done to which row.
struct Damage {
    at: u8,
    what: u8,
    number: i64,
    text: String,
    value: Option<Vec<u8>>,
}

struct Input {
    steps: Vec<Step>,
    damage: Vec<Damage>,
    /// Whether damaged rows get the checksums that are theirs.
    summed: bool,
    floor: Option<i64>,
    removed: Option<i64>,
}

impl Input {
    fn make(u: &mut Unstructured<'_>) -> Result<Self> {
        let (summed, floor, removed) = u.arbitrary()?;
        let damage: Vec<(u8, u8, i64, String, Option<Vec<u8>>)> = u.arbitrary()?;
        let damage = damage.into_iter().map(|(at, what, number, text, value)| Damage { at, what, number, text, value });
        Ok(Self { damage: damage.collect(), summed, floor, removed, steps: u.arbitrary()? })
    }
}

/// The log of a store that did all of it, from revision 2 on.
fn honest(steps: Vec<Step>) -> Vec<MadeUp> {
    let mut created: BTreeMap<u8, i64> = BTreeMap::new();
    let mut rows = Vec::new();
    for (key, value, lease) in steps {
        let revision = rows.len() as i64 + 2;
        let create_revision = match &value {
            Some(_) => *created.entry(key).or_insert(revision),
            None if created.remove(&key).is_some() => 0,
            None => continue,
        };
        let lease = if value.is_some() { i64::from(lease) } else { 0 };
        let key = format!("/{key}");
        rows.push(MadeUp { revision, key, value, create_revision, lease, checksum: None, total: None });
    }
    rows
}

fn damage(rows: &mut Vec<MadeUp>, damage: Damage) {
    if rows.is_empty() {
        return;
    }
    let at = usize::from(damage.at) % rows.len();
    let row = &mut rows[at];
    match damage.what % 8 {
        0 => row.revision = damage.number,
        1 => row.key = damage.text,
        2 => row.value = damage.value,
        3 => row.create_revision = damage.number,
        4 => row.lease = damage.number,
        5 => row.checksum = Some(damage.number),
        6 => row.total = Some(damage.number),
        _ => drop(rows.remove(at)),
    }
}

/// How many keys are live.
fn live(rows: &[MadeUp]) -> u64 {
    let mut rows: Vec<&MadeUp> = rows.iter().collect();
    rows.sort_by_key(|row| row.revision);
    let mut keys: BTreeMap<&str, bool> = BTreeMap::new();
    for row in rows {
        keys.insert(&row.key, row.value.is_some());
    }
    keys.values().filter(|live| **live).count() as u64
}

fuzz_target!(|data: &[u8]| {
    let Ok(input) = Input::make(&mut Unstructured::new(data)) else { return };
    let mut rows = honest(input.steps);
    let is_honest = input.damage.is_empty() && input.floor.is_none() && input.removed.is_none();
    for done in input.damage {
        damage(&mut rows, done);
    }
    if input.summed {
        rows.iter_mut().for_each(|row| (row.checksum, row.total) = (None, None));
    }
    let found = read_log(&rows, input.floor.unwrap_or(1), input.removed.unwrap_or(0));
    assert!(!is_honest || found.is_ok(), "{found:?}");
    let Ok(found) = found else { return };
    assert!(!is_honest || found.wrong.is_empty(), "{found:?}");
    if found.wrong.is_empty() {
        assert_eq!((found.rows, found.keys), (rows.len() as u64, live(&rows)));
        let newest = rows.iter().map(|row| row.revision).chain(input.floor.or(Some(1))).max().unwrap_or_default();
        assert_eq!(found.revision, newest.max(0) as u64);
    }
});
