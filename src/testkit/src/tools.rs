//! Programs that tests drive, as `src/xtask/tools.sh` fetches them.

use std::path::{Path, PathBuf};

/// A kubectl that clusters are tested with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KubectlVersion {
    /// Debian 12's: the oldest; exec and port-forward over SPDY.
    V1_20,
    /// Debian 13's: exec over WebSocket, server-side printing of everything.
    V1_32,
}

/// Both versions, for tests that run with each.
pub const KUBECTL_VERSIONS: [KubectlVersion; 2] = [KubectlVersion::V1_20, KubectlVersion::V1_32];

impl KubectlVersion {
    fn name(self) -> &'static str {
        match self {
            Self::V1_20 => "kubectl-1.20",
            Self::V1_32 => "kubectl-1.32",
        }
    }
}

/// The root of this repository.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// `$RKCTL_TOOLS`, else `target/tools`.
fn folder() -> PathBuf {
    std::env::var_os("RKCTL_TOOLS").map_or_else(|| repository().join("target/tools"), PathBuf::from)
}

/// The program of a kubectl version: `$RKCTL_TOOLS`, else `target/tools`, has it.
///
/// # Panics
/// Where it is missing, with what fetches it.
pub fn kubectl(version: KubectlVersion) -> PathBuf {
    let program = folder().join(version.name());
    assert!(program.is_file(), "{} is missing: run src/xtask/tools.sh", program.display());
    program
}

/// The program that `$RKCTL_TOOLS`, else `target/tools`, has of the tests in Go.
///
/// # Panics
/// Where it is missing, with what makes it.
pub fn go() -> PathBuf {
    let program = folder().join("go/clients.test");
    assert!(program.is_file(), "{} is missing: run src/xtask/tools.sh go", program.display());
    program
}

/// The folder of the tests in JavaScript, with the packages that they need.
///
/// # Panics
/// Where these are missing, with what fetches them.
pub fn javascript() -> PathBuf {
    let folder = repository().join("tests/clients/javascript");
    let installed = folder.join("node_modules/@kubernetes/client-node/package.json");
    assert!(installed.is_file(), "{} is missing: run src/xtask/tools.sh", installed.display());
    folder
}
