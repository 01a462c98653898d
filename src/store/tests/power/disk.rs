//! A disk that can lose its power: what was not synced may then be there, be gone, or be there in part. And one that
//! refuses what it is asked, now and then or for long.
//!
//! Pure: files are in memory and chance is passed in. What is synced stays; of every other write each sector lands or
//! does not, whatever came before or after it, as with a disk that has a cache. Of a write that is refused none, some
//! or all may have happened. A sync that is refused is not made good by a later one: who writes back has given up what
//! was to be written, and readers still find it until the power goes.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// Why something did not happen, or not all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The power is off.
    Off,
    /// The disk does not take it.
    Refused,
    /// The disk has no room.
    Full,
}

/// What a disk refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Everything,
    /// What is done to the write-ahead log.
    Log,
    /// What is done to other files.
    Rest,
    Syncs,
}

/// Operations that are refused.
#[derive(Debug)]
struct Refusals {
    target: Target,
    why: Failure,
    /// Operations of the target that are done before.
    after: u64,
    /// Operations of the target that are refused then.
    count: u64,
    rng: StdRng,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

#[derive(Debug, Default, Clone)]
struct File {
    /// Whether the name is there whatever happens.
    named: bool,
    /// What is there whatever happens to the rest.
    durable: Vec<u8>,
    current: Vec<u8>,
    /// What the next sync makes durable.
    pending: Vec<Change>,
}

/// A disk.
#[derive(Debug, Default)]
pub struct Disk {
    files: BTreeMap<String, File>,
    /// Operations until the power goes; for ever where `None`.
    left: Option<u64>,
    refusals: Option<Refusals>,
    /// Operations so far.
    pub operations: u64,
    /// Those that were refused.
    pub refused: u64,
}

/// What becomes of an operation.
enum Verdict {
    Done,
    /// It is the one in which the power goes.
    CutShort,
    Refused(Failure),
}

impl Disk {
    /// The power goes in the middle of the operation after `operations` more.
    pub fn cut_after(&mut self, operations: u64) {
        self.left = Some(operations);
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.left == Some(0)
    }

    /// Of what is done to `target`, `count` operations are refused after `after` more.
    pub fn refuse(&mut self, target: Target, why: Failure, after: u64, count: u64, seed: u64) {
        self.refusals = Some(Refusals { target, why, after, count, rng: StdRng::seed_from_u64(seed) });
    }

    /// The disk does what it is asked again; the power stays on.
    pub fn obey(&mut self) {
        (self.left, self.refusals) = (None, None);
    }

    /// Counts one operation.
    fn step(&mut self, name: &str, is_sync: bool) -> Result<Verdict, Failure> {
        if self.is_off() {
            return Err(Failure::Off);
        }
        self.operations += 1;
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        if self.is_off() {
            return Ok(Verdict::CutShort);
        }
        let Some(refusals) = &mut self.refusals else { return Ok(Verdict::Done) };
        let is_meant = match refusals.target {
            Target::Everything => true,
            Target::Log => name.ends_with("-wal"),
            Target::Rest => !name.ends_with("-wal"),
            Target::Syncs => is_sync,
        };
        if !is_meant || refusals.count == 0 {
            return Ok(Verdict::Done);
        }
        if refusals.after > 0 {
            refusals.after -= 1;
            return Ok(Verdict::Done);
        }
        refusals.count -= 1;
        self.refused += 1;
        Ok(Verdict::Refused(refusals.why))
    }

    /// Something between 0 and 1 that says how much of what is refused happens, and chance.
    fn lands(&mut self) -> (f64, Option<&mut StdRng>) {
        let Some(refusals) = &mut self.refusals else { return (1.0, None) };
        ([0.0, 0.5, 1.0][refusals.rng.random_range(0..3)], Some(&mut refusals.rng))
    }

