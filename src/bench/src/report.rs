//! What a figure says and how it is printed: a table for people, JSON for programs.

use serde::Serialize;

use crate::stats::Samples;

/// What a value must be to be good enough.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
}

impl Target {
    /// Whether `value` is good enough.
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }

    fn text(self, unit: &str) -> String {
        let (sign, limit) = match self {
            Self::AtMost(limit) => ("<=", limit),
            Self::AtLeast(limit) => (">=", limit),
        };
        format!("{sign} {}", with_unit(limit, unit))
    }
}

/// One value with what it is judged by.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// What was measured.
    pub label: String,
    /// In `unit`.
    pub value: f64,
    /// `ms`, `s`, `MB`, `%`, `/s`, `x`.
    pub unit: &'static str,
    /// `None` where the value is told for comparison only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Whether the target is met; `None` without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub met: Option<bool>,
    /// The rest of what the samples say, in a few words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Every sample in `unit`, ascending, where there are few.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<f64>,
}

/// Latencies of a load are too many to print.
const SAMPLES_PRINTED_LIMIT: usize = 100;

impl Row {
    /// A value for comparison only.
    pub fn new(label: impl Into<String>, value: f64, unit: &'static str) -> Self {
        let label = label.into();
        Self { label, value, unit, target: None, met: None, detail: String::new(), samples: Vec::new() }
    }

    /// The median of samples, with smallest and largest.
    pub fn median(label: impl Into<String>, samples: &Samples, unit: &'static str) -> Self {
        let row = Self::new(label, samples.median(), unit).with_samples(samples);
        let few = samples.count();
        if few == 1 {
            return row.detail("one run");
        }
        let (min, max) = (with_unit(samples.min(), unit), with_unit(samples.max(), unit));
        row.detail(format!("median of {few}; min {min}, max {max}"))
    }

    /// Judged by a target.
    pub fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self.met = Some(target.is_met(self.value));
        self
    }

    /// With more words.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// With every sample.
    pub fn with_samples(mut self, samples: &Samples) -> Self {
        if samples.count() <= SAMPLES_PRINTED_LIMIT {
            self.samples = samples.values().to_vec();
        }
        self
    }
}

/// A share of a value: how long which part of it took.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// Which part; begins with blanks where it is part of the one before.
    pub label: String,
    /// How long it took.
    pub elapsed_ms: f64,
}

/// What was measured of one figure.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// How it was taken.
    pub how: String,
    /// What it says.
    pub rows: Vec<Row>,
    /// Where the time went.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

/// One figure of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its name, as `--only` takes it.
    pub name: &'static str,
    /// Load average of the last minute when it was begun.
    pub load_average: f64,
    /// How long taking it took, in seconds.
    pub elapsed_s: f64,
    /// What was measured.
    #[serde(flatten)]
    pub measured: Measured,
    /// Why it could not be taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `6.1.0-32-amd64, 2 cores`.
    pub machine: String,
    /// What `rkctl version` says.
    pub version: String,
    /// Whether fewer rounds were run.
    pub quick: bool,
    /// The figures, in the order they were taken.
    pub figures: Vec<Entry>,
}

impl Report {
    /// Whether every figure could be taken, whatever it says.
    pub fn is_complete(&self) -> bool {
        self.figures.iter().all(|figure| figure.error.is_none())
    }

    /// For people: a table of all values, then how each was taken.
    pub fn text(&self) -> String {
        let quick = if self.quick { ", quick" } else { "" };
        let mut text = format!("{} on {}{quick}\n\n", self.version, self.machine);
        let mut rows = Vec::new();
        for figure in &self.figures {
            let cells = figure.measured.rows.iter().map(|row| {
                let target = row.target.map_or(String::new(), |target| target.text(row.unit));
                let met = row.met.map_or("", |met| if met { "yes" } else { "NO" });
                [row.label.clone(), with_unit(row.value, row.unit), target, met.to_owned(), row.detail.clone()]
            });
            let failed = figure.error.iter().map(|_| ["not taken", "", "", "NO", "see below"].map(str::to_owned));
            for (index, cells) in cells.chain(failed).enumerate() {
                let name = if index == 0 { figure.name.to_owned() } else { String::new() };
                rows.push(std::iter::once(name).chain(cells).collect());
            }
        }
        text.push_str(&table(&["FIGURE", "", "VALUE", "TARGET", "MET", ""], &rows));
        for figure in &self.figures {
            let Entry { name, load_average, elapsed_s, measured, error } = figure;
            text.push_str(&format!("\n{name} (load average {load_average:.2}, took {elapsed_s:.0} s)\n"));
            if !measured.how.is_empty() {
                text.push_str(&format!("  {}\n", measured.how));
            }
            for part in &measured.parts {
                text.push_str(&format!("  {:>9.0} ms  {}\n", part.elapsed_ms, part.label));
            }
            if let Some(error) = error {
                text.push_str(&format!("  NOT TAKEN: {error}\n"));
            }
        }
        text
    }
}

