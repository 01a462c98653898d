//! Whether this machine can have labs: root, and the tools that labs are made with.

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

/// Errors name every missing tool at once.
pub fn check() -> Result<(), Error> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    let missing: Vec<Missing> = TOOLS.into_iter().filter(|tool| !is_there(tool.tool)).collect();
    if missing.is_empty() { Ok(()) } else { Err(Error::MissingTools(missing)) }
}

fn is_there(tool: &str) -> bool {
    PATHS.iter().any(|folder| Path::new(folder).join(tool).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_tools_are_named_in_one_line_with_the_packages_that_have_them() {
        let error = Error::MissingTools(vec![TOOLS[0], TOOLS[2], TOOLS[3]]);
        assert_eq!(error.to_string(), "a lab needs mmdebstrap, ip, bridge: apt-get install iproute2 mmdebstrap");
    }
}
