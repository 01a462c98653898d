//! Figures of admission webhooks, under kube-apiserver's names. Series are made by configurations alone.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Upper bounds of the latency buckets in seconds.
const BUCKETS_S: [f64; 8] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];
/// Codes beyond this are counted as this, so that no webhook makes series at will.
const CODE_MAX: u16 = 600;

/// Which webhooks are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Those that change objects.
    Admit,
    /// Those that check them.
    Validate,
}

impl Step {
    fn text(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Validate => "validating",
        }
    }
}

/// A call of a webhook.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// `deny.example.com`
    pub name: &'a str,
    /// Which webhooks are asked.
    pub step: Step,
    /// `CREATE`
    pub operation: &'static str,
}

/// Latencies by labels: how many were within each bucket, how many there were, and their sum in seconds.
type Histograms = BTreeMap<String, ([u64; BUCKETS_S.len()], u64, f64)>;

#[derive(Debug, Default)]
struct Counted {
    durations: Histograms,
    /// By name of the figure, then by labels.
    counters: BTreeMap<&'static str, BTreeMap<String, u64>>,
}

/// The figures.
#[derive(Debug, Default)]
pub struct Figures(Mutex<Counted>);

const REQUESTS: &str = "apiserver_admission_webhook_request_total";
const REJECTIONS: &str = "apiserver_admission_webhook_rejection_count";
const FAIL_OPEN: &str = "apiserver_admission_webhook_fail_open_count";
const EXCLUSIONS: &str = "apiserver_admission_match_condition_exclusions_total";
const UNJUDGED: &str = "apiserver_admission_match_condition_evaluation_errors_total";
const HELP: [(&str, &str); 5] = [
    (EXCLUSIONS, "Requests that a webhook was not asked about because of its matchConditions."),
    (FAIL_OPEN, "Calls that failed and let the request pass, as failurePolicy says."),
    (REJECTIONS, "Requests that were refused by a webhook, or because it could not be asked."),
    (REQUESTS, "Calls of admission webhooks."),
    (UNJUDGED, "matchConditions that could not be evaluated."),
];

impl Figures {
    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The webhook let the request pass.
    pub fn answered(&self, call: &Call<'_>, took: Duration) {
        self.called(call, took, 200, false);
    }

    /// The webhook refused the request.
    pub fn refused(&self, call: &Call<'_>, took: Duration, code: u16) {
        self.called(call, took, code, true);
        self.rejected(call, "no_error", code);
    }

    /// The webhook did not answer as it should.
    pub fn failed(&self, call: &Call<'_>, took: Duration, code: u16, is_ignored: bool) {
        self.called(call, took, code, !is_ignored);
        match is_ignored {
            true => self.lock().add(FAIL_OPEN, format!("name={:?},type={:?}", call.name, call.step.text())),
            false => self.rejected(call, "calling_webhook_error", code),
        }
    }

    /// The request was refused without asking.
    pub fn internal_error(&self, call: &Call<'_>, took: Duration) {
        self.called(call, took, 0, true);
        self.rejected(call, "apiserver_internal_error", 0);
    }

    /// The webhook's conditions do not hold.
    pub fn excluded(&self, name: &str, step: Step, operation: &str) {
        self.lock().add(EXCLUSIONS, of_condition(name, step, operation));
    }

    /// The webhook's conditions could not be evaluated.
    pub fn unjudged(&self, name: &str, step: Step, operation: &str) {
        self.lock().add(UNJUDGED, of_condition(name, step, operation));
    }