/// A number with as many places as it deserves, and its unit.
fn with_unit(value: f64, unit: &str) -> String {
    let places = match value.abs() {
        size if size >= 100.0 || size.fract() == 0.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    match unit {
        "" => format!("{value:.places$}"),
        "%" | "x" => format!("{value:.places$}{unit}"),
        _ => format!("{value:.places$} {unit}"),
    }
}

/// Columns padded to their widest cell, two blanks between.
fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let lines = || std::iter::once(&head).chain(rows);
    let width =
        |column: usize| lines().filter_map(|row| Some(row.get(column)?.chars().count())).max().unwrap_or_default();
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut text = String::new();
    for row in lines() {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_limits_from_one_side_and_hold_at_the_limit() {
        for (target, value, met) in [
            (Target::AtMost(40.0), 40.0, true),
            (Target::AtMost(40.0), 40.1, false),
            (Target::AtLeast(1.0), 1.0, true),
            (Target::AtLeast(1.0), 0.99, false),
        ] {
            assert_eq!(target.is_met(value), met, "{target:?} {value}");
            assert_eq!(Row::new("x", value, "s").target(target).met, Some(met));
        }
        assert_eq!(Row::new("x", 1.0, "s").met, None);
    }

    #[test]
    fn numbers_have_the_places_they_deserve() {
        for (value, unit, text) in [
            (41.0, "MB", "41 MB"),
            (41.25, "MB", "41.2 MB"),
            (812.6, "ms", "813 ms"),
            (1.234, "x", "1.23x"),
            (0.0, "%", "0%"),
            (3.456, "", "3.46"),
        ] {
            assert_eq!(with_unit(value, unit), text);
        }
    }

    #[test]
    fn the_table_says_what_is_met_and_what_could_not_be_taken() {
        let row = Row::new("stripped", 41.0, "MB").target(Target::AtMost(40.0));
        let entry = |name, rows, error: Option<&str>| Entry {
            name,
            load_average: 0.5,
            elapsed_s: 2.0,
            measured: Measured { how: "by looking".into(), rows, parts: vec![] },
            error: error.map(str::to_owned),
        };
        let report = Report {
            machine: "m".into(),
            version: "rkctl 1".into(),
            quick: true,
            figures: vec![entry("size", vec![row], None), entry("store", vec![], Some("etcd is missing"))],
        };
        let text = report.text();
        assert!(text.starts_with("rkctl 1 on m, quick\n\nFIGURE"), "{text}");
        assert!(text.contains("size    stripped   41 MB  <= 40 MB  NO\n"), "{text}");
        assert!(text.contains("store   not taken                   NO   see below\n"), "{text}");
        assert!(text.ends_with("  by looking\n  NOT TAKEN: etcd is missing\n"), "{text}");
        assert!(!report.is_complete());
    }

    #[test]
    fn programs_read_targets_and_samples() {
        let samples = Samples::new([2.0, 1.0]).unwrap();
        let row = Row::median("start", &samples, "ms").target(Target::AtMost(300.0));
        let json = serde_json::to_value(row).unwrap();
        assert_eq!(json["target"]["atMost"], 300.0);
        assert_eq!((&json["met"], &json["samples"][1]), (&true.into(), &2.0.into()));
        assert_eq!(json["detail"], "median of 2; min 1 ms, max 2 ms");
    }
}
