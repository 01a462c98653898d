//! From a host's name to addresses, without the C library's name service: a statically linked glibc must
//! not load its plug-ins. `/etc/hosts` and the servers of `/etc/resolv.conf` are asked. Others who connect by name
//! and are no SSH clients use it too.

use std::io;
use std::net::{IpAddr, SocketAddr};

use hickory_resolver::TokioResolver;
use tokio::net::TcpStream;

/// Connects to the first of `addresses` that takes the connection.
///
/// # Errors
/// What the last of them said.
pub async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Addresses of `host`, in the order to try them.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] where there is no such name, else what asking for it said.
pub async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = literal.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    // A link-local address with its interface (`fe80::1%eth0`): the standard library knows the numbers only.
    if let Some((address, scope)) = literal.split_once('%')
        && let Ok(address) = address.parse()
        && let Ok(index) = scope.parse().or_else(|_| interface_index(scope))
    {
        return Ok(vec![std::net::SocketAddrV6::new(address, port, 0, index).into()]);
    }
    let resolver = TokioResolver::builder_tokio().and_then(|builder| builder.build()).map_err(io::Error::other)?;
    let answer = resolver.lookup_ip(literal).await.map_err(|error| match error.is_no_records_found() {
        true => io::Error::new(io::ErrorKind::NotFound, "no such name"),
        // The resolver's errors say their sources themselves.
        false => io::Error::other(error.to_string()),
    })?;
    let addresses: Vec<SocketAddr> = answer.iter().map(|address| SocketAddr::new(address, port)).collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no address"));
    }
    Ok(addresses)
}

fn interface_index(name: &str) -> io::Result<u32> {
    std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex"))?.trim().parse().map_err(io::Error::other)
}
