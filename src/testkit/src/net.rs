//! Ports on loopback.

use std::net::{Ipv4Addr, TcpListener};

/// A TCP port that nobody listened on at the time of asking. Where the server can take port 0, let it: between
/// this answer and its listening another process may take the port.
///
/// # Panics
/// Where loopback has no free port.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on 127.0.0.1");
    listener.local_addr().expect("a bound socket has an address").port()
}
