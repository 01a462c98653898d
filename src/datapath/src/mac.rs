//! Hardware addresses that follow from IPv4 addresses.

use std::fmt;
use std::net::Ipv4Addr;

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The locally administered address `0a:58` followed by the four bytes of `address`: every host can compute the
    /// address of every other host's interface, and nothing has to be announced.
    pub fn from_ipv4(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x0a, 0x58, a, b, c, d])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_local_unicast_and_carries_the_ip() {
        let mac = Mac::from_ipv4(Ipv4Addr::new(10, 42, 1, 0));
        assert_eq!(mac.to_string(), "0a:58:0a:2a:01:00");
        assert_eq!(mac.0[0] & 0b11, 0b10, "locally administered, not multicast");
    }
}
