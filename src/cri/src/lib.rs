//! The container runtime interface, v1: a client of containerd, CRI-O and whatever else speaks it on a Unix socket.
//!
//! What lives here: one [`Runtime`] trait over the runtime and image services, its gRPC implementation [`Remote`], and
//! the import of image archives. What never does: any policy about pods; that is the agent's.

mod error;
mod events;
mod import;
mod remote;
mod service;

pub use error::{Code, Error};
pub use import::{Importer, NAMESPACE};
pub use k8s_cri::v1;
pub use remote::Remote;
pub use service::{EventStream, ExecOutput, Labels, Runtime};
