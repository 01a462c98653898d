//! The Kubernetes API server: the only crate that imports `store`.
//!
//! A request comes in over TLS or in-process, is authenticated, understood ([`request`]), authorized, and served by
//! discovery, the generic REST operations or a tunnel. What depends on policy comes in through [`plugin`].

pub mod plugin;
pub mod request;
pub mod status;
