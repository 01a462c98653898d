//! Network namespaces for tests: hosts, pods and clients without machines.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

/// A network namespace with its loopback up; removed with everything in it when dropped.
pub struct Namespace {
    /// As `ip netns` knows it.
    pub name: String,
}

impl Namespace {
    /// A new namespace whose name begins with `prefix`.
    ///
    /// # Panics
    /// Where it cannot be made: not root, or no iproute2.
    pub fn new(prefix: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{prefix}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run(&format!("ip netns add {name}"));
        let made = Self { name };
        made.exec("ip link set lo up");
        made
    }

    /// The file that stands for the namespace.
    pub fn path(&self) -> PathBuf {
        Path::new("/var/run/netns").join(&self.name)
    }

    /// Runs a command, split at spaces, inside; answers its output.
    ///
    /// # Panics
    /// Where it fails.
    pub fn exec(&self, command: &str) -> String {
        run(&format!("ip netns exec {} {command}", self.name))
    }

    /// Runs `work` on a thread inside.
    ///
    /// # Panics
    /// Where `work` does.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(File::open(self.path()).expect("namespace file"), CloneFlags::CLONE_NEWNET).expect("setns");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Links two namespaces by a veth pair of these names.
///
/// # Panics
/// Where the kernel refuses.
pub fn link(one: (&Namespace, &str), other: (&Namespace, &str)) {
    run(&format!("ip link add {} netns {} type veth peer name {} netns {}", one.1, one.0.name, other.1, other.0.name));
}

/// Runs a command, split at spaces; answers its output.
///
/// # Panics
/// Where it fails.
pub fn run(command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap_or_else(|error| panic!("{command}: {error}"));
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
