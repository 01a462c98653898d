//! Which certificates and keys a cluster has, and how they are issued, signed, inspected and renewed.
//!
//! No disk and no network: keys and certificates come and go as PEM text. The clock and the randomness of serial
//! numbers are passed in; the keys themselves come from the cryptography library's own generator. All keys of the
//! cluster are ECDSA P-256; pods choose theirs. Private keys appear in return values only, never in errors or in `Debug`.

mod authority;
mod cluster;
mod error;
mod inspect;
mod kubeconfig;
mod pod;
mod request;

pub use authority::{Authority, CA_LIFETIME, Issued, LEAF_LIFETIME, Profile, San, Usage, generate_key, public_key_pem};
pub use cluster::{Bundle, FILES, FileKind, Item, Step, Wanted, carry_out, file_kind, plan, server_sans};
pub use error::Error;
pub use inspect::{Inspection, inspect, node_of, renewal_at, renewal_due};
pub use kubeconfig::{Kubeconfig, UserAuth};
pub use pod::{KEY_TYPES, PodKey, pod_key};
pub use request::{Request, new_request, parse_request};

/// The user of the administrator's kubeconfig.
pub const ADMIN_USER: &str = "rkctl:admin";
/// The group that may do everything.
pub const MASTERS_GROUP: &str = "system:masters";

#[cfg(test)]
mod tests;
