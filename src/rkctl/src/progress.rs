//! How a run of `up` is shown: bars on a terminal, plain lines otherwise, JSON lines for programs.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use provision::{Outcome, Progress, Step, StepResult};

use crate::output::Format;

/// The progress that fits where standard error leads.
pub fn progress(format: Format, steps: &[Step]) -> Box<dyn Progress> {
    match format {
        Format::Json => Box::new(Lines { json: true }),
        Format::Text if std::io::stderr().is_terminal() => Box::new(Bars::new(steps)),
        Format::Text => Box::new(Lines { json: false }),
    }
}

/// One line a step, when it ends.
struct Lines {
    json: bool,
}

impl Progress for Lines {
    fn begin(&self, _step: &Step) {}

    fn end(&self, result: &StepResult) {
        if self.json {
            eprintln!("{}", serde_json::to_string(result).unwrap_or_default());
        } else if let Some(line) = line(result) {
            eprintln!("{line}");
        }
    }
}

/// `cp1: start the control plane: done in 1.2 s`. A failure is told whole at the end; what is skipped follows from it.
fn line(result: &StepResult) -> Option<String> {
    let what = format!("{}: {}", result.step.host, result.step.title);
    match &result.outcome {
        Outcome::Done => Some(format!("{what}: done in {:.1} s", result.elapsed_ms as f64 / 1000.0)),
        Outcome::Failed { cause, .. } => Some(format!("{what}: FAILED: {}", cause.lines().next().unwrap_or_default())),
        Outcome::Skipped { .. } => None,
    }
}

/// A bar a host, with the step it is at.
struct Bars {
    all: MultiProgress,
    hosts: Mutex<BTreeMap<String, ProgressBar>>,
}

/// Often enough to look alive.
const TICK: Duration = Duration::from_millis(100);

impl Bars {
    fn new(steps: &[Step]) -> Self {
        let all = MultiProgress::new();
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for step in steps {
            *counts.entry(&step.host).or_default() += 1;
        }
        let width = counts.keys().map(|host| host.len()).max().unwrap_or_default();
        let template = format!("{{prefix:{width}}} {{bar:20.green}} {{pos:>2}}/{{len:2}} {{wide_msg}}");
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let hosts = counts
            .into_iter()
            .map(|(host, count)| {
                let bar = all.add(ProgressBar::new(count)).with_style(style.clone()).with_prefix(host.to_owned());
                bar.enable_steady_tick(TICK);
                (host.to_owned(), bar)
            })
            .collect();
        Self { all, hosts: Mutex::new(hosts) }
    }

    fn bar(&self, host: &str) -> Option<ProgressBar> {
        self.hosts.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get(host).cloned()
    }
}

impl Progress for Bars {
    fn begin(&self, step: &Step) {
        if let Some(bar) = self.bar(&step.host) {
            bar.set_message(step.title.clone());
        }
    }

    fn end(&self, result: &StepResult) {
        if let Some(bar) = self.bar(&result.step.host) {
            bar.inc(1);
            match &result.outcome {
                Outcome::Done if Some(bar.position()) == bar.length() => bar.finish_with_message("done"),
                Outcome::Done => {}
                Outcome::Failed { .. } => bar.abandon_with_message(format!("FAILED: {}", result.step.title)),
                Outcome::Skipped { cause } => bar.abandon_with_message(format!("stopped: {cause}")),
            }
        }
        if let (Outcome::Failed { .. }, Some(line)) = (&result.outcome, line(result)) {
            // Printing above the bars may fail with the terminal; the summary tells it again.
            let _told = self.all.println(line);
        }
    }
}
