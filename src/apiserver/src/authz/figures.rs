//! What is counted of webhooks that authorize, under kube-apiserver's names. Their names come from the operator's file.

use std::time::Duration;

use crate::figures::{Counter, Histogram};

/// Prometheus' usual bounds, in seconds.
const BOUNDS_S: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How a question to a webhook ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has said something.
    Answered,
    /// It has not answered in time.
    TimedOut,
    /// It could not be asked, or has said what makes no sense.
    Failed,
}

impl Outcome {
    fn text(self) -> &'static str {
        match self {
            Self::Answered => "success",
            Self::TimedOut => "timeout",
            Self::Failed => "error",
        }
    }
}

/// The figures.
#[derive(Debug)]
pub struct Figures {
    evaluations: Counter,
    durations: Histogram,
    failed_open: Counter,
    excluded: Counter,
    unjudged: Counter,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            evaluations: Counter::new(
                "apiserver_authorization_webhook_evaluations_total",
                "Questions to webhooks that authorize.",
            ),
            durations: Histogram::new(
                "apiserver_authorization_webhook_duration_seconds",
                "How long webhooks that authorize took.",
                &BOUNDS_S,
            ),
            failed_open: Counter::new(
                "apiserver_authorization_webhook_evaluations_fail_open_total",
                "Questions without an answer after which others were asked.",
            ),
            excluded: Counter::new(
                "apiserver_authorization_match_condition_exclusions_total",
                "Requests that a webhook was not asked about because of its matchConditions.",
            ),
            unjudged: Counter::new(
                "apiserver_authorization_match_condition_evaluation_errors_total",
                "matchConditions of webhooks that authorize that could not be evaluated.",
            ),
        }
    }
}

impl Figures {
    /// A webhook was asked. With `fails_open` others are asked where it did not answer.
    pub fn asked(&self, name: &str, outcome: Outcome, took: Duration, fails_open: bool) {
        let labels = format!("name={name:?},result={:?}", outcome.text());
        self.evaluations.add(labels.clone());
        if fails_open && outcome != Outcome::Answered {
            self.failed_open.add(labels.clone());
        }
        self.durations.observe(labels, took);
    }

    /// The webhook's conditions do not hold.
    pub fn excluded(&self, name: &str) {
        self.excluded.add(format!("name={name:?},type=\"Webhook\""));
    }

    /// The webhook's conditions could not be evaluated.
    pub fn unjudged(&self, name: &str) {
        self.unjudged.add(format!("name={name:?},type=\"Webhook\""));
    }

    /// Adds everything as text.
    pub fn render(&self, out: &mut String) {
        for counter in [&self.evaluations, &self.failed_open, &self.excluded, &self.unjudged] {
            counter.render(out);
        }
        self.durations.render(out);
    }
}
