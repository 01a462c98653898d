//! What is counted of authentication, under kube-apiserver's names: how many requests were somebody's, and how long it
//! took to find out.

use std::time::Duration;

use crate::figures::{Counter, Histogram};
use crate::plugin::Unknown;
use crate::request::User;

/// Upper bounds in seconds, each twice the one before.
const BOUNDS_S: [f64; 15] =
    [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384];

/// The figures.
#[derive(Debug)]
pub struct Figures {
    attempts: Counter,
    durations: Histogram,
    users: Counter,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            attempts: Counter::new("authentication_attempts", "Requests by whether it was found out whose they are."),
            durations: Histogram::new(
                "authentication_duration_seconds",
                "How long it took to find out whose a request is.",
                &BOUNDS_S,
            ),
            users: Counter::new("authenticated_user_requests", "Requests that are somebody's, by kind of user."),
        }
    }
}

impl Figures {
    /// It was found out whose a request is, or that it is nobody's.
    pub fn judged(&self, found: &Result<User, Unknown>, took: Duration) {
        let labels = match found {
            Ok(user) => {
                self.users.add(label_of(&user.name));
                "result=\"success\""
            }
            Err(Unknown::NoCredentials) => "result=\"failure\"",
            Err(Unknown::WrongCredentials) => "result=\"error\"",
        };
        self.attempts.add(labels);
        self.durations.observe(labels, took);
    }

    /// Adds everything as text.
    pub fn render(&self, out: &mut String) {
        self.attempts.render(out);
        self.durations.render(out);
        self.users.render(out);
    }
}

/// A few users are told by their names; of others nobody learns here who they are.
fn label_of(name: &str) -> &'static str {
    match name {
        "admin" => "username=\"admin\"",
        "client" => "username=\"client\"",
        "kube_proxy" => "username=\"kube_proxy\"",
        "kubelet" => "username=\"kubelet\"",
        "system:serviceaccount:kube-system:default" => "username=\"system:serviceaccount:kube-system:default\"",
        name if name.contains('@') => "username=\"email_id\"",
        _ => "username=\"other\"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_what_became_of_them_and_not_by_name() {
        let figures = Figures::default();
        for name in ["ann@example.com", "system:node:w1", "admin", "system:anonymous"] {
            figures.judged(&Ok(User::new(name, &[])), Duration::from_millis(3));
        }
        figures.judged(&Err(Unknown::NoCredentials), Duration::ZERO);
        figures.judged(&Err(Unknown::WrongCredentials), Duration::ZERO);
        let mut text = String::new();
        figures.render(&mut text);
        for line in [
            "authentication_attempts{result=\"success\"} 4",
            "authentication_attempts{result=\"failure\"} 1",
            "authentication_attempts{result=\"error\"} 1",
            "authentication_duration_seconds_bucket{result=\"success\",le=\"0.002\"} 0",
            "authentication_duration_seconds_bucket{result=\"success\",le=\"0.004\"} 4",
            "authenticated_user_requests{username=\"email_id\"} 1",
            "authenticated_user_requests{username=\"admin\"} 1",
            "authenticated_user_requests{username=\"other\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
