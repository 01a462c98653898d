//! Sessions on other machines over SSH: connecting, host keys, authentication, running commands,
//! moving files, forwarding ports, sudo.
//!
//! Everything here is mechanism. What is run on a host, and why, never lives here. The cryptography is
//! aws-lc's through russh; there is no OpenSSH client behind it, but the files a user of OpenSSH has
//! (`~/.ssh/config`, `known_hosts`, keys, an agent) are read with OpenSSH's meaning.

mod auth;
mod become_root;
pub mod command;
pub mod config;
mod connect;
mod error;
mod forward;
pub mod host_key;
pub mod known_hosts;
mod process;
pub mod quote;
mod remote;
pub mod resolve;
mod secret;
mod session;
mod target;
mod transfer;

pub use become_root::Become;
pub use command::{Command, Output, Status};
pub use config::ClientConfig;
pub use connect::connect;
pub use error::Error;
pub use forward::Forward;
pub use host_key::{HostKeyError, HostKeyPin, HostKeyPolicy};
pub use known_hosts::KnownHosts;
pub use process::{Event, Process};
pub use quote::quote;
pub use remote::Remote;
pub use secret::{Secret, SecretSource};
pub use session::Session;
pub use target::{Auth, KeyFile, Target, Timeouts};
pub use transfer::{Content, Upload};
