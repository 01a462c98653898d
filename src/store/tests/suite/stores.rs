//! Where the stores of a test are.

use std::sync::Arc;

use store::Store;
use store::embedded::{Embedded, Options};
use store::etcd::Etcd;
use tempfile::TempDir;

use crate::member::Member;

/// Something that keeps data while stores come and go.
pub enum Backend {
    Embedded(TempDir),
    Etcd(Member),
}

impl Backend {
    pub fn embedded() -> Self {
        Self::Embedded(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn etcd() -> Self {
        Self::Etcd(Member::start(false))
    }

    /// Ends what keeps the data without a warning, and starts it again; the embedded store is its process' own.
    pub fn restart(&mut self) {
        if let Self::Etcd(member) = self {
            member.kill();
            member.run();
        }
    }

    /// Why there is no store with these options.
    pub async fn refusal(&self, options: Options) -> Option<String> {
        let opened = match self {
            Self::Embedded(folder) => Embedded::open(&folder.path().join("state.db"), options).map(drop),
            Self::Etcd(member) => {
                let encryption = options.encryption;
                Etcd::open(store::etcd::Options { encryption, ..member.options() }).await.map(drop)
            }
        };
        opened.err().map(|error| stdx::error::chain(&error))
    }

    /// A store with these bounds on the data there is.
    pub async fn open(&self, options: Options) -> Arc<dyn Store> {
        match self {
            Self::Embedded(folder) => {
                Embedded::open(&folder.path().join("state.db"), options).expect("the store opens")
            }
            Self::Etcd(member) => {
                let bounds = store::etcd::Options {
                    ring_events: options.ring_events,
                    ring_bytes: options.ring_bytes,
                    history: options.history,
                    watch_queue: options.watch_queue,
                    progress_every: options.progress_every,
                    encryption: options.encryption,
                    ..member.options()
                };
                member.open(bounds).await
            }
        }
    }
}
