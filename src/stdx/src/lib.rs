//! Small things every level uses: time, retry delays, error text, PEM.
//!
//! Pure: no tokio, no I/O, no Kubernetes. What is needed by one crate only lives in that crate.

pub mod backoff;
pub mod clock;
pub mod error;
pub mod pem;
