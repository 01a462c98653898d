//! Addresses and networks: `ip('10.0.0.1')`, `cidr('10.0.0.0/8').containsIP(...)`.

use std::fmt;
use std::net::IpAddr;

use super::{Function, one};
use crate::error::EvalError;
use crate::value::Value;

/// An address of either family, never an IPv4 address written as one of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ip(IpAddr);

/// An address and the length of its network's prefix. Bits after the prefix are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

pub(super) fn find(name: &str) -> Option<Function> {
    Some(match name {
        "ip" => |_, args| match one(args)? {
            Value::String(text) => Ip::parse(text).map(Value::Ip),
            Value::Cidr(cidr) => Ok(Value::Ip(Ip(cidr.address))),
            _ => Err(EvalError::no_such_overload()),
        },
        "isIP" => |_, args| text(args).map(|text| Value::Bool(Ip::parse(text).is_ok())),
        "ip.isCanonical" => |_, args| {
            let text = text(args)?;
            Ok(Value::Bool(Ip::parse(text)?.to_string() == text))
        },
        "family" => |_, args| ip(args).map(|ip| Value::Int(if ip.is_ipv4() { 4 } else { 6 })),
        "isUnspecified" => |_, args| ip(args).map(|ip| Value::Bool(ip.is_unspecified())),
        "isLoopback" => |_, args| ip(args).map(|ip| Value::Bool(ip.is_loopback())),
        "isLinkLocalMulticast" => |_, args| ip(args).map(|ip| Value::Bool(is_link_local_multicast(ip))),
        "isLinkLocalUnicast" => |_, args| ip(args).map(|ip| Value::Bool(is_link_local_unicast(ip))),
        "isGlobalUnicast" => |_, args| ip(args).map(|ip| Value::Bool(is_global_unicast(ip))),
        "cidr" => |_, args| text(args).and_then(Cidr::parse).map(Value::Cidr),
        "isCIDR" => |_, args| text(args).map(|text| Value::Bool(Cidr::parse(text).is_ok())),
        "containsIP" => |_, args| match args {
            [Value::Cidr(cidr), Value::Ip(ip)] => Ok(Value::Bool(cidr.contains(ip.0))),
            [Value::Cidr(cidr), Value::String(text)] => Ok(Value::Bool(cidr.contains(Ip::parse(text)?.0))),
            _ => Err(EvalError::no_such_overload()),
        },
        "containsCIDR" => |_, args| match args {
            [Value::Cidr(cidr), Value::Cidr(other)] => Ok(Value::Bool(cidr.covers(other))),
            [Value::Cidr(cidr), Value::String(text)] => Ok(Value::Bool(cidr.covers(&Cidr::parse(text)?))),
            _ => Err(EvalError::no_such_overload()),
        },
        "prefixLength" => |_, args| cidr(args).map(|cidr| Value::Int(i64::from(cidr.prefix))),
        "masked" => |_, args| {
            let cidr = cidr(args)?;
            Ok(Value::Cidr(Cidr { address: masked(cidr.address, cidr.prefix), prefix: cidr.prefix }))
        },
        _ => return None,
    })
}

fn text<'v>(args: &'v [Value<'_>]) -> Result<&'v str, EvalError> {
    match args {
        [Value::String(text)] => Ok(text),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn ip(args: &[Value<'_>]) -> Result<IpAddr, EvalError> {
    match args {
        [Value::Ip(ip)] => Ok(ip.0),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn cidr(args: &[Value<'_>]) -> Result<Cidr, EvalError> {
    match args {
        [Value::Cidr(cidr)] => Ok(*cidr),
        _ => Err(EvalError::no_such_overload()),
    }
}

impl Ip {
    fn parse(text: &str) -> Result<Self, EvalError> {
        let (address, zone) = text.split_once('%').map_or((text, ""), |(address, zone)| (address, zone));
        let address: IpAddr = address.parse().map_err(|_| {
            EvalError::new(format!("IP Address {text:?} parse error during conversion from string: unable to parse IP"))
        })?;
        if !zone.is_empty() {
            return Err(EvalError::new(format!("IP address {text:?} with zone value is not allowed")));
        }
        refuse_mapped(address, text)?;
        Ok(Self(address))
    }

    pub(crate) fn length_bytes(self) -> u64 {
        if self.0.is_ipv4() { 4 } else { 16 }
    }
}

fn refuse_mapped(address: IpAddr, text: &str) -> Result<(), EvalError> {
    match address {
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => {
            Err(EvalError::new(format!("IPv4-mapped IPv6 address {text:?} is not allowed")))
        }
        _ => Ok(()),
    }
}

impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Cidr {
    fn parse(text: &str) -> Result<Self, EvalError> {
        let invalid = || {
            EvalError::new(format!(
                "network address parse error during conversion from string: {text:?} is no network in CIDR notation"
            ))
        };
        let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let is_number =
            prefix.bytes().all(|byte| byte.is_ascii_digit()) && !(prefix.len() > 1 && prefix.starts_with('0'));
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.parse().ok().filter(|prefix| is_number && *prefix <= most).ok_or_else(invalid)?;
        refuse_mapped(address, text)?;
        Ok(Self { address, prefix })
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && masked(address, self.prefix) == masked(self.address, self.prefix)
    }

    fn covers(&self, other: &Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }

    /// Bytes that the prefix reaches into.
    pub(crate) fn prefix_bytes(self) -> u64 {
        u64::from(self.prefix).div_ceil(8)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            IpAddr::V4((u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            IpAddr::V6((u128::from(address) & mask).into())
        }
    }
}

fn is_link_local_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn is_link_local_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    }
}

/// As Go says it: private addresses are global too.
fn is_global_unicast(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(is_broadcast
        || address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || is_link_local_unicast(address))
}
