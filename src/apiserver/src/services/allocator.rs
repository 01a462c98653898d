//! Which addresses and ports are taken, and promises of more.

use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard};

use ipnet::IpNet;

use super::fields::Used;

/// Addresses at the beginning of the range are left to services that name theirs, as far as others suffice.
const STATIC_BAND_MIN: u128 = 16;
const STATIC_BAND_MAX: u128 = 256;

/// Addresses and ports of services.
#[derive(Debug)]
pub struct Allocator {
    cidr: IpNet,
    ports: RangeInclusive<u16>,
    taken: Arc<Mutex<Option<Used>>>,
    /// Held while the store is counted.
    pub(super) loading: tokio::sync::Mutex<()>,
}

fn lock(taken: &Mutex<Option<Used>>) -> MutexGuard<'_, Option<Used>> {
    taken.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Allocator {
    /// Nothing is counted yet.
    pub fn new(cidr: IpNet, ports: RangeInclusive<u16>) -> Self {
        Self { cidr, ports, taken: Arc::default(), loading: tokio::sync::Mutex::new(()) }
    }

    pub(super) fn is_loaded(&self) -> bool {
        lock(&self.taken).is_some()
    }

    pub(super) fn load(&self, used: Used) {
        *lock(&self.taken) = Some(used);
    }

    /// Gives back.
    pub(super) fn release(&self, used: &Used) {
        if let Some(taken) = lock(&self.taken).as_mut() {
            taken.remove(used);
        }
    }

    pub(super) fn promise(&self, dry_run: bool) -> Promise {
        Promise {
            cidr: Some(self.cidr),
            ports: self.ports.clone(),
            taken: self.taken.clone(),
            own: Used::default(),
            promised: Used::default(),
            give_back: Used::default(),
            dry_run,
        }
    }
}

/// What one write has been promised; given back when dropped without [`Promise::keep`].
#[derive(Debug)]
pub struct Promise {
    cidr: Option<IpNet>,
    ports: RangeInclusive<u16>,
    taken: Arc<Mutex<Option<Used>>>,
    /// What the service had before, which it may name again.
    own: Used,
    promised: Used,
    give_back: Used,
    dry_run: bool,
}

/// Why an address or port is not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    OutOfRange,
    Taken,
    Exhausted,
}

impl Promise {
    /// Of objects that are no services.
    pub fn nothing() -> Self {
        Self {
            cidr: None,
            ports: 0..=0,
            taken: Arc::default(),
            own: Used::default(),
            promised: Used::default(),
            give_back: Used::default(),
            dry_run: false,
        }
    }

    pub(super) fn own(&mut self, own: Used) {
        self.own = own;
    }

    pub(super) fn give_back_when_kept(&mut self, before: Used, after: &Used) {
        self.give_back = before;
        self.give_back.remove(after);
    }

    /// The service was written.
    pub fn keep(mut self) {
        if !self.dry_run {
            self.promised = Used::default();
            if let Some(taken) = lock(&self.taken).as_mut() {
                taken.remove(&self.give_back);
            }
        }
    }

    pub(super) fn cidr(&self) -> Option<IpNet> {
        self.cidr
    }

    pub(super) fn ports(&self) -> &RangeInclusive<u16> {
        &self.ports
    }

    /// Takes this address.
    pub(super) fn take_address(&mut self, address: IpAddr) -> Result<(), Refusal> {
        if self.own.addresses.contains(&address) || self.promised.addresses.contains(&address) {
            return Ok(());
        }
        if !self.cidr.is_some_and(|cidr| cidr.contains(&address)) {
            return Err(Refusal::OutOfRange);
        }
        let mut taken = lock(&self.taken);
        let Some(taken) = taken.as_mut() else { return Err(Refusal::Exhausted) };
        if !taken.addresses.insert(address) {
            return Err(Refusal::Taken);
        }
        self.promised.addresses.insert(address);
        Ok(())
    }

