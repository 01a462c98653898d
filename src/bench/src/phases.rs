//! Where the time of a `rkctl up` went: its steps, as they ended one after the other, put together. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::report::Part;

/// Steps shorter than this are not told one by one.
const STEP_TOLD_MS: f64 = 100.0;
/// The order waves run in, with words for people.
const WAVES: [(&str, &str); 4] =
    [("host", "prepare hosts, start the control plane"), ("join", "join"), ("cluster", "addons"), ("leave", "leave")];

/// A step as `rkctl up --output json` tells of it on standard error.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The host it was done on.
    pub host: String,
    /// Which wave it was part of.
    pub wave: String,
    /// What it did.
    pub title: String,
    /// How long it took.
    pub elapsed_ms: f64,
}

/// A step with the moment it ended, from the start of the program.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// What ended.
    pub step: Step,
    /// When.
    pub at_ms: f64,
}

impl Ended {
    /// Reads a line of standard error; `None` where it tells of something else.
    pub fn parse(line: &str, at_ms: f64) -> Option<Self> {
        Some(Self { step: serde_json::from_str(line).ok()?, at_ms })
    }

    fn began_ms(&self) -> f64 {
        self.at_ms - self.step.elapsed_ms
    }
}

/// The run's parts in order: looking before, each wave with the steps of the host that ended last, looking after.
pub fn parts(steps: &[Ended], total_ms: f64) -> Vec<Part> {
    let part = |label: String, elapsed_ms: f64| Part { label, elapsed_ms: elapsed_ms.max(0.0) };
    let Some(first) = steps.iter().map(Ended::began_ms).min_by(f64::total_cmp) else {
        return vec![part("connect, look, plan".to_owned(), total_ms)];
    };
    let mut parts = vec![part("connect, look, plan".to_owned(), first)];
    let mut before = first;
    for (wave, words) in WAVES {
        let of_wave: Vec<&Ended> = steps.iter().filter(|ended| ended.step.wave == wave).collect();
        let Some(last) = of_wave.iter().max_by(|a, b| a.at_ms.total_cmp(&b.at_ms)) else { continue };
        let host = &last.step.host;
        parts.push(part(format!("{words}; {host} took longest"), last.at_ms - before));
        before = last.at_ms;
        let mut own: Vec<&Ended> = of_wave.into_iter().filter(|ended| ended.step.host == *host).collect();
        own.sort_by(|a, b| a.at_ms.total_cmp(&b.at_ms));
        let (told, short): (Vec<&Ended>, Vec<&Ended>) =
            own.into_iter().partition(|ended| ended.step.elapsed_ms >= STEP_TOLD_MS);
        parts.extend(told.iter().map(|ended| part(format!("  {}", ended.step.title), ended.step.elapsed_ms)));
        if !short.is_empty() {
            let sum = short.iter().map(|ended| ended.step.elapsed_ms).sum();
            parts.push(part(format!("  {} shorter steps together", short.len()), sum));
        }
    }
    parts.push(part("look again, kubeconfig".to_owned(), total_ms - before));
    parts
}

/// The longest of the steps with this title over all hosts.
pub fn longest<'a>(steps: &'a [Ended], title_begins: &str) -> Option<&'a Ended> {
    let fitting = steps.iter().filter(|ended| ended.step.title.starts_with(title_begins));
    fitting.max_by(|a, b| a.step.elapsed_ms.total_cmp(&b.step.elapsed_ms))
}

/// How many steps each host had, for a sentence.
pub fn counts(steps: &[Ended]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for ended in steps {
        *counts.entry(&ended.step.host).or_default() += 1;
    }
    counts.iter().map(|(host, count)| format!("{host} {count}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(host: &str, wave: &str, title: &str, from_ms: f64, to_ms: f64) -> Ended {
        let (host, wave, title) = (host.to_owned(), wave.to_owned(), title.to_owned());
        Ended { step: Step { host, wave, title, elapsed_ms: to_ms - from_ms }, at_ms: to_ms }
    }

    #[test]
    fn a_line_of_progress_is_read_and_others_are_passed_over() {
        let line = r#"{"host":"w1","id":"binary","wave":"host","title":"copy rkctl 0.1.0","reason":"it is missing","after":"sha256 x","outcome":"done","elapsedMs":812}"#;
        let read = Ended::parse(line, 1500.0).unwrap();
        assert_eq!(read, ended("w1", "host", "copy rkctl 0.1.0", 688.0, 1500.0));
        assert_eq!(Ended::parse("w1: note: no swap", 1.0), None);
        assert_eq!(Ended::parse("{}", 1.0), None);
    }

    #[test]
    fn parts_follow_the_host_that_each_wave_waited_for() {
        let steps = [
            ended("w1", "host", "copy", 500.0, 2500.0),
            ended("w1", "host", "link", 2500.0, 2520.0),
            ended("cp1", "host", "copy", 500.0, 2400.0),
            ended("cp1", "host", "start the control plane", 2400.0, 3000.0),
            ended("w1", "join", "node", 3000.0, 5000.0),
            ended("cp1", "cluster", "wait", 5100.0, 9000.0),
        ];
        let told: Vec<(String, f64)> =
            parts(&steps, 9500.0).into_iter().map(|part| (part.label, part.elapsed_ms)).collect();
        let expected = [
            ("connect, look, plan", 500.0),
            ("prepare hosts, start the control plane; cp1 took longest", 2500.0),
            ("  copy", 1900.0),
            ("  start the control plane", 600.0),
            ("join; w1 took longest", 2000.0),
            ("  node", 2000.0),
            ("addons; cp1 took longest", 4000.0),
            ("  wait", 3900.0),
            ("look again, kubeconfig", 500.0),
        ];
        assert_eq!(told, expected.map(|(label, elapsed_ms)| (label.to_owned(), elapsed_ms)));
        assert_eq!(longest(&steps, "copy").unwrap().step.host, "w1");
        assert_eq!(counts(&steps), "cp1 3, w1 3");
    }

    #[test]
    fn short_steps_are_summed_and_a_run_without_steps_is_all_looking() {
        let steps = [ended("a", "host", "x", 0.0, 40.0), ended("a", "host", "y", 40.0, 90.0)];
        assert!(parts(&steps, 100.0).contains(&Part { label: "  2 shorter steps together".into(), elapsed_ms: 90.0 }));
        assert_eq!(parts(&[], 700.0), [Part { label: "connect, look, plan".into(), elapsed_ms: 700.0 }]);
    }
}
