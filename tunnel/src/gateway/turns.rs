//! How often somebody's turn comes, by the network that he comes from.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::bucket::Bucket;

/// Networks that are counted. Whoever has more of them to come from is not held by this anyway.
const MOST: usize = 10_000;

#[derive(Default)]
pub(super) struct Turns(BTreeMap<IpAddr, Bucket>);

impl Turns {
    pub(super) fn of(&mut self, network: IpAddr, per_minute: u32) -> &Bucket {
        if self.0.len() >= MOST && !self.0.contains_key(&network) {
            self.0.clear();
        }
        self.0.entry(network).or_insert_with(|| Bucket::per_minute(per_minute))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::time::Instant;

    use super::*;

    #[test]
    fn each_network_has_its_own_turns_and_their_number_is_bounded() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        let network = |n: u32| IpAddr::from(Ipv4Addr::from_bits(n));
        assert!(turns.of(network(0), 1).try_one(now));
        assert!(!turns.of(network(0), 1).try_one(now));
        assert!(turns.of(network(1), 1).try_one(now));
        for n in 0..25_000 {
            turns.of(network(n), 1);
            assert!(turns.0.len() <= MOST);
        }
    }
}
