//! The kernel's word that a table was removed: by `nft flush ruleset`, as a restart of nftables.service does it, or by
//! name. A subscription to nftables' netlink group; nobody has to ask in turns.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{AsyncSocket, SocketAddr, TokioSocket};

/// `NFNLGRP_NFTABLES` of linux/netfilter/nfnetlink.h.
const GROUP: u32 = 7;
/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELTABLE`.
const DELETE_TABLE: u16 = 10 << 8 | 2;
/// `NFTA_TABLE_NAME`.
const TABLE_NAME: u16 = 1;
/// Length, type, flags, sequence number, port of a netlink message; and family, version, resource of nfnetlink.
const HEADER_BYTES: usize = 16;
const FAMILY_HEADER_BYTES: usize = 4;
/// A datagram of the kernel's is at most a page or two; what is cut off counts as lost.
const BUFFER_BYTES: usize = 64 * 1024;
/// After a failure of the socket, before it is opened anew.
const RETRY: Duration = Duration::from_secs(10);

/// Removals of one table. Its own owner's removals are told as well, so that whoever is told looks whether the table
/// is there.
pub struct Removals {
    family: u8,
    table: String,
    socket: Option<TokioSocket>,
    buffer: Vec<u8>,
}

impl Removals {
    /// Begins to watch, in the network namespace of this thread and within a tokio runtime. `family` is `ip`, `ip6` or
    /// `inet`. Where the kernel does not let it, nothing is ever told, and a warning says so.
    pub fn watch(family: &str, table: &str) -> Self {
        let family = match family {
            "inet" => 1,
            "ip6" => 10,
            _ => 2,
        };
        let socket = open().inspect_err(|error| tracing::warn!(%error, "cannot watch for removed tables")).ok();
        Self { family, table: table.to_string(), socket, buffer: Vec::with_capacity(BUFFER_BYTES) }
    }

    /// Waits until the table may have been removed: the kernel says so, or something it said was lost.
    pub async fn next(&mut self) {
        loop {
            let Some(socket) = &self.socket else { return std::future::pending().await };
            self.buffer.clear();
            match poll_fn(|context| socket.poll_recv(context, &mut self.buffer)).await {
                Ok(()) if removes(&self.buffer, self.family, &self.table) => return,
                Ok(()) => {}
                // More was told than the socket holds.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return,
                Err(error) => {
                    tracing::warn!(%error, "watch for removed tables");
                    tokio::time::sleep(RETRY).await;
                    self.socket = open().ok();
                    return;
                }
            }
        }
    }
}

fn open() -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
    socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
    socket.socket_mut().add_membership(GROUP)?;
    Ok(socket)
}

/// Whether one of the messages in a datagram says that the table was removed.
fn removes(mut datagram: &[u8], family: u8, table: &str) -> bool {
    while let Some((type_, body)) = message(&mut datagram) {
        if type_ == DELETE_TABLE && body.first() == Some(&family) {
            let attributes = body.get(FAMILY_HEADER_BYTES..).unwrap_or_default();
            if table_name(attributes).is_none_or(|name| name == table.as_bytes()) {
                return true;
            }
        }
    }
    false
}

/// The next message: its type and what is behind the header. `None` at the end, and where the rest makes no sense.
fn message<'a>(datagram: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let length = usize::try_from(u32::from_ne_bytes(datagram.get(..4)?.try_into().ok()?)).ok()?;
    let type_ = u16::from_ne_bytes(datagram.get(4..6)?.try_into().ok()?);
    let body = datagram.get(HEADER_BYTES..length)?;
    *datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((type_, body))
}

fn table_name(mut attributes: &[u8]) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(attributes.get(..2)?.try_into().ok()?));
        let type_ = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?);
        let value = attributes.get(4..length)?;
        if type_ == TABLE_NAME {
            return Some(value.strip_suffix(&[0]).unwrap_or(value));
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(type_: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(type_.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn told(type_: u16, family: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
        let attributes = attributes.concat();
        let length = HEADER_BYTES + FAMILY_HEADER_BYTES + attributes.len();
        let mut bytes = u32::try_from(length).unwrap().to_ne_bytes().to_vec();
        bytes.extend(type_.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend([family, 0, 0, 0]);
        bytes.extend(attributes);
        bytes
    }

    #[test]
    fn the_removal_of_a_table_is_found_among_other_messages() {
        let flags = attribute(2, &[0, 0, 0, 0]);
        let ours = told(DELETE_TABLE, 2, &[flags.clone(), attribute(TABLE_NAME, b"ours\0")]);
        let other = told(DELETE_TABLE, 2, &[attribute(TABLE_NAME, b"other\0")]);
        let added = told(10 << 8, 2, &[attribute(TABLE_NAME, b"ours\0")]);
        for (datagram, expected) in [
            (ours.clone(), true),
            (other.clone(), false),
            (added.clone(), false),
            ([added, other.clone(), ours.clone()].concat(), true),
            (told(DELETE_TABLE, 10, &[attribute(TABLE_NAME, b"ours\0")]), false),
            // Which one it was is not said: it may be ours.
            (told(DELETE_TABLE, 2, &[flags]), true),
            (ours[..10].to_vec(), false),
            (vec![0; 40], false),
            (Vec::new(), false),
        ] {
            assert_eq!(removes(&datagram, 2, "ours"), expected, "{datagram:?}");
        }
    }
}
