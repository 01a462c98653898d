//! Kernel parameters under /proc/sys.

use std::path::PathBuf;

use crate::Error;

/// Sets a parameter such as `net.ipv4.ip_forward` where it has another value. Names of links may hold dots, so a
/// slash separates where one does: `net/ipv4/conf/eth0.5/rp_filter`.
///
/// # Errors
/// Where the parameter does not exist or is read-only.
pub fn ensure(name: &str, value: &str) -> Result<(), Error> {
    let path = path(name);
    let present =
        std::fs::read_to_string(&path).map_err(|source| Error::io(format!("reading sysctl {name}"), source))?;
    if present.trim() == value {
        return Ok(());
    }
    std::fs::write(&path, value).map_err(|source| Error::io(format!("setting sysctl {name} to {value}"), source))
}

fn path(name: &str) -> PathBuf {
    let relative = if name.contains('/') { name.to_string() } else { name.replace('.', "/") };
    PathBuf::from("/proc/sys").join(relative)
}
