//! An agent's figures, and the rates between two of them. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

/// Two readings closer than this give no rate worth showing.
const MIN_WINDOW: Duration = Duration::from_secs(1);

/// What was used up to a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Used {
    /// Processor time since the start, in seconds.
    pub cpu_seconds: f64,
    /// Working set, in bytes.
    pub memory_bytes: u64,
}

/// Namespace, pod, container.
pub type ContainerKey = (String, String, String);

/// One reading of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// When it was taken.
    pub at: Timestamp,
    /// The whole node.
    pub node: Used,
    /// Each container.
    pub containers: BTreeMap<ContainerKey, Used>,
}

/// What is used per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// In billionths of a core.
    pub cpu_nanocores: u64,
    /// Working set, in bytes.
    pub memory_bytes: u64,
}

/// A container and what it uses.
pub type ContainerUsage = (ContainerKey, Usage);

/// What a node used between two readings.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeUsage {
    /// The later reading.
    pub at: Timestamp,
    /// How long it was.
    pub window: Duration,
    /// The whole node.
    pub node: Usage,
    /// Containers that are in both readings; one that was restarted in between has no rate yet.
    pub containers: Vec<ContainerUsage>,
}

impl Reading {
    /// Reads the Prometheus text that an agent serves at `/metrics/resource`. Lines of other metrics are passed over.
    pub fn parse(text: &str, at: Timestamp) -> Self {
        let mut reading = Self { at, node: Used::default(), containers: BTreeMap::new() };
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some(sample) = Sample::parse(line) else { continue };
            let container = || {
                let label = |name| sample.label(name).map(str::to_string);
                Some((label("namespace")?, label("pod")?, label("container")?))
            };
            match sample.name {
                "node_cpu_usage_seconds_total" => reading.node.cpu_seconds = sample.value,
                "node_memory_working_set_bytes" => reading.node.memory_bytes = bytes(sample.value),
                "container_cpu_usage_seconds_total" => {
                    if let Some(key) = container() {
                        reading.containers.entry(key).or_default().cpu_seconds = sample.value;
                    }
                }
                "container_memory_working_set_bytes" => {
                    if let Some(key) = container() {
                        reading.containers.entry(key).or_default().memory_bytes = bytes(sample.value);
                    }
                }
                _ => {}
            }
        }
        reading
    }

    /// What was used since `earlier`; `None` where the readings are too close or the node was started anew.
    pub fn since(&self, earlier: &Self) -> Option<NodeUsage> {
        let window =
            Duration::try_from(self.at.duration_since(earlier.at)).ok().filter(|window| *window >= MIN_WINDOW)?;
        let node = usage(self.node, earlier.node, window)?;
        let containers = self.containers.iter().filter_map(|(key, now)| {
            let before = earlier.containers.get(key)?;
            Some((key.clone(), usage(*now, *before, window)?))
        });
        Some(NodeUsage { at: self.at, window, node, containers: containers.collect() })
    }
}

fn usage(now: Used, before: Used, window: Duration) -> Option<Usage> {
    let spent_seconds = now.cpu_seconds - before.cpu_seconds;
    if spent_seconds < 0.0 {
        return None;
    }
    let cpu_nanocores = (spent_seconds / window.as_secs_f64() * 1e9).round() as u64;
    Some(Usage { cpu_nanocores, memory_bytes: now.memory_bytes })
}

fn bytes(value: f64) -> u64 {
    if value.is_finite() && value > 0.0 { value as u64 } else { 0 }
}

/// A line of the Prometheus text format: `name{label="value",…} number [milliseconds]`.
struct Sample<'a> {
    name: &'a str,
    labels: Vec<(&'a str, &'a str)>,
    value: f64,
}

impl<'a> Sample<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (head, tail) = match line.split_once('{') {
            Some((name, rest)) => {
                let (labels, value) = rest.rsplit_once('}')?;
                ((name, labels), value)
            }
            None => {
                let (name, value) = line.split_once(' ')?;
                ((name, ""), value)
            }
        };
        let value = tail.split_whitespace().next()?.parse().ok()?;
        let mut labels = Vec::new();
        let mut rest = head.1;
        // The names of namespaces, pods and containers hold nothing that would have to be escaped.
        while let Some((name, behind)) = rest.split_once("=\"") {
            let (value, next) = behind.split_once('"')?;
            labels.push((name.trim_start_matches(',').trim(), value));
            rest = next;
        }
        Some(Self { name: head.0.trim(), labels, value })
    }

    fn label(&self, name: &str) -> Option<&'a str> {
        self.labels.iter().find(|(found, _)| *found == name).map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP node_cpu_usage_seconds_total x\n# TYPE node_cpu_usage_seconds_total counter\n\
        node_cpu_usage_seconds_total 100.5 1700000000000\nnode_memory_working_set_bytes 1.048576e+06\n\
        container_cpu_usage_seconds_total{container=\"web\",namespace=\"default\",pod=\"web-1\"} 2.5\n\
        container_memory_working_set_bytes{container=\"web\",namespace=\"default\",pod=\"web-1\"} 2048\n\
        pod_cpu_usage_seconds_total{namespace=\"default\",pod=\"web-1\"} 2.6\nbroken{ 1\n";

    fn key() -> ContainerKey {
        ("default".into(), "web-1".into(), "web".into())
    }

    #[test]
    fn the_text_of_an_agent_is_read() {
        let reading = Reading::parse(TEXT, Timestamp::UNIX_EPOCH);
        assert_eq!(reading.node, Used { cpu_seconds: 100.5, memory_bytes: 1 << 20 });
        assert_eq!(reading.containers, [(key(), Used { cpu_seconds: 2.5, memory_bytes: 2048 })].into());
    }

    #[test]
    fn rates_are_per_second_of_the_window() {
        let first = Reading::parse(TEXT, Timestamp::UNIX_EPOCH);
        let mut second = Reading { at: Timestamp::from_second(10).unwrap(), ..first.clone() };
        second.node.cpu_seconds += 5.0;
        second.containers.get_mut(&key()).unwrap().cpu_seconds += 0.1;
        let usage = second.since(&first).unwrap();
        assert_eq!(usage.window, Duration::from_secs(10));
        assert_eq!(usage.node.cpu_nanocores, 500_000_000);
        assert_eq!(usage.containers, [(key(), Usage { cpu_nanocores: 10_000_000, memory_bytes: 2048 })]);
    }

    #[test]
    fn a_restart_gives_no_rate() {
        let first = Reading::parse(TEXT, Timestamp::UNIX_EPOCH);
        let mut second = Reading { at: Timestamp::from_second(10).unwrap(), ..first.clone() };
        second.containers.get_mut(&key()).unwrap().cpu_seconds = 0.0;
        assert_eq!(second.since(&first).unwrap().containers, []);
        second.node.cpu_seconds = 0.0;
        assert_eq!(second.since(&first), None);
        assert_eq!(first.since(&first), None, "no window");
    }
}
