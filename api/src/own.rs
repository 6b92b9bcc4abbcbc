//! Which addresses are of this gateway itself, as the kernel tells: no device can have one of them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

/// Each with what it is, in words that follow its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnAddresses(BTreeMap<Ipv4Addr, &'static str>);

const ITSELF: &str = "is an address of this gateway itself, which no device can have";
const EVERYBODYS: &str = "is the broadcast address of a network of this gateway, which no device can have";
const NOBODYS: &str = "is the address of a network of this gateway, which no device can have";

/// Where the kernel tells nothing, nothing is known.
pub fn look() -> OwnAddresses {
    let mut own = OwnAddresses::default();
    let entries = getifaddrs().inspect_err(|error| {
        tracing::warn!(%error, "the gateway's own addresses cannot be read");
    });
    for entry in entries.into_iter().flatten() {
        if let Some(address) = v4(entry.address) {
            own.add(address, v4(entry.netmask));
        }
    }
    own
}

fn v4(address: Option<SockaddrStorage>) -> Option<Ipv4Addr> {
    address?.as_sockaddr_in().map(|v4| v4.ip())
}

impl OwnAddresses {
    /// In a network of one or two there is neither of the others.
    pub fn add(&mut self, address: Ipv4Addr, netmask: Option<Ipv4Addr>) {
        if let Some(mask) = netmask.map(u32::from).filter(|mask| mask.count_zeros() >= 2) {
            let network = u32::from(address) & mask;
            self.0.entry(network.into()).or_insert(NOBODYS);
            self.0.entry((network | !mask).into()).or_insert(EVERYBODYS);
        }
        self.0.insert(address, ITSELF);
    }

    /// Why no device can have it.
    pub fn why_not(&self, address: Ipv4Addr) -> Option<&'static str> {
        self.0.get(&address).copied()
    }

    /// What is sent there ends here.
    pub fn is_itself(&self, address: Ipv4Addr) -> bool {
        self.why_not(address) == Some(ITSELF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_three_addresses_that_no_device_has() {
        let mut own = OwnAddresses::default();
        own.add([192, 168, 2, 1].into(), Some([255, 255, 255, 0].into()));
        own.add([10, 0, 0, 4].into(), Some([255, 255, 255, 254].into()));
        own.add([10, 9, 0, 0].into(), None);
        for (address, want) in [
            ([192, 168, 2, 1], Some(ITSELF)),
            ([192, 168, 2, 0], Some(NOBODYS)),
            ([192, 168, 2, 255], Some(EVERYBODYS)),
            ([192, 168, 2, 2], None),
            ([10, 0, 0, 4], Some(ITSELF)),
            ([10, 0, 0, 5], None),
            ([10, 9, 0, 0], Some(ITSELF)),
        ] {
            assert_eq!(own.why_not(address.into()), want, "{address:?}");
        }
        assert!(own.is_itself([192, 168, 2, 1].into()) && !own.is_itself([192, 168, 2, 255].into()));
    }

    #[test]
    fn this_machine_tells_its_own() {
        assert!(look().is_itself(Ipv4Addr::LOCALHOST));
    }
}
