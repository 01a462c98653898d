//! What the authorizer has said, for evaluations that cannot wait for it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use cel::{Attributes, Authorizer, Decision};

/// Answers of the authorizer to the questions of one request's expressions.
#[derive(Debug, Default)]
pub struct Answers(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    known: Vec<(Attributes, Decision)>,
    open: Vec<Attributes>,
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the questions that were asked and have no answer. Where there are any, what was evaluated counts for
    /// nothing.
    pub fn take_open(&self) -> Vec<Attributes> {
        std::mem::take(&mut self.lock().open)
    }

    /// Adds an answer.
    pub fn add(&self, question: Attributes, answer: Decision) {
        self.lock().known.push((question, answer));
    }
}

impl Authorizer for Answers {
    fn authorize(&self, attributes: &Attributes) -> Decision {
        let mut inner = self.lock();
        if let Some((_, decision)) = inner.known.iter().find(|(known, _)| known == attributes) {
            return decision.clone();
        }
        if !inner.open.contains(attributes) {
            inner.open.push(attributes.clone());
        }
        Decision::default()
    }
}
