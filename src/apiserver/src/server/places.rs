//! How many connections there may be, in all and from one address, and a connection's place as long as it lives: also
//! when it was upgraded to something else than HTTP and nobody serves requests on it any more.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::state::State;

/// How often the log tells of an address that has too many.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Places for connections.
pub struct Places {
    state: Arc<State>,
    all: Arc<Semaphore>,
    taken: Mutex<Taken>,
}

/// Which addresses have how many.
#[derive(Default)]
struct Taken {
    each: usize,
    by_address: HashMap<IpAddr, usize>,
    told: Option<Instant>,
}

impl Taken {
    /// Counts one more, where there may be one. Programs of this host are not bounded: they are the operator's, and
    /// the balancer of its agent speaks for all of its pods.
    fn add(&mut self, address: IpAddr) -> bool {
        if address.is_loopback() {
            return true;
        }
        let count = self.by_address.entry(address).or_default();
        let is_free = *count < self.each;
        *count += usize::from(is_free);
        is_free
    }

    fn remove(&mut self, address: IpAddr) {
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }

    /// Whether the log is to tell of it now.
    fn tells(&mut self) -> bool {
        let is_due = self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
        if is_due {
            self.told = Some(Instant::now());
        }
        is_due
    }
}

impl Places {
    /// As many as the limits say.
    pub fn new(state: &Arc<State>) -> Arc<Self> {
        let limits = &state.config.limits;
        let all = Arc::new(Semaphore::new(limits.connections));
        let taken = Taken { each: limits.connections_per_address.max(1), ..Taken::default() };
        Arc::new(Self { state: state.clone(), all, taken: Mutex::new(taken) })
    }

    /// Waits until there may be one more.
    pub async fn free(&self) -> Option<OwnedSemaphorePermit> {
        self.all.clone().acquire_owned().await.ok()
    }

    /// Takes a place; `None` where the address has all that one may have.
    pub fn take(self: &Arc<Self>, address: IpAddr, permit: OwnedSemaphorePermit) -> Option<Place> {
        let address = address.to_canonical();
        let mut taken = self.lock();
        if !taken.add(address) {
            self.state.metrics.refused_connections.fetch_add(1, Ordering::Relaxed);
            if taken.tells() {
                tracing::warn!(%address, "more connections than limits.connectionsPerAddress are refused");
            }
            return None;
        }
        self.state.metrics.connections.fetch_add(1, Ordering::Relaxed);
        Some(Place { places: self.clone(), address, _permit: permit })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection.
pub struct Place {
    places: Arc<Places>,
    address: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.state.metrics.connections.fetch_sub(1, Ordering::Relaxed);
        self.places.lock().remove(self.address);
    }
}

/// A connection and its place.
pub struct Placed<S> {
    inner: S,
    _place: Place,
}

impl<S> Placed<S> {
    /// Keeps the place as long as the connection.
    pub fn new(inner: S, place: Place) -> Self {
        Self { inner, _place: place }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Placed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Placed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_this_host_any() {
        let mut taken = Taken { each: 2, ..Taken::default() };
        let [one, other, own, own6] =
            ["192.0.2.1", "192.0.2.2", "127.0.0.1", "::1"].map(|text| text.parse::<IpAddr>().expect("an address"));
        assert!(taken.add(one) && taken.add(one) && !taken.add(one), "a third is refused");
        assert!(taken.add(other), "another address has its own");
        assert!((0..9).all(|_| taken.add(own) && taken.add(own6)));
        taken.remove(one);
        assert!(taken.add(one) && !taken.add(one), "one that ends makes room");
        (0..2).for_each(|_| taken.remove(one));
        taken.remove(other);
        assert!(taken.by_address.is_empty());
        assert!(taken.tells() && !taken.tells(), "the log tells of it now and then");
    }
}
