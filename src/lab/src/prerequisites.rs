//! Whether this machine can have labs: root, an identity, and the tools that labs are made with.

use std::path::Path;

use crate::error::Error;

/// A tool that is not there, and the Debian package that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// The program.
    pub tool: &'static str,
    /// The package.
    pub package: &'static str,
}

const TOOLS: [Missing; 8] = [
    Missing { tool: "mmdebstrap", package: "mmdebstrap" },
    Missing { tool: "systemd-nspawn", package: "systemd-container" },
    Missing { tool: "ip", package: "iproute2" },
    Missing { tool: "bridge", package: "iproute2" },
    Missing { tool: "ssh-keygen", package: "openssh-client" },
    Missing { tool: "nsenter", package: "util-linux" },
    Missing { tool: "setsid", package: "util-linux" },
    Missing { tool: "mountpoint", package: "util-linux" },
];

const PATHS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

const MACHINE_ID: &str = "/etc/machine-id";

/// Errors name every missing tool at once.
pub fn check() -> Result<(), Error> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    let missing: Vec<Missing> = TOOLS.into_iter().filter(|tool| !is_there(tool.tool)).collect();
    if !missing.is_empty() {
        return Err(Error::MissingTools(missing));
    }
    let id = std::fs::read_to_string(MACHINE_ID).unwrap_or_default();
    if is_machine_id(&id) { Ok(()) } else { Err(Error::NoMachineId) }
}

/// systemd-nspawn derives the addresses of links from it, and images of machines come without (machine-id(5)).
fn is_machine_id(text: &str) -> bool {
    let id = text.trim_end();
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_there(tool: &str) -> bool {
    PATHS.iter().any(|folder| Path::new(folder).join(tool).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_never_booted_has_no_machine_id() {
        assert!(is_machine_id("b08dfa6083e7567a1921a715000001fb\n"));
        assert!(!is_machine_id("") && !is_machine_id("uninitialized\n"));
    }

    #[test]
    fn missing_tools_are_named_in_one_line_with_the_packages_that_have_them() {
        let error = Error::MissingTools(vec![TOOLS[0], TOOLS[2], TOOLS[3]]);
        assert_eq!(error.to_string(), "a lab needs mmdebstrap, ip, bridge: apt-get install iproute2 mmdebstrap");
    }
}
