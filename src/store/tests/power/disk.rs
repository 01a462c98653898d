//! A disk that can lose its power: what was not synced may then be there, be gone, or be there in part.
//!
//! Pure: files are in memory and chance is passed in. What is synced stays; of every other write each sector lands or
//! does not, whatever came before or after it, as with a disk that has a cache.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// The power is off.
#[derive(Debug, PartialEq, Eq)]
pub struct Off;

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

#[derive(Debug, Default, Clone)]
struct File {
    /// What is there whatever happens; `None` where even the name may vanish.
    durable: Option<Vec<u8>>,
    current: Vec<u8>,
    pending: Vec<Change>,
}

/// A disk.
#[derive(Debug, Default)]
pub struct Disk {
    files: BTreeMap<String, File>,
    /// Operations until the power goes; for ever where `None`.
    left: Option<u64>,
    /// Operations so far.
    pub operations: u64,
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

    /// Counts one operation; answers whether it is the one in which the power goes.
    fn step(&mut self) -> Result<bool, Off> {
        if self.is_off() {
            return Err(Off);
        }
        self.operations += 1;
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        Ok(self.is_off())
    }

    /// Whether there is such a file.
    pub fn exists(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// Makes a file where there is none.
    pub fn create(&mut self, name: &str) -> Result<(), Off> {
        if self.is_off() {
            return Err(Off);
        }
        self.files.entry(name.to_owned()).or_default();
        Ok(())
    }

    /// Reads into `into`; answers how many bytes there were.
    pub fn read(&self, name: &str, offset: usize, into: &mut [u8]) -> Result<usize, Off> {
        if self.is_off() {
            return Err(Off);
        }
        let bytes = self.files.get(name).map(|file| &file.current[..]).unwrap_or_default();
        let there = bytes.get(offset..).unwrap_or_default();
        let count = there.len().min(into.len());
        into[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }

    /// The size in bytes.
    pub fn size(&self, name: &str) -> Result<usize, Off> {
        if self.is_off() {
            return Err(Off);
        }
        Ok(self.files.get(name).map_or(0, |file| file.current.len()))
    }

    fn change(&mut self, name: &str, change: Change) -> Result<(), Off> {
        let last = self.step()?;
        if let Some(file) = self.files.get_mut(name) {
            apply(&mut file.current, &change, &mut |_| true);
            file.pending.push(change);
        }
        if last { Err(Off) } else { Ok(()) }
    }

    /// Writes; nothing is durable yet.
    pub fn write(&mut self, name: &str, offset: usize, bytes: &[u8]) -> Result<(), Off> {
        self.change(name, Change::Write { offset, bytes: bytes.to_vec() })
    }

    /// Cuts a file; nothing is durable yet.
    pub fn truncate(&mut self, name: &str, size: usize) -> Result<(), Off> {
        self.change(name, Change::Truncate(size))
    }

    /// Makes a file durable.
    pub fn sync(&mut self, name: &str) -> Result<(), Off> {
        if self.step()? {
            return Err(Off);
        }
        if let Some(file) = self.files.get_mut(name) {
            file.durable = Some(file.current.clone());
            file.pending.clear();
        }
        Ok(())
    }

    /// Removes a file, durably: SQLite asks for the folder to be synced where that matters.
    pub fn remove(&mut self, name: &str) -> Result<(), Off> {
        if self.step()? {
            return Err(Off);
        }
        self.files.remove(name);
        Ok(())
    }

    /// What is left of the files when the power comes back.
    pub fn power_back(&mut self, rng: &mut StdRng) {
        // Sometimes hardly anything was written, sometimes nearly all.
        let lands = [0.0, 0.1, 0.5, 0.9, 1.0][rng.random_range(0..5)];
        self.left = None;
        let mut vanished = Vec::new();
        for (name, file) in &mut self.files {
            if file.durable.is_none() && !rng.random_bool(lands) {
                vanished.push(name.clone());
                continue;
            }
            let mut bytes = file.durable.take().unwrap_or_default();
            for change in file.pending.drain(..) {
                apply(&mut bytes, &change, &mut |_| rng.random_bool(lands));
            }
            file.current.clone_from(&bytes);
            file.durable = Some(bytes);
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
