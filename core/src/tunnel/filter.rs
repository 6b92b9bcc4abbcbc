//! Which addresses a tunnel may lead to. Asked of the address that is really connected to, so
//! that a name which changes its meaning changes nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// Deny wins. Without `allow`, a machine's own network is meant: loopback and private addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<IpNet>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<IpNet>,
}

/// Why an address is not connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the address is in `deny`")]
    Denied,
    #[error("the address is not in `allow`")]
    NotAllowed,
    #[error("link-local and metadata addresses are refused unless `allow` names them")]
    Special,
    #[error("nobody can be connected to at this address")]
    Unusable,
}

impl Filter {
    /// Lets everything through that is not special: the filter of an operator who has said nothing.
    pub fn open() -> Self {
        let everything = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
        Self { allow: Some(everything.to_vec()), deny: Vec::new() }
    }

    pub fn judge(&self, address: IpAddr) -> Result<(), Refused> {
        // `::ffff:10.0.0.1` is 10.0.0.1 for whoever connects to it.
        let address = address.to_canonical();
        let holds = |net: &IpNet| net.contains(&address);
        if address.is_unspecified() || address.is_multicast() || address == Ipv4Addr::BROADCAST {
            return Err(Refused::Unusable);
        }
        if self.deny.iter().any(holds) {
            return Err(Refused::Denied);
        }
        let allowed = self.allow.as_deref();
        if let Some(special) = special().into_iter().find(holds) {
            // `0.0.0.0/0` was not written with a cloud's metadata in mind.
            let named = |net: &IpNet| special.contains(net) && holds(net);
            let named = allowed.is_some_and(|nets| nets.iter().any(named));
            return if named { Ok(()) } else { Err(Refused::Special) };
        }
        let fits = allowed.map_or_else(|| is_own_network(address), |nets| nets.iter().any(holds));
        if fits { Ok(()) } else { Err(Refused::NotAllowed) }
    }
}

/// Link-local addresses, and where clouds hand out credentials.
fn special() -> [IpNet; 4] {
    [
        IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16)),
        IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(100, 100, 100, 200), 32)),
        IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10)),
        IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32)),
    ]
}

fn is_own_network(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            let is_carrier_nat = first == 100 && (64..128).contains(&second);
            v4.is_loopback() || v4.is_private() || is_carrier_nat
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(allow: Option<&[&str]>, deny: &[&str]) -> Filter {
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Filter { allow: allow.map(nets), deny: nets(deny) }
    }

    #[test]
    fn deny_wins_and_what_is_special_must_be_named() {
        let usual = filter(None, &[]);
        let lists = filter(Some(&["127.0.0.1/32", "10.0.0.0/24", "::/0"]), &["10.0.0.9/32"]);
        let named = filter(Some(&["169.254.169.254/32", "0.0.0.0/0"]), &[]);
        for (filter, address, want) in [
            (&usual, "127.0.0.1", Ok(())),
            (&usual, "192.168.1.10", Ok(())),
            (&usual, "fd12::1", Ok(())),
            (&usual, "::1", Ok(())),
            (&usual, "192.0.2.1", Err(Refused::NotAllowed)),
            (&usual, "2001:db8::1", Err(Refused::NotAllowed)),
            (&usual, "169.254.169.254", Err(Refused::Special)),
            (&usual, "100.100.100.200", Err(Refused::Special)),
            (&usual, "fe80::1", Err(Refused::Special)),
            (&usual, "fd00:ec2::254", Err(Refused::Special)),
            (&usual, "::ffff:169.254.169.254", Err(Refused::Special)),
            (&usual, "0.0.0.0", Err(Refused::Unusable)),
            (&usual, "255.255.255.255", Err(Refused::Unusable)),
            (&usual, "224.0.0.1", Err(Refused::Unusable)),
            (&lists, "127.0.0.1", Ok(())),
            (&lists, "127.0.0.2", Err(Refused::NotAllowed)),
            (&lists, "10.0.0.8", Ok(())),
            (&lists, "10.0.0.9", Err(Refused::Denied)),
            (&lists, "::ffff:10.0.0.9", Err(Refused::Denied)),
            (&lists, "fe80::1", Err(Refused::Special)),
            (&lists, "2001:db8::1", Ok(())),
            (&named, "169.254.169.254", Ok(())),
            (&named, "169.254.169.253", Err(Refused::Special)),
            (&named, "8.8.8.8", Ok(())),
        ] {
            assert_eq!(filter.judge(address.parse().unwrap()), want, "{address} {filter:?}");
        }
        assert_eq!(Filter::open().judge("198.51.100.1".parse().unwrap()), Ok(()));
        assert_eq!(Filter::open().judge("169.254.0.1".parse().unwrap()), Err(Refused::Special));
    }
}
