//! Work in another network namespace, on a thread that ends with it.

use std::fs::File;
use std::future::Future;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns};

use crate::Error;

/// An open network namespace.
#[derive(Debug)]
pub struct Netns(File);

impl Netns {
    /// Opens the namespace that a file such as `/var/run/netns/NAME` or `/proc/PID/ns/net` stands for.
    ///
    /// # Errors
    /// Where the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path)
            .map_err(|source| Error::io(format!("opening network namespace {}", path.display()), source))?;
        Ok(Self(file))
    }

    /// The descriptor, for moving links into the namespace.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Runs `work` to its end inside the namespace, on a thread and runtime of its own, so that no other code ever
    /// runs there by accident. Blocks the calling thread.
    ///
    /// # Errors
    /// What `work` answers, and where the namespace cannot be entered.
    pub fn run<T, F, Fut>(&self, work: F) -> Result<T, Error>
    where
        T: Send,
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<T, Error>>,
    {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(self.fd(), CloneFlags::CLONE_NEWNET)
                    .map_err(|errno| Error::io("entering a network namespace", errno.into()))?;
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(|source| Error::io("starting a runtime in a network namespace", source))?;
                runtime.block_on(work())
            });
            thread.join().map_err(|_| Error::NamespaceThread)?
        })
    }
}
