//! Facts about the machine: processors, memory, kernel, system, addresses.

use std::net::{IpAddr, UdpSocket};

use crate::config::Config;
use crate::pod::fields::Allocatable;
use crate::quantity;

/// What the kernel says of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// Processors that can be used.
    pub cpus: i64,
    /// Bytes of memory.
    pub memory_bytes: i64,
    /// Bytes of the disk that pods use.
    pub disk_bytes: i64,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// The board's UUID.
    pub system_uuid: String,
    /// Changes with each boot.
    pub boot_id: String,
    /// `6.1.0-18-amd64`.
    pub kernel: String,
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub os_image: String,
}

impl Machine {
    /// Reads the machine that this runs on; `disk` is a folder on the disk that pods use.
    pub fn read(disk: &std::path::Path) -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_string();
        let cpus = std::thread::available_parallelism().map_or(1, |count| i64::try_from(count.get()).unwrap_or(1));
        let uuid = text("/sys/class/dmi/id/product_uuid");
        let machine_id = text("/etc/machine-id");
        Self {
            cpus,
            memory_bytes: meminfo(&text("/proc/meminfo"), "MemTotal").unwrap_or(0),
            disk_bytes: disk_bytes(disk),
            system_uuid: if uuid.is_empty() { machine_id.clone() } else { uuid },
            machine_id,
            boot_id: text("/proc/sys/kernel/random/boot_id"),
            kernel: text("/proc/sys/kernel/osrelease"),
            os_image: os_image(&text("/etc/os-release")),
        }
    }

    /// What is left for pods.
    pub fn allocatable(&self, config: &Config) -> Allocatable {
        let reserved = |resource: &str| {
            config.system_reserved.get(resource).and_then(|amount| quantity::milli(amount)).unwrap_or(0)
        };
        let narrow = |amount: i128| i64::try_from(amount.max(0)).unwrap_or(0);
        Allocatable {
            milli_cpu: narrow(i128::from(self.cpus) * 1000 - reserved("cpu")),
            memory_bytes: narrow(i128::from(self.memory_bytes) - reserved("memory") / 1000),
            // What the kernel may not fill before images are collected.
            disk_bytes: self.disk_bytes / 10 * 9,
        }
    }
}

fn disk_bytes(folder: &std::path::Path) -> i64 {
    let stat = nix::sys::statvfs::statvfs(folder).or_else(|_| nix::sys::statvfs::statvfs("/"));
    stat.map_or(0, |stat| i64::try_from(stat.blocks() * stat.fragment_size()).unwrap_or(i64::MAX))
}

/// A line of `/proc/meminfo` in bytes.
pub fn meminfo(text: &str, name: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<i64>().ok()? * 1024)
}

fn os_image(text: &str) -> String {
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("Linux").trim_matches('"').to_string()
}

/// The address that packets to other hosts leave from; no packet is sent to find it.
pub fn default_address() -> Option<IpAddr> {
    // 192.0.2.1 is nobody's (RFC 5737): the kernel only looks up the route.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_meminfo_are_bytes() {
        assert_eq!(meminfo("MemTotal:       16384 kB\nMemFree: 1 kB", "MemTotal"), Some(16384 * 1024));
        assert_eq!(meminfo("MemTotal: x", "MemTotal"), None);
        assert_eq!(os_image("NAME=x\nPRETTY_NAME=\"Debian 12\"\n"), "Debian 12");
    }
}
