//! What tests share: never imported by what ships.
//!
//! Waiting for conditions, real kubectl in old and new versions, container images made on the spot, labs that
//! go away with the test, network namespaces, a name server. Everything here panics with what a reader of a failed test needs;
//! nothing here knows what is tested.

#[cfg(feature = "api")]
pub mod api;
pub mod images;
pub mod kubectl;
#[cfg(feature = "labs")]
pub mod labs;
pub mod name_server;
pub mod net;
pub mod netns;
pub mod tools;
pub mod wait;

pub use kubectl::Kubectl;
#[cfg(feature = "labs")]
pub use labs::TestLab;
pub use name_server::NameServer;
pub use net::free_port;
pub use wait::{eventually, eventually_async};
