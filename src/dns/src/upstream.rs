//! Who is asked for names outside of the cluster: the servers of a `resolv.conf` without those that lead back here.
//! Decides; asks nobody.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;

/// The servers of a file: who is asked and who is not.
#[derive(Default)]
pub(crate) struct Upstream {
    asked: Vec<NameServerConfig>,
    options: ResolverOpts,
    /// Addresses that would only ask this server again.
    pub refused: Vec<IpAddr>,
}

/// Reads the text of a `resolv.conf`. A server that `is_own` knows is this one: it would be asked without end.
pub(crate) fn read(text: &str, is_own: impl Fn(IpAddr) -> bool) -> Result<Upstream, NetError> {
    // The parser wants a server, and a file without one is no mistake.
    if !text.lines().any(|line| line.trim_start().starts_with("nameserver")) {
        return Ok(Upstream::default());
    }
    let (parsed, mut options) = hickory_resolver::system_conf::parse_resolv_conf(text)?;
    options.ndots = 0;
    let (refused, asked): (Vec<_>, Vec<_>) =
        parsed.name_servers().iter().cloned().partition(|server| is_loopback(server.ip) || is_own(server.ip));
    Ok(Upstream { asked, options, refused: refused.iter().map(|server| server.ip).collect() })
}

impl Upstream {
    /// Asks them; `None` where there is nobody to ask.
    pub fn resolver(self) -> Result<Option<TokioResolver>, NetError> {
        if self.asked.is_empty() {
            return Ok(None);
        }
        let config = ResolverConfig::from_name_servers(self.asked);
        TokioResolver::builder_with_config(config, Default::default()).with_options(self.options).build().map(Some)
    }
}

/// The loopback of a pod is the pod, and so is no address at all.
fn is_loopback(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || address.is_unspecified()
}

/// Whether an address is this machine's own: what is sent there comes from there. Nothing is sent.
pub(crate) fn is_here(address: IpAddr) -> bool {
    let any: IpAddr = if address.is_ipv4() { [0, 0, 0, 0].into() } else { [0; 16].into() };
    let from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(SocketAddr::new(address, 53))?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.ip() == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(address: IpAddr) -> bool {
        ["10.43.0.10", "10.42.0.5"].iter().any(|own| own.parse() == Ok(address))
    }

    #[test]
    fn a_server_that_leads_back_here_is_not_asked() {
        for (text, asked, refused) in [
            ("nameserver 192.0.2.1\nsearch .\n", &["192.0.2.1"][..], &[][..]),
            ("nameserver 127.0.0.53\noptions edns0 trust-ad\n", &[], &["127.0.0.53"]),
            ("nameserver ::1\nnameserver 0.0.0.0\nnameserver 192.0.2.1\n", &["192.0.2.1"], &["::1", "0.0.0.0"]),
            ("nameserver 10.43.0.10\nnameserver 10.42.0.5\n", &[], &["10.43.0.10", "10.42.0.5"]),
            ("search example.org\n", &[], &[]),
            ("", &[], &[]),
        ] {
            let upstream = read(text, own).unwrap();
            let found: Vec<String> = upstream.asked.iter().map(|server| server.ip.to_string()).collect();
            let left: Vec<String> = upstream.refused.iter().map(IpAddr::to_string).collect();
            assert_eq!(
                (found, left),
                (asked.iter().map(|s| s.to_string()).collect(), refused.iter().map(|s| s.to_string()).collect()),
                "{text:?}"
            );
            assert_eq!(upstream.resolver().unwrap().is_some(), !asked.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn the_addresses_of_this_machine_are_known() {
        assert!(is_here([127, 0, 0, 1].into()));
        assert!(!is_here([192, 0, 2, 1].into()));
    }
}