    fn called(&self, call: &Call<'_>, took: Duration, code: u16, is_rejected: bool) {
        let Call { name, step, operation } = call;
        let (step, code) = (step.text(), code.min(CODE_MAX));
        let mut counted = self.lock();
        let labels =
            format!("code=\"{code}\",name={name:?},operation={operation:?},rejected=\"{is_rejected}\",type={step:?}");
        counted.add(REQUESTS, labels);
        let labels = format!("name={name:?},operation={operation:?},rejected=\"{is_rejected}\",type={step:?}");
        let (buckets, count, sum_s) = counted.durations.entry(labels).or_default();
        let seconds = took.as_secs_f64();
        for (bucket, bound) in buckets.iter_mut().zip(BUCKETS_S) {
            *bucket += u64::from(seconds <= bound);
        }
        *count += 1;
        *sum_s += seconds;
    }

    fn rejected(&self, call: &Call<'_>, error: &str, code: u16) {
        let Call { name, step, operation } = call;
        let (step, code) = (step.text(), code.min(CODE_MAX));
        let labels = format!(
            "error_type={error:?},name={name:?},operation={operation:?},rejection_code=\"{code}\",type={step:?}"
        );
        self.lock().add(REJECTIONS, labels);
    }

    /// Adds everything as text.
    pub fn render(&self, out: &mut String) {
        let counted = self.lock();
        for (name, help) in HELP {
            let Some(series) = counted.counters.get(name) else { continue };
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
            for (labels, count) in series {
                let _ = writeln!(out, "{name}{{{labels}}} {count}");
            }
        }
        if counted.durations.is_empty() {
            return;
        }
        let name = "apiserver_admission_webhook_admission_duration_seconds";
        let _ = writeln!(out, "# HELP {name} How long admission webhooks took.\n# TYPE {name} histogram");
        for (labels, (buckets, count, sum_s)) in &counted.durations {
            for (bound, within) in BUCKETS_S.iter().zip(buckets) {
                let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {within}");
            }
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
            let _ = writeln!(out, "{name}_sum{{{labels}}} {sum_s}");
            let _ = writeln!(out, "{name}_count{{{labels}}} {count}");
        }
    }
}

fn of_condition(name: &str, step: Step, operation: &str) -> String {
    format!("kind=\"webhook\",name={name:?},operation={operation:?},type={:?}", step.text())
}

impl Counted {
    fn add(&mut self, figure: &'static str, labels: String) {
        *self.counters.entry(figure).or_default().entry(labels).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_as_kubernetes_names_them() {
        let figures = Figures::default();
        let mut nothing = String::new();
        figures.render(&mut nothing);
        assert_eq!(nothing, "");
        let call = Call { name: "a.b.c", step: Step::Validate, operation: "CREATE" };
        figures.answered(&call, Duration::from_millis(30));
        figures.refused(&call, Duration::from_millis(3), 403);
        figures.failed(&Call { step: Step::Admit, ..call }, Duration::from_secs(1), 503, true);
        figures.failed(&call, Duration::from_secs(11), 9999, false);
        figures.excluded("a.b.c", Step::Admit, "CREATE");
        let mut text = String::new();
        figures.render(&mut text);
        for line in [
            "webhook_request_total{code=\"200\",name=\"a.b.c\",operation=\"CREATE\",rejected=\"false\",type=\"validating\"} 1",
            "webhook_rejection_count{error_type=\"no_error\",name=\"a.b.c\",operation=\"CREATE\",rejection_code=\"403\",type=\"validating\"} 1",
            "webhook_rejection_count{error_type=\"calling_webhook_error\",name=\"a.b.c\",operation=\"CREATE\",rejection_code=\"600\",type=\"validating\"} 1",
            "webhook_fail_open_count{name=\"a.b.c\",type=\"admit\"} 1",
            "webhook_admission_duration_seconds_bucket{name=\"a.b.c\",operation=\"CREATE\",rejected=\"false\",type=\"validating\",le=\"0.1\"} 1",
            "match_condition_exclusions_total{kind=\"webhook\",name=\"a.b.c\",operation=\"CREATE\",type=\"admit\"} 1",
        ] {
            assert!(text.contains(&format!("apiserver_admission_{line}\n")), "{line}\n{text}");
        }
    }
}
