//! The real server on a temporary store, driven over TLS by raw requests, by kube-rs and by the real kubectl.

mod aggregation;
mod custom;
mod defaults;
mod details;
mod fairness;
mod kube_runtime;
mod kubectl;
mod limits;
#[allow(dead_code, reason = "the store's own tests use all of it")]
#[path = "../../../store/tests/suite/member.rs"]
mod member;
mod ownership;
mod protobuf;
mod raw;
mod reference;
mod rules;
mod runtime;
mod scales;
mod shared;
mod streams;
mod support;
mod unread;
mod watches;
mod writes;
