//! The import of this program's images while the agent is already at work, and who waits for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::ensure;

/// An import that failed is tried again after this.
const RETRY: Duration = Duration::from_secs(10);

/// Whether the images of this program are on the node.
#[derive(Clone)]
pub struct Brought(watch::Receiver<bool>);

impl Brought {
    /// They are there.
    #[cfg(test)]
    pub fn already() -> Self {
        // The value outlives its sender.
        Self(watch::channel(true).1)
    }

    /// Waits until they are there or will not come.
    pub async fn wait(&self) {
        // An error is the end of the task that brings them.
        let _ = self.0.clone().wait_for(|brought| *brought).await;
    }
}

/// Begins to bring the images to the runtime, again and again until it succeeds or `shutdown`.
pub fn begin(
    runtime: Arc<dyn cri::Runtime>,
    importer: cri::Importer,
    folder: PathBuf,
    shutdown: CancellationToken,
) -> Brought {
    let (brought, receiver) = watch::channel(false);
    tokio::spawn(async move {
        while let Err(error) = ensure(runtime.as_ref(), &importer, &folder).await {
            tracing::warn!(error = %stdx::error::chain(&error), "import the image of this program");
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
        brought.send_replace(true);
    });
    Brought(receiver)
}
