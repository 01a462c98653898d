//! Which images are removed when the disk fills: unused ones, the longest unused first.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use cri::v1;
use jiff::{SignedDuration, Timestamp};

use crate::Error;

/// Collection ends so far below the part of the disk in use above which it begins.
const BELOW_PERCENT: u8 = 5;
/// An image is left alone for this long after it was first seen.
const AGE_MIN: SignedDuration = SignedDuration::from_secs(120);

/// When each image was first seen and last used.
#[derive(Debug, Default)]
pub struct Collector {
    seen: HashMap<String, Record>,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    first_seen: Timestamp,
    last_used: Timestamp,
}

impl Collector {
    /// Notes which images there are and which are used.
    pub fn note(&mut self, images: &[v1::Image], used: &HashSet<String>, now: Timestamp) {
        self.seen.retain(|id, _| images.iter().any(|image| &image.id == id));
        for image in images {
            let fresh = Record { first_seen: now, last_used: Timestamp::UNIX_EPOCH };
            let record = self.seen.entry(image.id.clone()).or_insert(fresh);
            if is_used(image, used) {
                record.last_used = now;
            }
        }
    }

    /// The images to remove to free `bytes`, in this order.
    pub fn choose(&self, images: &[v1::Image], used: &HashSet<String>, bytes: u64, now: Timestamp) -> Vec<String> {
        let mut idle: Vec<(&v1::Image, Record)> = images
            .iter()
            .filter(|image| !image.pinned && !is_used(image, used) && !own(image))
            .filter_map(|image| Some((image, *self.seen.get(&image.id)?)))
            .filter(|(_, record)| now.duration_since(record.first_seen) >= AGE_MIN)
            .collect();
        idle.sort_by_key(|(image, record)| (record.last_used, record.first_seen, image.id.clone()));
        let mut freed = 0;
        let mut chosen = Vec::new();
        for (image, _) in idle {
            if freed >= bytes {
                break;
            }
            freed += image.size;
            chosen.push(image.id.clone());
        }
        chosen
    }
}

fn is_used(image: &v1::Image, used: &HashSet<String>) -> bool {
    used.contains(&image.id) || image.repo_tags.iter().chain(&image.repo_digests).any(|name| used.contains(name))
}

/// The image of this program is made on the node and cannot be pulled again.
fn own(image: &v1::Image) -> bool {
    image.repo_tags.iter().any(|tag| tag.starts_with("rkctl.local/"))
}

/// How many bytes must be freed on the disk of `path`; 0 while no more than `high_percent` of it are in use.
pub fn excess_bytes(path: &Path, high_percent: u8) -> Result<u64, Error> {
    let stat = nix::sys::statvfs::statvfs(path).map_err(|errno| Error::file("read disk of", path)(errno.into()))?;
    let capacity = stat.blocks() * stat.fragment_size();
    let free = stat.blocks_available() * stat.fragment_size();
    Ok(excess(capacity, free, high_percent))
}

fn excess(capacity: u64, free: u64, high_percent: u8) -> u64 {
    let used = capacity.saturating_sub(free);
    if high_percent >= 100 || capacity == 0 || used * 100 / capacity < u64::from(high_percent) {
        return 0;
    }
    used.saturating_sub(capacity / 100 * u64::from(high_percent.saturating_sub(BELOW_PERCENT)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(id: &str, size: u64) -> v1::Image {
        v1::Image { id: id.into(), size, ..Default::default() }
    }

    #[test]
    fn the_longest_unused_go_first_and_only_as_many_as_needed() {
        let images = [image("a", 10), image("b", 10), image("c", 10)];
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut collector = Collector::default();
        collector.note(&images, &HashSet::from(["a".to_string(), "b".to_string()]), at(1000));
        collector.note(&images, &HashSet::from(["b".to_string()]), at(2000));
        let used = HashSet::new();
        assert_eq!(collector.choose(&images, &used, 15, at(3000)), ["c", "a"]);
        assert_eq!(collector.choose(&images, &HashSet::from(["c".to_string()]), 5, at(3000)), ["a"]);
        assert!(collector.choose(&images, &used, 15, at(1001)).is_empty());
    }

    #[test]
    fn collection_begins_at_the_high_mark_and_ends_at_the_low_one() {
        assert_eq!(excess(1000, 200, 85), 0);
        assert_eq!(excess(1000, 100, 85), 100);
        assert_eq!(excess(1000, 0, 100), 0);
        assert_eq!(excess(0, 0, 85), 0);
    }
}
