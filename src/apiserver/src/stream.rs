//! Requests that become streams of bytes: exec, attach, port-forward and logs through the agent of a node, and
//! proxying to nodes, pods and services. Finds out where to, connects, and passes bytes on; what the bytes mean is
//! between the client and the other end.

mod connect;
pub mod forward;
pub mod links;
pub mod messages;
pub mod options;
pub mod place;
pub mod pods;
pub mod proxy;
pub mod spdy;
mod translate;
mod tunnel;
pub mod websocket;

pub use connect::{Connector, Trust};
pub use forward::{Forward, Redirects, forward};
