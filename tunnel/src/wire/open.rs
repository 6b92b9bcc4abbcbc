//! The first frame of a stream: who comes, and where to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use pgw_core::tunnel::Target;

/// A name in DNS has 253 bytes at most.
const LONGEST_HOST: usize = 253;

const UDP: u8 = 1;
const COMPRESSED: u8 = 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Datagrams instead of bytes.
    pub udp: bool,
    /// Data may come packed, both ways.
    pub compression: bool,
    pub visitor: SocketAddr,
    pub target: Target,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an opening of this protocol")]
pub struct BadOpen;

impl Open {
    /// Flags, the visitor's family, address and port, the target's port and its host.
    pub fn encode(&self) -> Vec<u8> {
        let flags = if self.udp { UDP } else { 0 } | if self.compression { COMPRESSED } else { 0 };
        let mut bytes = vec![flags];
        match self.visitor.ip().to_canonical() {
            IpAddr::V4(ip) => {
                bytes.push(4);
                bytes.extend(ip.octets());
            }
            IpAddr::V6(ip) => {
                bytes.push(6);
                bytes.extend(ip.octets());
            }
        }
        bytes.extend(self.visitor.port().to_be_bytes());
        bytes.extend(self.target.port.to_be_bytes());
        bytes.extend(self.target.host.bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, BadOpen> {
        let (&[flags, family], rest) = bytes.split_first_chunk::<2>().ok_or(BadOpen)?;
        if flags & !(UDP | COMPRESSED) != 0 {
            return Err(BadOpen);
        }
        let (ip, rest) = match family {
            4 => {
                let (ip, rest) = rest.split_first_chunk::<4>().ok_or(BadOpen)?;
                (IpAddr::V4(Ipv4Addr::from(*ip)), rest)
            }
            6 => {
                let (ip, rest) = rest.split_first_chunk::<16>().ok_or(BadOpen)?;
                (IpAddr::V6(Ipv6Addr::from(*ip)), rest)
            }
            _ => return Err(BadOpen),
        };
        let (&[a, b, c, d], host) = rest.split_first_chunk::<4>().ok_or(BadOpen)?;
        let host = str::from_utf8(host).ok().filter(|host| is_host(host)).ok_or(BadOpen)?;
        Ok(Self {
            udp: flags & UDP != 0,
            compression: flags & COMPRESSED != 0,
            visitor: SocketAddr::new(ip, u16::from_be_bytes([a, b])),
            target: Target { host: host.to_owned(), port: u16::from_be_bytes([c, d]) },
        })
    }
}

/// Can this be the host of a target?
pub fn is_host(text: &str) -> bool {
    (1..=LONGEST_HOST).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_opening_is_read_as_it_was_written() {
        for (udp, compression, visitor, host) in [
            (false, false, "203.0.113.9:50000", "127.0.0.1"),
            (true, false, "[2001:db8::1]:1", "nas.example"),
            (false, true, "203.0.113.9:0", "::1"),
        ] {
            let target = Target { host: host.to_owned(), port: 22 };
            let open = Open { udp, compression, visitor: visitor.parse().unwrap(), target };
            let bytes = open.encode();
            assert_eq!(Open::decode(&bytes), Ok(open));
            for end in 0..8 {
                assert_eq!(Open::decode(&bytes[..end]), Err(BadOpen), "{end}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_an_opening_that_is_written_differently(bytes: Vec<u8>) {
            if let Ok(open) = Open::decode(&bytes) {
                prop_assert_eq!(Open::decode(&open.encode()), Ok(open));
            }
        }
    }
}
