//! Sets of completion indexes as statuses write them: `0-2,5`.

use std::collections::BTreeMap;
use std::fmt;

/// Completion indexes, as the first and the last of each run: of as many as a job may have, one by one would not fit
/// into memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Indexes(BTreeMap<i32, i32>);

impl Indexes {
    /// Reads a text; what is no index below `completions` is left out.
    pub fn parse(text: &str, completions: i32) -> Self {
        let mut all = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(from), Ok(to)) = (from.trim().parse::<i32>(), to.trim().parse::<i32>()) {
                all.insert_run(from.max(0), to.min(completions.saturating_sub(1)));
            }
        }
        all
    }

    /// Adds one.
    pub fn insert(&mut self, index: i32) {
        self.insert_run(index, index);
    }

    fn insert_run(&mut self, mut first: i32, mut last: i32) {
        if first > last {
            return;
        }
        // Runs that overlap or touch become one. They do not overlap each other, so those that do not reach this far
        // are before all of those that do.
        while let Some((&start, &end)) = self.0.range(..=last.saturating_add(1)).next_back() {
            if end < first.saturating_sub(1) {
                break;
            }
            self.0.remove(&start);
            (first, last) = (first.min(start), last.max(end));
        }
        self.0.insert(first, last);
    }

    /// Whether it is in.
    pub fn has(&self, index: i32) -> bool {
        self.0.range(..=index).next_back().is_some_and(|(_, last)| *last >= index)
    }

    /// How many.
    pub fn len(&self) -> i32 {
        count(self.0.iter().map(|(first, last)| (*first, *last)))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many are in the other as well.
    pub fn common(&self, other: &Self) -> i32 {
        let shared = self.0.iter().flat_map(|(&first, &last)| {
            let reaching = other.0.range(..=last).rev().take_while(move |(_, end)| **end >= first);
            reaching.map(move |(&start, &end)| (first.max(start), last.min(end)))
        });
        count(shared)
    }
}

/// How many indexes runs have that do not overlap.
fn count(runs: impl Iterator<Item = (i32, i32)>) -> i32 {
    let all: i64 = runs.map(|(first, last)| i64::from(last) - i64::from(first) + 1).sum();
    i32::try_from(all).unwrap_or(i32::MAX)
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            match last.saturating_sub(*first) {
                0 => write!(f, "{comma}{first}")?,
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_written_in_runs_and_read_again() {
        for (text, completions, expected) in [
            ("", 5, ""),
            ("0-2,5", 9, "0-2,5"),
            ("1,2", 9, "1,2"),
            ("0,1,2,4,6,7", 9, "0-2,4,6,7"),
            ("3-99", 6, "3-5"),
            ("x,-1,2", 6, "2"),
            ("7,5-6,0,2-3,1-2", 9, "0-3,5-7"),
            ("5,1-8,3", 9, "1-8"),
            ("4-2", 9, ""),
            ("0", 0, ""),
            ("0-2147483646", i32::MAX, "0-2147483646"),
        ] {
            assert_eq!(Indexes::parse(text, completions).to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_two_sets_share_is_counted() {
        let all = Indexes::parse("0-2147483646", i32::MAX);
        assert_eq!((all.len(), all.common(&all)), (i32::MAX, i32::MAX));
        for (one, other, expected) in
            [("", "0-9", 0), ("0-2,5", "1-5", 3), ("0-9", "0,2,4-5,12", 4), ("3", "3", 1), ("0-3,6-9", "2-7", 4)]
        {
            let [one, other] = [one, other].map(|text| Indexes::parse(text, 20));
            assert_eq!((one.common(&other), other.common(&one)), (expected, expected), "{one} {other}");
        }
    }

    #[test]
    fn one_index_after_the_other_makes_a_run() {
        let mut all = Indexes::default();
        for index in [3, 1, 2, 7, 2] {
            all.insert(index);
        }
        assert_eq!((all.to_string().as_str(), all.len()), ("1-3,7", 4));
        assert_eq!([0, 1, 3, 4, 7, 8].map(|index| all.has(index)), [false, true, true, false, true, false]);
    }
}
