//! Room for those of whom it is not known yet what they are. They make room for others within seconds,
//! and no address takes everybody's.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::tunnel::network;

const MOST: usize = 1024;
/// One address may hold this part of it: a whole office comes from one.
const ONE_ADDRESS: usize = 4;

#[derive(Default)]
pub(super) struct Strangers(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

/// A stranger's place, for as long as it is held.
pub(super) struct Place {
    among: Arc<Strangers>,
    address: IpAddr,
}

impl Strangers {
    /// None: there is no room, or not for more of this address.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = network(address);
        let mut counted = self.counted();
        let here = counted.of.get(&address).copied().unwrap_or_default();
        if counted.all >= MOST || here >= MOST / ONE_ADDRESS {
            return None;
        }
        counted.all += 1;
        counted.of.insert(address, here + 1);
        Some(Place { among: self.clone(), address })
    }

    /// A panic elsewhere leaves at most one place counted that nobody holds.
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counted = self.among.counted();
        counted.all = counted.all.saturating_sub(1);
        if let Some(here) = counted.of.get_mut(&self.address) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                counted.of.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_take_everybodys_place_and_each_that_leaves_makes_room() {
        let strangers = Arc::<Strangers>::default();
        let held = |address: &str, wanted: usize| -> Vec<Place> {
            (0..wanted).map_while(|_| strangers.enter(address.parse().unwrap())).collect()
        };
        let mut crowd = held("203.0.113.1", MOST);
        assert_eq!(crowd.len(), MOST / ONE_ADDRESS);
        assert_eq!(held("203.0.113.2", 1).len(), 1, "somebody else finds room");
        crowd.pop();
        assert_eq!(held("::ffff:203.0.113.1", 2).len(), 1, "the same address");
        let host = held("2001:db8::1", MOST);
        assert_eq!(held("2001:db8::2", 1).len(), 0, "a host has a whole /64");
        let others = [held("203.0.113.3", MOST), held("203.0.113.4", MOST)];
        assert_eq!(crowd.len() + host.len() + others.iter().map(Vec::len).sum::<usize>(), MOST - 1);
        drop(crowd);
        assert_eq!(held("203.0.113.5", 9).len(), 9);
        drop((host, others));
        assert!(strangers.counted().of.is_empty() && strangers.counted().all == 0);
    }
}
