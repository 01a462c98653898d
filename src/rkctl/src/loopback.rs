//! The CNI plugin for the loopback link: containerd calls one by the name of `loopback` for every pod before the
//! pod's network, and refuses pods where there is none.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::process::ExitCode;

use nix::libc;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use serde_json::{Value, json};

/// A network configuration is a few hundred bytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// CNI's code for what could not be done (specification 1.0.0, "Error").
const IO_FAILURE: u32 = 5;

/// Whether the program was called by the name of the plugin.
pub fn is_plugin_name(name: &OsStr) -> bool {
    std::path::Path::new(name).file_name().is_some_and(|name| name == "loopback")
}

/// Acts as the plugin: the request is in the environment and on standard input, the answer on standard output.
pub fn run() -> ExitCode {
    let mut config = String::new();
    let read = std::io::stdin().take(MAX_CONFIG_BYTES).read_to_string(&mut config).map_err(|error| error.to_string());
    let config: Value = serde_json::from_str(&config).unwrap_or(Value::Null);
    let version = config["cniVersion"].as_str().unwrap_or("0.3.1").to_owned();
    let command = std::env::var("CNI_COMMAND").unwrap_or_default();
    let netns = std::env::var("CNI_NETNS").unwrap_or_default();
    match read.and_then(|_| answer(&command, &netns, &version, &config)) {
        Ok(answer) => {
            if !answer.is_null() {
                println!("{answer}");
            }
            ExitCode::SUCCESS
        }
        Err(message) => {
            println!("{}", json!({"cniVersion": version, "code": IO_FAILURE, "msg": message}));
            ExitCode::FAILURE
        }
    }
}

fn answer(command: &str, netns: &str, version: &str, config: &Value) -> Result<Value, String> {
    match command {
        "ADD" => {
            set_up(netns)?;
            if config["prevResult"].is_object() {
                return Ok(config["prevResult"].clone());
            }
            let mut address = json!({"address": "127.0.0.1/8", "interface": 0});
            if version.starts_with("0.") {
                address["version"] = "4".into();
            }
            let link = json!({"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": netns});
            Ok(json!({"cniVersion": version, "interfaces": [link], "ips": [address], "dns": {}}))
        }
        // The link goes with its namespace.
        "DEL" | "CHECK" | "GC" | "STATUS" => Ok(Value::Null),
        "VERSION" => {
            let known = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
            Ok(json!({"cniVersion": "1.1.0", "supportedVersions": known}))
        }
        other => Err(format!("CNI_COMMAND is `{other}`")),
    }
}

/// Brings `lo` up in a network namespace.
fn set_up(netns: &str) -> Result<(), String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("{what} {netns}: {error}");
    let namespace = File::open(netns).map_err(|error| failed("open", &error))?;
    setns(&namespace, CloneFlags::CLONE_NEWNET).map_err(|error| failed("enter", &error))?;
    let control = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .map_err(|error| failed("open a socket in", &error))?;
    // SAFETY: ifreq is plain data for which all zeroes is a valid value; the kernel reads and writes within it only.
    let done = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        if libc::ioctl(control.as_raw_fd(), libc::SIOCGIFFLAGS as _, &mut request) == 0 {
            request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
            libc::ioctl(control.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) == 0
        } else {
            false
        }
    };
    if done { Ok(()) } else { Err(failed("bring up lo in", &std::io::Error::last_os_error())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_and_deleting_is_always_right() {
        assert!(answer("VERSION", "", "1.0.0", &Value::Null).unwrap()["supportedVersions"].is_array());
        assert_eq!(answer("DEL", "/gone", "1.0.0", &Value::Null), Ok(Value::Null));
        assert!(answer("ADD", "/gone", "1.0.0", &Value::Null).unwrap_err().contains("open /gone"));
        assert!(answer("", "", "1.0.0", &Value::Null).is_err());
    }
}