    /// Whether there is such a file.
    pub fn exists(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// Makes a file where there is none.
    pub fn create(&mut self, name: &str) -> Result<(), Failure> {
        if self.is_off() {
            return Err(Failure::Off);
        }
        self.files.entry(name.to_owned()).or_default();
        Ok(())
    }

    /// Reads into `into`; answers how many bytes there were.
    pub fn read(&self, name: &str, offset: usize, into: &mut [u8]) -> Result<usize, Failure> {
        if self.is_off() {
            return Err(Failure::Off);
        }
        let bytes = self.files.get(name).map(|file| &file.current[..]).unwrap_or_default();
        let there = bytes.get(offset..).unwrap_or_default();
        let count = there.len().min(into.len());
        into[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }

    /// The size in bytes.
    pub fn size(&self, name: &str) -> Result<usize, Failure> {
        if self.is_off() {
            return Err(Failure::Off);
        }
        Ok(self.files.get(name).map_or(0, |file| file.current.len()))
    }

    fn change(&mut self, name: &str, change: Change) -> Result<(), Failure> {
        let verdict = self.step(name, false)?;
        let change = match verdict {
            Verdict::Done | Verdict::CutShort => change,
            Verdict::Refused(_) => change.part(self.lands().0),
        };
        if let Some(file) = self.files.get_mut(name) {
            apply(&mut file.current, &change, &mut |_| true);
            file.pending.push(change);
        }
        match verdict {
            Verdict::Done => Ok(()),
            Verdict::CutShort => Err(Failure::Off),
            Verdict::Refused(why) => Err(why),
        }
    }

    /// Writes; nothing is durable yet.
    pub fn write(&mut self, name: &str, offset: usize, bytes: &[u8]) -> Result<(), Failure> {
        self.change(name, Change::Write { offset, bytes: bytes.to_vec() })
    }

    /// Cuts a file; nothing is durable yet.
    pub fn truncate(&mut self, name: &str, size: usize) -> Result<(), Failure> {
        self.change(name, Change::Truncate(size))
    }

    /// Makes a file durable.
    pub fn sync(&mut self, name: &str) -> Result<(), Failure> {
        let verdict = self.step(name, true)?;
        let Some(mut file) = self.files.remove(name) else { return Ok(()) };
        let outcome = match verdict {
            Verdict::Done => {
                file.sync(&mut |_| true);
                file.named = true;
                Ok(())
            }
            Verdict::CutShort => Err(Failure::Off),
            Verdict::Refused(why) => {
                let (lands, rng) = self.lands();
                if let Some(rng) = rng {
                    file.sync(&mut |_| rng.random_bool(lands));
                }
                Err(why)
            }
        };
        self.files.insert(name.to_owned(), file);
        outcome
    }

    /// Removes a file, durably: SQLite asks for the folder to be synced where that matters.
    pub fn remove(&mut self, name: &str) -> Result<(), Failure> {
        match self.step(name, false)? {
            Verdict::Done => drop(self.files.remove(name)),
            Verdict::CutShort => return Err(Failure::Off),
            Verdict::Refused(why) => {
                if self.lands().0 >= 1.0 {
                    self.files.remove(name);
                }
                return Err(why);
            }
        }
        Ok(())
    }

    /// What is left of the files when the power comes back.
    pub fn power_back(&mut self, rng: &mut StdRng) {
        // Sometimes hardly anything was written, sometimes nearly all.
        let lands = [0.0, 0.1, 0.5, 0.9, 1.0][rng.random_range(0..5)];
        self.obey();
        let mut vanished = Vec::new();
        for (name, file) in &mut self.files {
            if !file.named && !rng.random_bool(lands) {
                vanished.push(name.clone());
                continue;
            }
            file.sync(&mut |_| rng.random_bool(lands));
            file.named = true;
            file.current.clone_from(&file.durable);
        }
        for name in vanished {
            self.files.remove(&name);
        }
    }

    /// Something that two disks with the same content have in common.
    pub fn fingerprint(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        for (name, file) in &self.files {
            let name = name.rsplit('/').next();
            (name, &file.current).hash(&mut hasher);
        }
        hasher.finish()
    }
}

impl Change {
    /// What of it happens where it is refused: all, nothing or a part, by a figure from 0 to 1.
    fn part(self, lands: f64) -> Self {
        match self {
            Self::Write { offset, mut bytes } => {
                bytes.truncate((bytes.len() as f64 * lands) as usize);
                Self::Write { offset, bytes }
            }
            Self::Truncate(_) if lands < 1.0 => Self::Write { offset: 0, bytes: Vec::new() },
            whole @ Self::Truncate(_) => whole,
        }
    }
}

impl File {
    /// Makes durable what waits for it, as far as `lands` answers true; the rest never will be.
    fn sync(&mut self, lands: &mut dyn FnMut(usize) -> bool) {
        for change in self.pending.drain(..) {
            apply(&mut self.durable, &change, lands);
        }
    }
}

/// Carries a change out as far as `lands` answers true for a sector, or for a truncation.
fn apply(bytes: &mut Vec<u8>, change: &Change, lands: &mut dyn FnMut(usize) -> bool) {
    match change {
        Change::Truncate(size) => {
            if lands(0) {
                bytes.resize(*size, 0);
            }
        }
        Change::Write { offset, bytes: written } => {
            let end = offset + written.len();
            let mut from = *offset;
            while from < end {
                let to = end.min((from / SECTOR + 1) * SECTOR);
                if lands(from / SECTOR) {
                    if bytes.len() < to {
                        bytes.resize(to, 0);
                    }
                    bytes[from..to].copy_from_slice(&written[from - offset..to - offset]);
                }
                from = to;
            }
        }
    }
}
