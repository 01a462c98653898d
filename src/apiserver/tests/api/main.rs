//! The real server on a temporary store, driven over TLS by raw requests, by kube-rs and by the real kubectl.

mod defaults;
mod kubectl;
mod ownership;
mod raw;
mod runtime;
mod scales;
mod streams;
mod support;
mod watches;
mod writes;
