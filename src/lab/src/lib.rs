//! Hosts made on this machine: each with a real systemd, a real sshd and a network of its own, for users who
//! want to try rkctl and for tests that need hosts to break.
//!
//! A host is a systemd-nspawn container over an overlay of a base root file system that Debian's packages are
//! unpacked into once. What a cluster is never enters here: a lab ends at hosts that answer SSH, and at the
//! inventory that names them.
//!
//! ```no_run
//! # async fn example() -> Result<(), lab::Error> {
//! let lab = lab::Lab::named("demo")?;
//! let report = lab.up(&lab::Options::default(), &|event| eprintln!("{event}")).await?;
//! println!("{}", report.lab.inventory_path.display());
//! lab.cut("w1").await?;
//! lab.heal("w1").await?;
//! lab.down().await?;
//! # Ok(())
//! # }
//! ```

mod base;
mod cgroup;
mod error;
mod export;
mod host;
mod lab;
mod limits;
mod lock;
mod network;
mod options;
mod prerequisites;
mod root_fs;
mod state;
mod supervisor;
mod tool;

pub use base::purge as purge_base;
pub use error::Error;
pub use lab::{Event, HostReport, Lab, Outcome, Report, list};
pub use options::{DEFAULT_HOSTS, DEFAULT_LAB, Options};
pub use prerequisites::{Missing, check as check_prerequisites};
pub use state::{HostState, HostStatus, LabStatus, Role};
