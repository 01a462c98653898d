//! What must stay free on the node, and whether it does: a pure comparison of levels with thresholds.

use std::collections::BTreeMap;

use crate::quantity::{Format, Quantity};

/// What is watched. The order is that in which shortages are seen to: memory first, as kubelet does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signal {
    /// Memory that can still be used.
    Memory,
    /// Room on the disk of volumes and logs.
    NodefsBytes,
    /// Files that can still be made on it.
    NodefsInodes,
    /// Room on the disk of images and containers' own files.
    ImagefsBytes,
    /// Files that can still be made on it.
    ImagefsInodes,
    /// Processes that can still be started.
    Pids,
}

/// A condition of the node that tells of a shortage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pressure {
    /// `MemoryPressure`.
    Memory,
    /// `DiskPressure`.
    Disk,
    /// `PIDPressure`.
    Pid,
}

impl Pressure {
    /// The condition's type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "MemoryPressure",
            Self::Disk => "DiskPressure",
            Self::Pid => "PIDPressure",
        }
    }
}

/// Each signal's name in configurations, and the threshold where the configuration names none. Those of kubelet; it
/// has none for processes, of which the kernel's last tenth is kept here for the node itself.
const DEFAULTS: [(&str, Signal, Amount); 6] = [
    ("memory.available", Signal::Memory, Amount::Absolute(100 * 1024 * 1024)),
    ("nodefs.available", Signal::NodefsBytes, Amount::Percent(10)),
    ("nodefs.inodesFree", Signal::NodefsInodes, Amount::Percent(5)),
    ("imagefs.available", Signal::ImagefsBytes, Amount::Percent(15)),
    ("imagefs.inodesFree", Signal::ImagefsInodes, Amount::Percent(5)),
    ("pid.available", Signal::Pids, Amount::Percent(10)),
];

impl Signal {
    /// The condition that tells of it.
    pub fn pressure(self) -> Pressure {
        match self {
            Self::Memory => Pressure::Memory,
            Self::Pids => Pressure::Pid,
            _ => Pressure::Disk,
        }
    }

    /// The resource as messages name it.
    pub fn resource(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::NodefsBytes | Self::ImagefsBytes => "ephemeral-storage",
            Self::NodefsInodes | Self::ImagefsInodes => "inodes",
            Self::Pids => "pids",
        }
    }

    /// An amount of it as messages write it.
    pub fn written(self, amount: u64) -> String {
        let amount = i64::try_from(amount).unwrap_or(i64::MAX);
        match self {
            Self::Memory | Self::NodefsBytes | Self::ImagefsBytes => Quantity::from_bytes(amount).to_string(),
            _ => Quantity::from_units(amount).with_format(Format::DecimalSi).to_string(),
        }
    }
}

/// How much must stay free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// Bytes, files or processes.
    Absolute(u64),
    /// Of all there is, in hundredths.
    Percent(u64),
}

impl Amount {
    fn of(self, capacity: u64) -> u64 {
        match self {
            Self::Absolute(amount) => amount,
            Self::Percent(percent) => {
                u64::try_from(u128::from(capacity) * u128::from(percent) / 100).unwrap_or(u64::MAX)
            }
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(percent) = text.strip_suffix('%') {
            return percent.trim().parse().ok().filter(|percent| *percent <= 100).map(Self::Percent);
        }
        let amount: Quantity = text.trim().parse().ok()?;
        u64::try_from(amount.to_units()).ok().map(Self::Absolute)
    }
}

/// How much of something there is and is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    pub available: u64,
    pub capacity: u64,
}

/// What was found; a signal that cannot be read is not there, and nothing is short of it.
pub type Levels = BTreeMap<Signal, Level>;

/// A shortage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    pub signal: Signal,
    /// How much should be free.
    pub wanted: u64,
    pub level: Level,
}

/// One threshold as configurations write it.
///
/// # Errors
/// A name or an amount that is none, with what would be one.
pub fn check(name: &str, text: &str) -> Result<(Signal, Amount), String> {
    let Some((_, signal, _)) = DEFAULTS.iter().find(|(known, ..)| *known == name) else {
        let known = DEFAULTS.map(|(name, ..)| name).join(", ");
        return Err(format!("evictionHard names {name:?}: use one of {known}"));
    };
    let amount = Amount::parse(text)
        .ok_or_else(|| format!("evictionHard {name} is {text:?}: use an amount such as 100Mi, or 0% to 100%"))?;
    Ok((*signal, amount))
}

/// What must stay free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thresholds(Vec<(Signal, Amount)>);

impl Thresholds {
    /// The defaults, but for what the configuration names (`nodefs.available: 5%`); `0` and `0%` watch nothing.
    ///
    /// # Errors
    /// A name or an amount that is none, with what would be one.
    pub fn read(configured: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut amounts: BTreeMap<Signal, Amount> =
            DEFAULTS.iter().map(|(_, signal, amount)| (*signal, *amount)).collect();
        for (name, text) in configured {
            let (signal, amount) = check(name, text)?;
            amounts.insert(signal, amount);
        }
        amounts.retain(|_, amount| !matches!(amount, Amount::Absolute(0) | Amount::Percent(0)));
        Ok(Self(amounts.into_iter().collect()))
    }

    /// What there is too little of, the most urgent first.
    pub fn short(&self, levels: &Levels) -> Vec<Shortage> {
        let short = |(signal, amount): &(Signal, Amount)| {
            let level = *levels.get(signal)?;
            let wanted = amount.of(level.capacity);
            (level.available < wanted).then_some(Shortage { signal: *signal, wanted, level })
        };
        self.0.iter().filter_map(short).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(configured: &[(&str, &str)]) -> Result<Thresholds, String> {
        Thresholds::read(&configured.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect())
    }

    #[test]
    fn too_little_is_below_the_threshold_in_order_of_urgency() {
        let level = |available, capacity| Level { available, capacity };
        let levels = Levels::from([
            (Signal::ImagefsBytes, level(14, 100)),
            (Signal::NodefsBytes, level(10, 100)),
            (Signal::NodefsInodes, level(49, 1000)),
            (Signal::Memory, level(99 << 20, 8 << 30)),
            (Signal::Pids, level(100, 1000)),
        ]);
        let short = read(&[]).unwrap().short(&levels);
        let signals: Vec<_> = short.iter().map(|shortage| shortage.signal).collect();
        assert_eq!(signals, [Signal::Memory, Signal::NodefsInodes, Signal::ImagefsBytes]);
        assert_eq!((short[0].wanted, short[1].wanted), (100 << 20, 50));
        let lax = read(&[("memory.available", "50Mi"), ("imagefs.available", "0%"), ("nodefs.inodesFree", "0")]);
        assert_eq!(lax.unwrap().short(&levels), []);
        assert_eq!(read(&[("pid.available", "101")]).unwrap().short(&levels).last().unwrap().signal, Signal::Pids);
    }

    #[test]
    fn what_is_no_threshold_is_refused_with_what_would_be_one() {
        assert!(read(&[("nodefs.free", "1")]).unwrap_err().contains("nodefs.available"));
        for wrong in ["", "101%", "-1", "x%", "much"] {
            assert!(read(&[("memory.available", wrong)]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn amounts_are_written_as_kubernetes_does() {
        assert_eq!(Signal::Memory.written(100 << 20), "100Mi");
        assert_eq!(Signal::NodefsBytes.written(1025), "1025");
        assert_eq!(Signal::NodefsInodes.written(5000), "5k");
    }
}