    /// Takes any address.
    pub(super) fn any_address(&mut self) -> Result<IpAddr, Refusal> {
        let cidr = self.cidr.ok_or(Refusal::Exhausted)?;
        let bits = u32::from(cidr.max_prefix_len() - cidr.prefix_len());
        // The network's own address and the last one are nobody's.
        let usable = (1u128 << bits.min(64)).saturating_sub(2);
        if usable == 0 {
            return Err(Refusal::Exhausted);
        }
        let band = (usable / 16).clamp(STATIC_BAND_MIN, STATIC_BAND_MAX).min(usable / 2);
        let start = rand::random_range(0..usable - band);
        let upper = (0..usable - band).map(|step| band + (start + step) % (usable - band));
        for offset in upper.chain(0..band) {
            let address = at(cidr, offset + 1);
            if self.own.addresses.contains(&address) || self.promised.addresses.contains(&address) {
                continue;
            }
            match self.take_address(address) {
                Ok(()) => return Ok(address),
                Err(Refusal::Taken) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Err(Refusal::Exhausted)
    }

    /// Takes this port.
    pub(super) fn take_port(&mut self, port: u16) -> Result<(), Refusal> {
        if self.own.ports.contains(&port) || self.promised.ports.contains(&port) {
            return Ok(());
        }
        if !self.ports.contains(&port) {
            return Err(Refusal::OutOfRange);
        }
        let mut taken = lock(&self.taken);
        let Some(taken) = taken.as_mut() else { return Err(Refusal::Exhausted) };
        if !taken.ports.insert(port) {
            return Err(Refusal::Taken);
        }
        self.promised.ports.insert(port);
        Ok(())
    }

    /// Takes any port but those that the service names itself.
    pub(super) fn any_port(&mut self, named: &HashSet<u16>) -> Result<u16, Refusal> {
        let (first, last) = (u32::from(*self.ports.start()), u32::from(*self.ports.end()));
        let count = last.saturating_sub(first) + 1;
        let start = rand::random_range(0..count);
        for step in 0..count {
            let port = u16::try_from(first + (start + step) % count).map_err(|_| Refusal::OutOfRange)?;
            if named.contains(&port) || self.own.ports.contains(&port) || self.promised.ports.contains(&port) {
                continue;
            }
            match self.take_port(port) {
                Ok(()) => return Ok(port),
                Err(Refusal::Taken) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Err(Refusal::Exhausted)
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(taken) = lock(&self.taken).as_mut() {
            taken.remove(&self.promised);
        }
    }
}

fn at(cidr: IpNet, offset: u128) -> IpAddr {
    match cidr.network() {
        IpAddr::V4(network) => IpAddr::V4((u32::from(network).wrapping_add(offset as u32)).into()),
        IpAddr::V6(network) => IpAddr::V6((u128::from(network).wrapping_add(offset)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocator() -> Allocator {
        let allocator = Allocator::new("10.0.0.0/29".parse().expect("a network"), 30000..=30001);
        allocator.load(Used::default());
        allocator
    }

    #[test]
    fn addresses_are_given_once_until_none_is_left_and_come_back() {
        let allocator = allocator();
        let mut promise = allocator.promise(false);
        let mut given: Vec<IpAddr> = (0..6).map(|_| promise.any_address().expect("an address")).collect();
        given.sort();
        given.dedup();
        assert_eq!(given.len(), 6);
        assert_eq!(promise.any_address(), Err(Refusal::Exhausted));
        drop(promise);
        let mut promise = allocator.promise(false);
        assert_eq!(promise.take_address(given[0]), Ok(()));
        promise.keep();
        assert_eq!(allocator.promise(false).take_address(given[0]), Err(Refusal::Taken));
        let outside = "10.0.1.1".parse().expect("an address");
        assert_eq!(allocator.promise(false).take_address(outside), Err(Refusal::OutOfRange));
    }

    #[test]
    fn ports_are_given_once_and_a_dry_run_takes_none() {
        let allocator = allocator();
        let mut dry = allocator.promise(true);
        assert!(dry.take_port(30000).is_ok());
        dry.keep();
        let mut promise = allocator.promise(false);
        let named = HashSet::from([30000]);
        assert_eq!(promise.any_port(&named), Ok(30001));
        assert_eq!(promise.take_port(80), Err(Refusal::OutOfRange));
        assert_eq!(promise.take_port(30000), Ok(()));
    }
}
