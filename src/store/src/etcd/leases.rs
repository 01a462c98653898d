//! etcd's own leases, which end values by themselves: values that are written about the same time share one, as those
//! of Kubernetes' own API servers do. Each server has leases of its own; nobody renews one.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::connection::{Connection, failed};
use crate::lease::{self, Latest};
use crate::{Error, Lease};

/// The longest time that etcd takes, in seconds.
const TTL_MAX_S: u64 = 9_000_000_000;

/// What the members grant.
#[derive(Debug)]
pub(super) struct Leases {
    started: Instant,
    /// Held while the members are asked: who comes meanwhile shares what they grant.
    latest: Mutex<Option<Latest>>,
}

impl Leases {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), latest: Mutex::new(None) }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A lease for a value that is to live for `ttl` from now on.
    pub(super) async fn share(&self, connection: &Connection, ttl: Duration) -> Result<Lease, Error> {
        let mut latest = self.latest.lock().await;
        if let Some(lease) = latest.as_mut().and_then(|latest| latest.share(ttl, self.now_ms())) {
            return Ok(lease);
        }
        // Before they are asked: the lease begins later, and a millisecond that has begun does not count.
        let asked_ms = self.now_ms();
        let seconds = lease::millis(lease::granted(ttl)).saturating_add(1).div_ceil(1000).min(TTL_MAX_S);
        let granted = connection.grant(i64::try_from(seconds).unwrap_or(i64::MAX)).await;
        let granted = granted.map_err(|status| failed("asking etcd for a lease", status))?;
        let ends_ms = asked_ms.saturating_add(granted.ttl_s.saturating_mul(1000)).saturating_sub(1);
        let mut new = Latest::new(granted.lease, ttl, ends_ms);
        let lease = new.share(ttl, asked_ms).unwrap_or(granted.lease);
        *latest = Some(new);
        Ok(lease)
    }

    /// Etcd does not know this one any more.
    pub(super) async fn forget(&self, gone: Lease) {
        let mut latest = self.latest.lock().await;
        latest.take_if(|latest| latest.lease == gone);
    }
}
