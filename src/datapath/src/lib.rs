//! The kernel's network, as plain operations: links, addresses, routes, neighbours, nftables, namespaces.
//!
//! Knows no pods, services or nodes. Every operation is idempotent: `ensure_*` leaves what is right alone,
//! `remove_*` of what is not there succeeds.

pub mod link;
pub mod mac;
pub mod neighbour;
pub mod netlink;
pub mod netns;
pub mod nft;
pub mod route;
pub mod sysctl;

pub use netlink::Netlink;

/// Why a change of the network did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a netlink request.
    #[error("while {doing}")]
    Netlink {
        /// What was being done, to which link or address.
        doing: String,
        /// The kernel's answer.
        #[source]
        source: rtnetlink::Error,
    },
    /// A system call failed.
    #[error("while {doing}")]
    Io {
        /// What was being done, to which file or namespace.
        doing: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A link that must exist does not.
    #[error("link {0} does not exist")]
    NoLink(String),
    /// `nft` refused a batch; nothing of it was applied.
    #[error("nft refused the ruleset: {0}")]
    Nft(String),
    /// The thread that worked in a network namespace died.
    #[error("the namespace thread ended early")]
    NamespaceThread,
}

impl Error {
    pub(crate) fn io(doing: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { doing: doing.into(), source }
    }
}

/// The errno of a netlink answer, positive; `None` where the failure was another.
pub(crate) fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.code.map(|code| -code.get()),
        _ => None,
    }
}
