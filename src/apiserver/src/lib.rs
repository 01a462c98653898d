//! The Kubernetes API server: the only crate that imports `store`.
//!
//! A request comes in over TLS or in-process, is authenticated, understood ([`request`]), authorized, and served by
//! discovery, the generic REST operations or a tunnel. What depends on policy comes in through [`plugin`]; [`policy`]
//! is Kubernetes' own.

mod accept;
pub mod admission;
mod aggregate;
mod answer;
pub mod audit;
pub mod authn;
pub mod authz;
mod body;
mod bootstrap;
pub mod cache;
pub mod components;
pub mod config;
mod convert;
mod custom;
pub mod decoders;
mod discovery;
pub mod encryption;
pub mod error;
mod figures;
mod flight;
mod flow;
mod follow;
mod handler;
mod health;
mod live;
mod local;
mod metrics;
mod openapi;
pub mod plugin;
pub mod policy;
mod processor;
mod recent;
pub mod request;
mod reread;
mod rest;
pub mod served;
mod server;
mod services;
mod state;
pub mod status;
pub mod storage;
mod stream;
mod tls;
mod type_checking;
pub mod version;
pub mod webhook;

pub use config::Config;
pub use error::Error;
pub use plugin::Plugins;
pub use server::Server;
