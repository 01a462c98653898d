//! The connection to the kernel that links, routes and neighbours go through.

use rtnetlink::Handle;
use tokio::task::JoinHandle;

use crate::Error;

/// A netlink connection in the network namespace of the thread that opened it. Closed on drop.
pub struct Netlink {
    pub(crate) handle: Handle,
    connection: JoinHandle<()>,
}

impl Netlink {
    /// Opens a connection; must be called within a tokio runtime.
    ///
    /// # Errors
    /// Where the kernel refuses the socket.
    pub fn open() -> Result<Self, Error> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|source| Error::io("opening a netlink socket", source))?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Names what was being done when the kernel refused.
pub(crate) fn refused(doing: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Error {
    move |source| Error::Netlink { doing: doing.into(), source }
}
